"""What the fields of a row mean: the formats people keep text in, told apart by their rows, read into one schema.

A format is never guessed silently: either the rows name it by their fields, and the evidence is kept, or the
recipe does; rows that fit two formats are an error, and behind the first rows, which tell the format, they are bad
rows, as those of another kind are. Rows that were judged are never examples to imitate. What the formats are is said
in `examples`, `judged` and `scored`, which messages make a conversation in `conversations`; whether a row is a
duplicate is left to `cleaning`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, get_args

from corpora.formats import examples, judgements, scored, trees
from corpora.formats.answers import Answers
from corpora.formats.conversations import (
    JOINS,
    MEDIA,
    MENDS,
    cannot_be_had,
    conversation,
    is_turn,
    text_at,
    value_at,
    value_or_none,
    with_system,
    without_mends,
)
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Answer, Conversation, Document, Item, Preference, Ranking, Unpaired
from corpora.formats.judged import RESPONSES
from corpora.formats.judges import as_meant, mend_of_several, must_have_two_numbers, remark, why_unread
from corpora.formats.learning import MARKS, refuse_nothing_learned, weight_of_row, weighted
from corpora.formats.prompts import TURNS, dialogue, with_earlier
from corpora.formats.spelling import Spelling, beside_messages, with_input
from corpora.formats.tool_calls import tools_of
from corpora.reading.row import Row, RowError, on_one_line
from corpora.verifiers import verifiers
from lineage.errors import CorpusError
from models.messages import Message
from recipes.sources import Columns, Source, Turns
from recipes.sources import Format as FormatName

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
    "reader",
]


def choose_format(source: Source, answers: Answers | None, sample: Sequence[Row]) -> tuple[Format, str]:
    """The format of a source and the evidence for it, from the recipe or else from its first rows.

    Raises CorpusError if the rows show no format, or more than one, or judge by numbers that are not known.
    """
    _must_be_keys(source, sample)
    named = _by_recipe(source, answers)
    if named is not None:
        _must_read_thoughts(source, named)
        if named.kind == "unpaired":
            must_have_two_numbers(source, sample)
        return named, f"named by the recipe; reads {named.fields}"
    shown: dict[str, list[Row]] = {}
    deciding: Counter[str] = Counter()
    unread: dict[str, Row] = {}
    spelling = Spelling.of(source)
    for row in sample:
        try:
            fields = spelling.named(spelling.known(as_meant(source, row.value)))
            format_ = _fitting(source.uri, row, fields)
        except RowError as error:
            unread.setdefault(str(error), row)
            continue
        if format_ is not None:
            shown.setdefault(format_.name, []).append(row)
            deciding[format_.fits(fields) or ""] += 1
    if not shown and any(trees.is_message(row.value) for row in sample):
        raise CorpusError(
            f"{source.uri}: its rows are single messages of conversation trees (message_id, parent_id); "
            "read the same release's trees, one a row, as in *.trees.jsonl.gz"
        )
    if not shown and unread:
        reason, first_row = next(iter(unread.items()))
        raise CorpusError(
            f"{source.uri}: none of its first rows can be read; {first_row.file}:{first_row.line}: {reason}"
        )
    if not sample:
        raise CorpusError(f"{source.uri}: none of its first rows can be read: see the reasons for quarantine")
    if not shown:
        names = ", ".join(map(on_one_line, sorted(sample[0].value)[:12]))
        first = f"; {sample[0].file}:{sample[0].line} has {names or 'no fields'}"
        none = f"{source.uri}: its rows fit no known format{first}. {_mend(sample)}"
        raise CorpusError(none + why_unread(source, sample))
    if "unpaired" in shown:
        must_have_two_numbers(source, sample)
    if len(shown) > 1:
        places = [f"{len(rows)} {name} ({rows[0].file}:{rows[0].line})" for name, rows in sorted(shown.items())]
        several = f"{source.uri}: its rows are of several formats: {', '.join(places)}. Make them two sources"
        several += _reads_both(shown.keys())
        raise CorpusError(several + mend_of_several(source, shown.get("unpaired", ())))
    name = next(iter(shown))
    by = "; ".join(f"{count} of the first {len(sample)} rows have {names}" for names, count in deciding.most_common())
    _must_read_thoughts(source, FORMATS[name])
    return FORMATS[name], "; ".join(filter(None, (by, remark(source, FORMATS[name].kind, sample))))


def _must_be_keys(source: Source, sample: Sequence[Row]) -> None:
    """Raises CorpusError for a key that `turns` names, or a column that rows may lack, which no first row has."""
    for setting, key in (("role", source.turns.role), ("content", source.turns.content)):
        if key is not None and sample and not any(_has_key(row.value, key) for row in sample):
            raise CorpusError(
                f"{source.uri}: turns.{setting} names the key '{key}', which is nowhere in its first {len(sample)} rows"
            )
    for setting, path in source.columns.model_dump(exclude_none=True, include={*_MAY_LACK}).items():
        if sample and not any(_has_path(row.value, path) for row in sample):
            raise CorpusError(
                f"{source.uri}: columns.{setting} names the field '{path}', which none of its first rows has"
            )


def _has_path(fields: Fields, path: str) -> bool:
    """Whether a row has a field, also one that is null, or whose way there is."""
    try:
        value_at(fields, path)
    except RowError:
        return fields.get(path.partition(".")[0], path) is None
    return True


def _has_key(value: Any, key: str) -> bool:
    """Whether an object has a key, however deep inside a value, or JSON text shows it."""
    if isinstance(value, dict):
        return key in value or any(_has_key(inner, key) for inner in value.values())
    if isinstance(value, list):
        return any(_has_key(inner, key) for inner in value)
    return isinstance(value, str) and (f'"{key}"' in value or f"'{key}'" in value)


def _must_read_thoughts(source: Source, format_: Format) -> None:
    """Raises CorpusError for a column of thoughts where no format reads one."""
    if source.columns.reasoning is not None and format_.name not in _WITH_THOUGHTS:
        raise CorpusError(
            f"{source.uri}: columns.reasoning is read of formats {', '.join(_WITH_THOUGHTS)}; these rows are "
            f"{format_.name}, whose turns hold their own thoughts"
        )


def _reads_both(names: Iterable[str]) -> str:
    """Which one format reads rows of two, if there is one, and which reads the signs of the other as words."""
    of_words = next((plain for signs, plain in _SIGNS if {signs, plain} == {*names}), None)
    if of_words is None:
        return ""
    signs = next(name for name in names if name != of_words)
    return f", or name `format: {signs}`, which reads both, or `format: {of_words}` if its signs are mere words"


def _mend(sample: Sequence[Row]) -> str:
    """What may be done about rows of no format: a file of one object may hold its rows in a list."""
    first = sample[0].value
    if scored.is_stepwise(first):
        return f"Its {scored.STEPWISE}"
    if _is_table(first):
        return (
            "If it is a whole table in one object, write its rows one a line: to_json(…, orient='records', lines=True)"
        )
    if is_turn(first):
        one = 'write those of one conversation as one row, {"messages": […]}'
        return f"If they are single turns, {one}; if they are documents, format: text"
    if odd := examples.no_text_in(first):
        return f"Field '{odd}' holds no text: write its numbers and truths in quotes"
    inside = next((on_one_line(name) for name, value in first.items() if _is_records(value)), None)
    if inside is None:
        asked = all(_is_prompt(row.value) for row in sample)
        prompts = "If they are prompts without answers, write format: prompts. " if asked else ""
        return f"{prompts}Name `format`, with `columns` if needed"
    turns = f"columns: {{messages: {inside}}} and turns: {{role: …, content: …, roles: {{…: user, …: assistant}}}}"
    if len(sample) > 1:
        return f"If '{inside}' holds turns, say so, as in {turns}"
    return f"If '{inside}' is the list of the rows, write rows: {inside}; if it holds turns, {turns}"


def _is_table(fields: Fields) -> bool:
    """Whether an object has a column in each field, as pandas writes one, or the names of columns beside the rows."""
    values = list(fields.values())
    if {"columns", "data"} <= fields.keys():
        return all(isinstance(fields[name], list) for name in ("columns", "data"))
    if values and all(isinstance(one, dict) and one for one in values):
        return any(all(map(str.isdigit, names)) for names in (fields, *values[:1]))
    return len(values) > 1 and all(isinstance(one, list) and len(one) == len(values[0]) for one in values)


def _is_prompt(fields: Fields) -> bool:
    """Whether a row holds nothing but a prompt that could be answered."""
    words = {name for name, value in fields.items() if isinstance(value, str) and not judgements.is_empty(value)}
    answers = (*RESPONSES, *scored.LISTS, *(name for pair in scored.SIDES for name in pair))
    return (
        bool(words & {"prompt", "question", "query", "instruction"})
        and words.isdisjoint(answers)
        and not any(isinstance(value, list | dict) for value in fields.values())
    )


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def reader(source: Source, format_: Format) -> Callable[[Row], list[Item]]:
    """Reads the rows of a source as its format. It raises RowError, also for a row that names a verifier that is not to
    be used, and for one of two formats or of another kind where the first rows told the format."""
    told_by_rows, spelling = _is_told_by_rows(source), Spelling.of(source)
    told_apart = set(spelling.columns.values()) | {source.columns.category, source.columns.loss_weight}
    weighed_by = source.columns.loss_weight

    def read(row: Row) -> list[Item]:
        if (problem := verifiers.refusal(row.value)) is not None:
            raise RowError(problem)
        marks = {name: row.value[name] for name in MARKS.intersection(row.value) - told_apart}
        if weighed_by is not None:
            marks["loss_weight"] = value_or_none(row.value, weighed_by)
        weight = weight_of_row(marks) if marks else 1.0
        if format_.kind != "document":
            _refuse_media(row.value)
        fields = spelling.known(as_meant(source, row.value))
        if told_by_rows:
            fields = spelling.named(fields)
            try:
                found = _fitting(source.uri, row, fields)
            except CorpusError:
                raise RowError("fits two formats: name `format` in the recipe") from None
            if found is not None and (found.kind != format_.kind or (found.name, format_.name) in _SIGNS):
                both = _reads_both((found.name, format_.name)) if found.kind == format_.kind else ""
                has = f"it has {found.fits(fields)}{both}"
                raise RowError(f"of format {found.name} among {format_.name} rows: {has}")
            if found is None and format_.kind == "conversation":
                if scored.is_rated(fields):
                    raise RowError(f"rated among {format_.name} rows: a rated answer is no example to imitate")
                if (pair := _pair_in(fields)) is not None:
                    beside = f"holds {' and '.join(pair)} among {format_.name} rows"
                    raise RowError(f"{beside}: an answer that was compared is no example to imitate")
        try:
            items = format_.read(fields)
        except RowError as error:
            raise RowError(_mended(str(error), row, source, format_)) from None
        items = items if weight == 1 else [weighted(item, weight) for item in items]
        for item in items:
            refuse_nothing_learned(item)
        return items

    return read


def _mended(reason: str, row: Row, source: Source, format_: Format) -> str:
    """The reason why a row is not read, with what it proposes if that is of use: it is another one then, or none."""
    mend = next((one for one in MENDS if one in reason), None)
    if mend is None:
        return reason
    if MENDS[mend].get("last_user") and (apart := _apart(row.value)) is not None:
        return reason.replace(
            mend, f" (if field '{apart[1]}' is it: columns: {{prompt: {apart[0]}, completion: {apart[1]}}})"
        )
    turns = source.turns.model_copy(update=MENDS[mend])
    try:
        if turns != source.turns:
            _changed(source, turns, format_)(row)
            return reason
    except RowError as error:
        if without_mends(str(error)) != without_mends(reason):
            return reason
    return reason.replace(mend, JOINS if MENDS[mend].get("same_role") and format_.name in _OF_TURNS else "")


def _apart(fields: Fields) -> tuple[str, str] | None:
    """Turns, and the field beside them that may be the answer to the last one."""
    turns = next((name for name in ("messages", *TURNS) if isinstance(fields.get(name), list)), None)
    answer = next((name for name in RESPONSES if isinstance(fields.get(name), str)), None)
    return (turns, answer) if turns and answer else None


def _changed(source: Source, turns: Turns, format_: Format) -> Callable[[Row], list[Item]]:
    """The reader of a source that says this of its turns."""
    changed = source.model_copy(update={"turns": turns})
    return reader(changed, format_ if _is_told_by_rows(source) else _by_recipe(changed, None) or format_)


def _refuse_media(fields: Fields) -> None:
    """Raises RowError for a row that is about something that a model of text cannot see or hear."""
    held = next((medium for name, medium in MEDIA.items() if fields.get(name)), None)
    if held is not None:
        raise RowError(cannot_be_had(held))


def category_of(source: Source, fields: Fields) -> str | None:
    """The row's category, if the recipe says where it is; a number of a class as text. Raises RowError."""
    path = source.columns.category
    if path is None:
        return None
    value = value_or_none(fields, path)
    return str(value) if isinstance(value, int | float) else text_at(fields, path)


