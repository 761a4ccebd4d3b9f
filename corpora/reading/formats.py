"""What the fields of a row mean: the formats people keep text in, told apart by their rows, read into one schema.

A format is never guessed silently: either the rows name it by their fields, and the evidence is kept, or the
recipe does; a row that fits two formats is an error. Which messages make a conversation is left to
`conversations`, whether a row is a duplicate to `clean`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.raw import CorpusError
from corpora.reading.answers import Answers
from corpora.reading.conversations import Message, conversation, is_turns, reply, single, text_at, turns, value_at
from corpora.reading.lines import Row, RowError
from recipes.schema import Source

Fields = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Messages in order, ending with the assistant's."""

    messages: list[Message]


@dataclass(frozen=True)
class Document:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Preference:
    """A prompt, and two answers of one assistant message each."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


Item = Conversation | Document | Preference


@dataclass(frozen=True)
class Format:
    """`fits` tells from a row's fields alone; `read` converts, or raises RowError."""

    name: str
    kind: str
    fields: str
    fits: Callable[[Fields], bool]
    read: Callable[[Fields], Item]


def choose_format(source: Source, answers: Answers | None, sample: Sequence[Row]) -> tuple[Format, str]:
    """The format of a source and the evidence for it, from the recipe or else from its first rows.

    Raises CorpusError if the rows show no format, or more than one.
    """
    named = _by_recipe(source, answers)
    if named is not None:
        return named, f"named by the recipe; reads {named.fields}"
    shown: dict[str, list[Row]] = {}
    for row in sample:
        format_ = fitting(source.uri, row)
        if format_ is not None:
            shown.setdefault(format_.name, []).append(row)
    if not shown:
        first = f"; {sample[0].file}:{sample[0].line} has {', '.join(sorted(sample[0].value)[:12])}" if sample else ""
        raise CorpusError(f"{source.uri}: its rows fit no known format{first}. Name `format`, with `columns` if needed")
    if len(shown) > 1:
        places = [f"{name} ({rows[0].file}:{rows[0].line})" for name, rows in sorted(shown.items())]
        raise CorpusError(f"{source.uri}: its rows are of several formats: {', '.join(places)}. Make them two sources")
    name, rows = next(iter(shown.items()))
    return FORMATS[name], f"{len(rows)} of the first {len(sample)} rows have {FORMATS[name].fields}"


def fitting(uri: str, row: Row) -> Format | None:
    """The one format that a row's fields are of, or None. Raises CorpusError if there are two."""
    fits = [format_ for format_ in FORMATS.values() if format_.fits(row.value)]
    if len(fits) > 1:
        names = " and ".join(f"{format_.name} ({format_.fields})" for format_ in fits)
        raise CorpusError(f"{uri}: {row.file}:{row.line} fits two formats, {names}. Name `format` in the recipe")
    return fits[0] if fits else None


def category_of(source: Source, fields: Fields) -> str | None:
    """The row's category, if the recipe says where it is. Raises RowError."""
    return None if source.columns.category is None else text_at(fields, source.columns.category)


def _by_recipe(source: Source, answers: Answers | None) -> Format | None:
    """The format that the recipe names, also by its columns; None if the rows are to tell."""
    columns, name = source.columns, source.format
    exchange = columns.prompt is not None and columns.completion is not None
    if source.separator is not None and name in ("auto", "prompt_completion"):
        return _separated(columns.text or "text", source.separator)
    if name == "prompt_completion" or (name == "auto" and exchange):
        return _exchange(columns.prompt or "prompt", columns.completion or "completion")
    if name == "text" or (name == "auto" and columns.text is not None):
        return _document(columns.text or "text")
    if name == "prompts" and answers is not None:
        return _answered(columns.prompt or "prompt", source, answers)
    return None if name == "auto" else FORMATS[name]


def _exchange(asked: str, answered: str, name: str = "prompt_completion") -> Format:
    return Format(
        name,
        "conversation",
        f"{asked}, {answered}",
        lambda fields: isinstance(fields.get(asked), str) and isinstance(fields.get(answered), str),
        lambda fields: Conversation(single(text_at(fields, asked), text_at(fields, answered))),
    )


