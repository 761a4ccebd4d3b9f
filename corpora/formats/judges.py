"""Of a source as a whole: which fields judge its answers, whether their numbers can be read, what detection says of it.

What a single value says is told by `judgements`. The recipe's category is none of these fields: a class, not a
judgement.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from corpora.formats.conversations import value_or_none
from corpora.formats.judgements import (
    JUDGES,
    KNOWN,
    LABELS,
    POINTS,
    RATINGS,
    is_empty,
    judge_of,
    meant,
    scale_problem,
    verdict,
)
from corpora.reading.row import Row
from lineage.errors import CorpusError
from recipes.sources import Source


def as_meant(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row as the recipe says that they judge: its category does not, and `labels` are good or bad."""
    category, labels = source.columns.category, source.labels
    if category in JUDGES and category in fields:
        fields = {name: value for name, value in fields.items() if name != category}
    if labels:
        own = {name: meant(labels, fields[name]) for name in (*JUDGES, source.columns.label) if name in fields}
        return {**fields, **own}
    return fields


def must_have_two_numbers(source: Source, sample: Sequence[Row]) -> None:
    """Raises CorpusError if the numbers that judge the first rows are not 1 and 0, or 1 and -1."""
    paths = _judging(source, sample) if source.columns.label is None else [source.columns.label]
    for path in paths:
        problem = scale_problem(meant(source.labels, value_or_none(row.value, path)) for row in sample)
        if problem is not None:
            raise CorpusError(
                f"{source.uri}: field '{path}' {problem}. Write true and false; read points as `rated`, with "
                f"columns: {{rating: {path}}}; or, if they are classes, write columns: {{category: {path}}}"
            )


def mend_of_several(source: Source, judged: Sequence[Row]) -> str:
    """What else to do about rows of several formats if a field judges some of them; judged: those."""
    names = _judging(source, judged)
    if not names:
        return ""
    return (
        f"; field '{names[0]}' judges some of them: name `format: unpaired`, and rows that it does not judge go to "
        f"quarantine, or, if it is a class, write columns: {{category: {names[0]}}}"
    )


def why_unread(source: Source, sample: Sequence[Row]) -> str:
    """What else to say of rows of no format, if a field judges them."""
    names = _judging(source, sample)
    if not names:
        return ""
    points = f"; {POINTS}" if names[0] in RATINGS else ""
    known = f"of it are known {KNOWN}, what else it says by labels: {{word: true}}"
    return f". Field '{names[0]}' judges answers; {known}{points}"


def remark(source: Source, kind: str, sample: Sequence[Row]) -> str | None:
    """What was made of a field that judges, or that is called as if it did, in rows of this kind."""
    rows = [as_meant(source, row.value) for row in sample]
    if kind == "unpaired":
        said = Counter(found for fields in rows if (found := verdict(fields)) is not None)
        counts = ", ".join(
            f"{name} says {'good' if good else 'bad'} of {n}" for (name, good), n in sorted(said.items())
        )
        return f"{counts} (if it is a class, write columns: {{category: {min(said)[0]}}})"
    classes = sum(not is_empty(fields.get(LABELS[0])) for fields in rows)
    return f"{LABELS[0]} of {classes} is taken for a class" if kind == "conversation" and classes else None


def _judging(source: Source, sample: Iterable[Row]) -> list[str]:
    told = (judge_of(as_meant(source, row.value)) for row in sample)
    return sorted({name for name in told if name is not None})