def _fitting(uri: str, row: Row, fields: Fields) -> Format | None:
    """The one format that a row's fields are of, or None. Raises CorpusError if there are two, RowError if fields that
    would tell cannot be read."""
    fits = [found for found in FORMATS.values() if not found.needs.isdisjoint(fields) and found.fits(fields)]
    if len(fits) > 1:
        names = " and ".join(f"{format_.name} ({format_.fits(fields)})" for format_ in fits)
        raise CorpusError(f"{uri}: {row.file}:{row.line} fits two formats, {names}. Name `format` in the recipe")
    return fits[0] if fits else None


def _is_told_by_rows(source: Source) -> bool:
    return _told_by_columns(source.columns) is None and source.format == "auto" and source.separator is None


def _by_recipe(source: Source, answers: Answers | None) -> Format | None:
    """The format that the recipe names, also by its columns; None if the rows are to tell."""
    columns, name = source.columns, source.format
    if source.separator is not None and name in ("auto", "prompt_completion"):
        return _separated(columns.text or "text", source)
    if name == "auto":
        told = _told_by_columns(columns)
        if told is None:
            return None
        name = told
    if name == "prompts":
        path = columns.prompt or "prompt"
        return _unanswered(path, source) if answers is None else _answered(path, source, answers)
    if name == "sharegpt" and columns.messages is not None:
        name = "chatml"
    return _with_columns(FORMATS[name], source)