def _separated(path: str, separator: str) -> Format:
    def read(fields: Fields) -> Item:
        asked, found, answered = text_at(fields, path).partition(separator)
        if not found:
            raise RowError(f"no separator in field '{path}'")
        return Conversation(single(asked, answered))

    return Format("prompt_completion", "conversation", f"{path}, split at its separator", lambda _: False, read)


def _document(path: str) -> Format:
    return Format(
        "text",
        "document",
        path,
        lambda fields: isinstance(fields.get(path), str),
        lambda fields: Document(text_at(fields, path).strip()),
    )


def _answered(path: str, source: Source, answers: Answers) -> Format:
    def read(fields: Fields) -> Item:
        asked = text_at(fields, path).strip()
        return Conversation(single(asked, answers.choose(asked, category_of(source, fields))))

    return Format("prompts", "conversation", f"{path}, with answers from {source.answers}", lambda _: False, read)


def _system(fields: Fields) -> list[Message]:
    """A system prompt kept beside the turns, as ShareGPT and Alpaca files do."""
    return [{"role": "system", "content": fields["system"]}] if isinstance(fields.get("system"), str) else []


def _read_alpaca(fields: Fields) -> Item:
    asked, given = text_at(fields, "instruction"), fields.get("input") or ""
    if not isinstance(given, str):
        raise RowError("field 'input' is not text")
    earlier = [message for turn in fields.get("history") or [] for message in _earlier(turn)]
    whole = f"{asked}\n{given}" if given.strip() else asked
    return Conversation(conversation([*_system(fields), *earlier, *single(whole, text_at(fields, "output"))]))


def _earlier(turn: Any) -> list[Message]:
    if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)):
        raise RowError("field 'history' is not a list of question and answer")
    return single(*turn)


def _shared(fields: Fields) -> Any:
    return fields.get("conversations", fields.get("conversation"))


def _judged(fields: Fields) -> bool:
    """Rows that say which answer is better, or whether this one is good: their turns are not to be imitated as such."""
    return ("chosen" in fields and "rejected" in fields) or isinstance(fields.get("label"), bool)


def _read_sharegpt(fields: Fields) -> Item:
    return Conversation(conversation([*_system(fields), *turns(_shared(fields))]))


def _read_chatml(fields: Fields) -> Item:
    return Conversation(conversation([*_system(fields), *turns(fields.get("messages"))]))


def _fits_preference(fields: Fields) -> bool:
    return all(isinstance(fields.get(name), str | dict | list) for name in ("chosen", "rejected"))


def _read_preference(fields: Fields) -> Item:
    """Answers as text, one turn, or whole conversations; the prompt from these, `prompt`, or ShareGPT turns."""
    asked = value_at(fields, "prompt") if "prompt" in fields else _shared(fields) or []
    before = [{"role": "user", "content": asked}] if isinstance(asked, str) else turns(asked) if asked else []
    chosen, rejected = (
        conversation(given if len(given) > 1 else [*_system(fields), *before, *given])
        for given in (reply(fields.get("chosen"), "chosen"), reply(fields.get("rejected"), "rejected"))
    )
    if chosen[:-1] != rejected[:-1]:
        raise RowError("chosen and rejected answer different prompts")
    if chosen[-1] == rejected[-1]:
        raise RowError("chosen and rejected are the same")
    return Preference(chosen[:-1], chosen[-1:], rejected[-1:])


FORMATS: dict[str, Format] = {
    format_.name: format_
    for format_ in (
        Format(
            "alpaca",
            "conversation",
            "instruction, output",
            lambda fields: isinstance(fields.get("instruction"), str) and isinstance(fields.get("output"), str),
            _read_alpaca,
        ),
        Format(
            "sharegpt",
            "conversation",
            "conversations or conversation, a list of turns",
            lambda fields: is_turns(_shared(fields)) and not _judged(fields),
            _read_sharegpt,
        ),
        Format(
            "chatml",
            "conversation",
            "messages, a list of turns",
            lambda fields: is_turns(fields.get("messages")) and not _judged(fields),
            _read_chatml,
        ),
        Format("preference", "preference", "chosen, rejected", _fits_preference, _read_preference),
        _exchange("prompt", "completion"),
        _document("text"),
        _exchange("question", "answer", "question_answer"),
    )
}
