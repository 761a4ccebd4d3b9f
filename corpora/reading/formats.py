"""What the fields of a row mean: the formats people keep text in, told apart by their rows, read into one schema.

A format is never guessed silently: either the rows name it by their fields, and the evidence is kept, or the
recipe does; a row that fits two formats is an error. What the formats are is said in `examples`, `judged` and
`scored`, which messages make a conversation in `conversations`; whether a row is a duplicate is left to `cleaning`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.raw import CorpusError
from corpora.reading import examples, glaive, hermes, judged, prompts, scored, trees
from corpora.reading.answers import Answers
from corpora.reading.conversations import single, text_at, value_at
from corpora.reading.items import Answer, Conversation, Document, Item, Message, Preference, Ranking, Unpaired
from corpora.reading.row import Row, RowError
from recipes.sources import Source

__all__ = [
    "FORMATS",
    "Answer",
    "Conversation",
    "Document",
    "Fields",
    "Format",
    "Item",
    "Message",
    "Preference",
    "Ranking",
    "Unpaired",
    "category_of",
    "choose_format",
    "fitting",
]

Fields = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """`fits` tells from a row's fields alone, by naming those that decide; `read` converts, or raises RowError.

    A row is one item, but for trees, which may hold several rankings. A row without any of the fields `needs` is of
    another format, which is quicker to see.
    """

    name: str
    kind: str
    fields: str
    fits: Callable[[Fields], str | None]
    read: Callable[[Fields], list[Item]]
    needs: frozenset[str] = frozenset()


def choose_format(source: Source, answers: Answers | None, sample: Sequence[Row]) -> tuple[Format, str]:
    """The format of a source and the evidence for it, from the recipe or else from its first rows.

    Raises CorpusError if the rows show no format, or more than one.
    """
    named = _by_recipe(source, answers)
    if named is not None:
        return named, f"named by the recipe; reads {named.fields}"
    shown: dict[str, list[Row]] = {}
    deciding: Counter[str] = Counter()
    for row in sample:
        format_ = fitting(source.uri, row)
        if format_ is not None:
            shown.setdefault(format_.name, []).append(row)
            deciding[format_.fits(row.value) or ""] += 1
    if not shown and any(trees.is_message(row.value) for row in sample):
        raise CorpusError(
            f"{source.uri}: its rows are single messages of conversation trees (message_id, parent_id); "
            "read the same release's trees, one a row, as in *.trees.jsonl.gz"
        )
    if not shown:
        first = f"; {sample[0].file}:{sample[0].line} has {', '.join(sorted(sample[0].value)[:12])}" if sample else ""
        raise CorpusError(f"{source.uri}: its rows fit no known format{first}. Name `format`, with `columns` if needed")
    if len(shown) > 1:
        places = [f"{len(rows)} {name} ({rows[0].file}:{rows[0].line})" for name, rows in sorted(shown.items())]
        raise CorpusError(f"{source.uri}: its rows are of several formats: {', '.join(places)}. Make them two sources")
    name = next(iter(shown))
    by = "; ".join(f"{count} of the first {len(sample)} rows have {names}" for names, count in deciding.most_common())
    return FORMATS[name], by


def fitting(uri: str, row: Row) -> Format | None:
    """The one format that a row's fields are of, or None. Raises CorpusError if there are two."""
    fields = row.value
    fits = [found for found in FORMATS.values() if not found.needs.isdisjoint(fields) and found.fits(fields)]
    if len(fits) > 1:
        names = " and ".join(f"{format_.name} ({format_.fits(row.value)})" for format_ in fits)
        raise CorpusError(f"{uri}: {row.file}:{row.line} fits two formats, {names}. Name `format` in the recipe")
    return fits[0] if fits else None


def category_of(source: Source, fields: Fields) -> str | None:
    """The row's category, if the recipe says where it is. Raises RowError."""
    return None if source.columns.category is None else text_at(fields, source.columns.category)


def _by_recipe(source: Source, answers: Answers | None) -> Format | None:
    """The format that the recipe names, also by its columns; None if the rows are to tell."""
    columns, name = source.columns, source.format
    if source.separator is not None and name in ("auto", "prompt_completion"):
        return _separated(columns.text or "text", source.separator)
    if name == "auto":
        if columns.prompt is not None and columns.completion is not None:
            name = "prompt_completion"
        elif columns.text is not None:
            name = "text"
        else:
            return None
    if name == "prompts":
        path = columns.prompt or "prompt"
        return _unanswered(path) if answers is None else _answered(path, source, answers)
    return _with_columns(FORMATS[name], columns.model_dump(exclude_none=True, exclude={"category"}))