def _told_by_columns(columns: Columns) -> FormatName | None:
    """The format that has these columns. What judges an answer comes first: it is no example then."""
    if columns.label is not None:
        return "unpaired"
    if columns.chosen is not None and columns.rejected is not None:
        return "preference"
    if columns.winner is not None:
        return "votes"
    if columns.rating is not None:
        return "rated"
    if columns.prompt is not None and columns.completion is not None:
        return "prompt_completion"
    if columns.messages is not None:
        return "chatml"
    return "text" if columns.text is not None else None


def _with_columns(format_: Format, source: Source) -> Format:
    """The format for rows whose field names are their own: a value is read where its column says that it is, and
    there alone if it might else be a judgement."""
    spelling = Spelling.of(source)
    columns = spelling.columns
    if not columns:
        return format_
    outer = columns.get("messages", "").rpartition(".")[0]
    words = judgements.JUDGES & {path for name, path in columns.items() if name not in ("label", "rating")}

    def read(fields: Fields) -> list[Item]:
        named = {
            name: (value_or_none if name in _MAY_LACK else value_at)(fields, path) for name, path in columns.items()
        }
        if outer:
            named |= beside_messages(outer, {**fields, **named})
        with_input(named, columns)
        if "label" in named:
            named["label"] = judgements.must_say(judgements.meant(source.labels, named["label"]), columns["label"])
        beside = fields if words.isdisjoint(fields) else {n: value for n, value in fields.items() if n not in words}
        return format_.read(spelling.known({**beside, **named}))

    return Format(format_.name, format_.kind, ", ".join(columns.values()), lambda _: None, read)


def _separated(path: str, source: Source) -> Format:
    def read(fields: Fields) -> Item:
        asked, found, answered = text_at(fields, path).partition(source.separator or "")
        if not found:
            raise RowError(f"no separator in field '{path}'")
        judgements.refuse_judged({name: value for name, value in fields.items() if name != path})
        return _asked(source, fields, asked, answered.strip())

    return Format("prompt_completion", "conversation", f"{path}, split at its separator", lambda _: None, each(read))


def _answered(path: str, source: Source, answers: Answers) -> Format:
    def read(fields: Fields) -> Item:
        asked = text_at(fields, path).strip()
        return _asked(source, fields, asked, answers.choose(asked, category_of(source, fields)))

    return Format("prompts", "conversation", f"{path}, with answers from {source.answers}", lambda _: None, each(read))


def _unanswered(path: str, source: Source) -> Format:
    def read(fields: Fields) -> Item:
        whole = _asked(source, fields, text_at(fields, path), _ANY_ANSWER)
        return replace(whole, messages=whole.messages[:-1])

    return Format("prompts", "conversation", f"{path}, without an answer", lambda _: None, each(read))


def _asked(source: Source, fields: Fields, asked: str, answer: str) -> Conversation:
    """A prompt, with what the row keeps beside it, and an answer to it."""
    fields = Spelling.of(source).named(fields)
    asked = fields["prompt"] if source.columns.input is not None else asked
    turns = dialogue(asked, asked=True) or [{"role": "user", "content": asked}]
    messages = with_earlier(fields, [*turns, {"role": "assistant", "content": answer}])
    return Conversation(conversation(with_system(fields, messages)), tools_of(fields))