def _with_columns(format_: Format, columns: dict[str, str]) -> Format:
    """The format for rows whose field names are their own: a value is read where its column says that it is."""
    if not columns:
        return format_

    def read(fields: Fields) -> list[Item]:
        return format_.read({**fields, **{name: value_at(fields, path) for name, path in columns.items()}})

    return Format(format_.name, format_.kind, ", ".join(columns.values()), lambda _: None, read)


def _separated(path: str, separator: str) -> Format:
    def read(fields: Fields) -> Item:
        asked, found, answered = text_at(fields, path).partition(separator)
        if not found:
            raise RowError(f"no separator in field '{path}'")
        return Conversation(single(asked, answered))

    return Format("prompt_completion", "conversation", f"{path}, split at its separator", lambda _: None, _each(read))


def _answered(path: str, source: Source, answers: Answers) -> Format:
    def read(fields: Fields) -> Item:
        asked = text_at(fields, path).strip()
        return Conversation(single(asked, answers.choose(asked, category_of(source, fields))))

    return Format("prompts", "conversation", f"{path}, with answers from {source.answers}", lambda _: None, _each(read))


def _unanswered(path: str) -> Format:
    def read(fields: Fields) -> Item:
        return Conversation(single(text_at(fields, path), _ANY_ANSWER)[:-1])

    return Format("prompts", "conversation", f"{path}, without an answer", lambda _: None, _each(read))


def _example(
    name: str, fields: str, fits: Callable[[Fields], str | None], read: Callable[[Fields], Item], needs: Iterable[str]
) -> Format:
    """A format of rows to imitate, which are those that nobody judged."""

    def unjudged(fields: Fields) -> str | None:
        if not _JUDGEMENTS.isdisjoint(fields) and (judged.is_judged(fields) or scored.is_rated(fields)):
            return None
        return fits(fields)

    return Format(name, "conversation", fields, unjudged, _each(read), frozenset(needs))


def _each(read: Callable[[Fields], Item]) -> Callable[[Fields], list[Item]]:
    """Of a format whose rows are one item each."""
    return lambda fields: [read(fields)]


def _read_ranked(fields: Fields) -> list[Item]:
    return [scored.read_ranked(ranking) for ranking in trees.rankings_of(fields)]


_ANY_ANSWER = "…"
_BETTER = frozenset(better for better, _ in judged.PAIRS)
_JUDGEMENTS = frozenset((*_BETTER, *judged.LABELS, *scored.RATINGS))
_ANSWERS = frozenset(answered for _, answered in examples.EXCHANGES)
_RANKED = frozenset(("prompt", *scored.LISTS))

FORMATS: dict[str, Format] = {
    format_.name: format_
    for format_ in (
        _example("alpaca", "instruction, output", examples.alpaca_fields, examples.read_alpaca, ["instruction"]),
        _example(
            "sharegpt",
            "conversations or conversation, a list of turns",
            examples.sharegpt_fields,
            examples.read_sharegpt,
            prompts.TURNS,
        ),
        _example("chatml", "messages, a list of turns", examples.chatml_fields, examples.read_chatml, ["messages"]),
        _example("prompt_completion", "prompt, completion", examples.exchange_fields, examples.read_exchange, _ANSWERS),
        _example("glaive", "system, chat", glaive.glaive_fields, glaive.read_glaive, ["chat"]),
        _example(
            "hermes",
            "turns with <tool_call>, <tool_response> or <tools> in their words",
            hermes.hermes_fields,
            hermes.read_hermes,
            hermes.TURNS,
        ),
        Format("text", "document", "text", examples.text_fields, _each(examples.read_text), frozenset(examples.TEXTS)),
        _example("threads", "prompt, a tree of replies", trees.thread_fields, trees.read_thread, ["prompt"]),
        Format(
            "preference",
            "preference",
            "chosen, rejected",
            judged.preference_fields,
            _each(judged.read_preference),
            _BETTER,
        ),
        Format(
            "unpaired",
            "unpaired",
            "an answer and its label",
            judged.unpaired_fields,
            _each(judged.read_unpaired),
            frozenset(judged.LABELS),
        ),
        Format("ranked", "ranking", "prompt, answers in order", scored.ranked_fields, _read_ranked, _RANKED),
        Format(
            "rated",
            "ranking",
            "prompt, answers with ratings",
            scored.rated_fields,
            _each(scored.read_rated),
            frozenset((*scored.LISTS, *scored.SCORES)),
        ),
        Format(
            "votes",
            "ranking",
            "prompt, two answers, winner",
            scored.votes_fields,
            _each(scored.read_votes),
            frozenset(first for first, _ in scored.SIDES),
        ),
    )
}