def _unjudged(format_: Format) -> Format:
    """A format of rows to imitate, which are those that nobody judged. Pairs and ratings that stand beside what the
    recipe names as examples are no judgement of these."""

    def fits(fields: Fields) -> str | None:
        return None if _is_judged(fields) else format_.fits(fields)

    def read(fields: Fields) -> list[Item]:
        judgements.refuse_judged(fields)
        return format_.read(fields)

    return replace(format_, fits=fits, read=read)


def _is_judged(fields: Fields) -> bool:
    """Rows that say which answer is better, or how good this one is: they are not to be imitated as such."""
    if _JUDGEMENTS.isdisjoint(fields):
        return False
    return _pair_in(fields) is not None or judgements.judge_of(fields) is not None or scored.is_rated(fields)


def _pair_in(fields: Fields) -> tuple[str, str] | None:
    """The names of a better and a worse answer that the row holds."""
    pairs = (pair for pair in _PAIRS if set(pair) <= fields.keys())
    return next((pair for pair in pairs if any(not judgements.is_empty(fields[name]) for name in pair)), None)


def _format(name: str) -> Format:
    module = import_module(f"corpora.formats.{_ELSEWHERE.get(name, name)}")
    found: Format = next(one for one in module.FORMATS if one.name == name)
    return _unjudged(found) if found.kind == "conversation" else found


_ANY_ANSWER = "…"
_MAY_LACK = ("system", "input", "reasoning", "tools")
"""Columns that some rows have and others have not."""
_WITH_THOUGHTS = ("alpaca", "prompt_completion", "xlam")
_OF_TURNS = ("chatml", "sharegpt", "hermes")
"""Formats whose turns are joined where the source says so."""
_ELSEWHERE = {
    **dict.fromkeys(("alpaca", "sharegpt", "chatml", "prompt_completion", "text"), "examples"),
    **dict.fromkeys(("preference", "unpaired"), "judged"),
    **dict.fromkeys(("ranked", "rated", "votes"), "scored"),
    "threads": "trees",
}
"""Formats that are not in the module of their name."""

FORMATS = {name: _format(name) for name in get_args(FormatName) if name not in ("auto", "prompts")}
"""Every format that rows can be told to be of; each stands in `FORMATS` of its module."""

_SIGNS = (("hermes", "chatml"), ("hermes", "sharegpt"), ("toolace", "sharegpt"))
"""Formats that are told by signs in the words of some turns, and those whose rows without such signs they read, too."""

_PAIRS = tuple(pair for format_ in FORMATS.values() for pair in format_.pairs)
_JUDGEMENTS = judgements.JUDGES | {better for better, _ in _PAIRS}
