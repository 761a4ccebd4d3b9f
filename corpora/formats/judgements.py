"""What says that one answer is good or bad: which fields, and which words, numbers and signs in them.

An answer that was judged is no example to imitate, so a field that judges is looked for in every row. A value that is
none of these is never guessed. A word or a whole number in `label` is taken for a class, of which rows to learn from
may have one, and other words in `feedback` for a remark; anywhere else it makes the row unusable as an example.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from corpora.reading.row import RowError

RATINGS = ("rating", "stars", "overall_rating", "overall_score", "helpfulness")
"""Fields of numbers, which `scored` reads; a word in them is a judgement as in those of LABELS."""
_CLASS = "label"
_PURE = ("kto_tag", "thumb", "thumbs", "vote", "helpful", "liked", "is_good")
LABELS = (_CLASS, *_PURE, "feedback")
_MAY_JUDGE = (*LABELS, *RATINGS)
JUDGES = frozenset(_MAY_JUDGE)

_PAIRS = (
    ("true", "false"),
    ("yes", "no"),
    ("y", "n"),
    ("good", "bad"),
    ("up", "down"),
    ("thumbs up", "thumbs down"),
    ("thumb up", "thumb down"),
    ("thumbsup", "thumbsdown"),
    ("👍", "👎"),
    ("like", "dislike"),
    ("liked", "disliked"),
    ("upvote", "downvote"),
    ("positive", "negative"),
    ("helpful", "unhelpful"),
    ("correct", "incorrect"),
    ("right", "wrong"),
    ("pos", "neg"),
    ("useful", "useless"),
    ("satisfied", "unsatisfied"),
    ("accepted", "rejected"),
    ("chosen", "rejected"),
    ("desirable", "undesirable"),
)
_WORDS = {word: good for pair in _PAIRS for word, good in zip(pair, (True, False), strict=True)}
_THUMBS = {":+1:": True, ":-1:": False}
"""What chat systems call 👍 and 👎; folded they would be numbers."""
_NUMBERS = {1.0: True, 0.0: False, -1.0: False}
_FOLDED = str.maketrans("_-", "  ", ":\ufe0f" + "".join(map(chr, range(0x1F3FB, 0x1F400))))
"""Spellings of one word: `thumbs_up`, `:thumbsup:`, and signs with a skin tone."""

KNOWN = (
    "true/false, yes/no, 1/0, 1/-1, good/bad, up/down, thumbs up/thumbs down, 👍/👎, like/dislike, positive/negative"
)
ANNOTATORS = ("annotator", "annotator_id", "rater", "rater_id", "labeler", "labeler_id", "worker_id", "judge")
"""Of who judged; `judge` is MT-bench's and Chatbot Arena's, `worker_id` Mechanical Turk's."""
POINTS = "points are numbers, as 4 or 4,5 or ★★★★; of 4/5 write the 4"
_DECIMAL_COMMA = re.compile(r"-?(?:\d+,(?:\d{1,2}|\d{4,})|0,\d+)", re.ASCII)
_STARS = re.compile("(?:★+|⭐+)☆*")
_SHOWN = 24


def said(value: Any) -> bool | None:
    """Whether a value says good or bad; None if it is not known to say either."""
    if isinstance(value, bool):
        return value
    number = number_of(value)
    if number is not None:
        return _NUMBERS.get(number)
    if not isinstance(value, str):
        return None
    word = value.strip().lower()
    return _THUMBS.get(word, _WORDS.get(word.translate(_FOLDED)))


def meant(labels: Mapping[str, bool], value: Any) -> Any:
    """Whether a word or number says good or bad by a recipe's `labels`; any other value as it is."""
    if not isinstance(value, str | int | float):
        return value
    return labels.get(f"{value:g}" if isinstance(value, float) else str(value).strip().lower(), value)


def number_of(value: Any) -> float | None:
    """A finite number, also as the text that a table without types writes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def points_of(value: Any) -> float | None:
    """A number of points: as `number_of`, with a decimal comma that parts no thousands, or so many stars."""
    if not isinstance(value, str):
        return None if value is None else number_of(value)
    if (number := number_of(value)) is not None:
        return number
    text = value.strip().replace("\ufe0f", "")
    if _DECIMAL_COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    return float(len(text.rstrip("☆"))) if _STARS.fullmatch(text) else None


def annotator_of(fields: Mapping[str, Any]) -> str | None:
    """Who judged: a name or a number, also a list of them, as of a judge and its prompt; in one writing."""
    told = (fields.get(name) for name in ANNOTATORS)
    name = next((one for one in told if not (is_empty(one) or one == [] or one == {})), None)
    if name is None:
        return None
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    text = name if isinstance(name, str) else json.dumps(name, sort_keys=True, ensure_ascii=False)
    shown = "".join(letter if letter.isprintable() else " " for letter in unicodedata.normalize("NFC", text))
    return " ".join(shown.split()) or None


def verdict(fields: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The field that says whether the row's answer is good, and what it says."""
    for name in LABELS:
        if (good := said(fields.get(name))) is not None:
            return name, good
    words = (name for name in RATINGS if number_of(fields.get(name)) is None)
    return next(((name, good) for name in words if (good := said(fields.get(name))) is not None), None)


def judge_of(fields: Mapping[str, Any]) -> str | None:
    """The field that judges the row's answer, also if nobody knows what it says."""
    found = verdict(fields)
    return found[0] if found else next((name for name in _MAY_JUDGE if _unclear(name, fields.get(name))), None)


def is_empty(value: Any) -> bool:
    """Whether a field judges nothing: a table without types writes null as no text."""
    return value is None or (isinstance(value, str) and not value.strip())


def must_say(value: Any, field: str) -> bool:
    """Raises RowError for a value that is not known to say good or bad."""
    good = said(value)
    if good is None:
        shown = f"it says {value!r}; " if isinstance(value, str) and value.isalnum() and len(value) <= _SHOWN else ""
        raise RowError(
            f"field '{field}' says neither good nor bad: {shown}known are {KNOWN}; what others mean is "
            "said by labels in the source, as in labels: {resolved: true, escalated: false}"
        )
    return good


def refuse_judged(fields: Mapping[str, Any]) -> None:
    """Raises RowError for a row whose answer was judged, where rows are read to be imitated."""
    if not JUDGES.isdisjoint(fields) and (name := judge_of(fields)) is not None:
        raise RowError(
            f"field '{name}' judges the answer, so it is no example to imitate: read the source as `unpaired`, or, "
            f"if it is a class, name it in `columns`, as in columns: {{category: {name}}}"
        )


def scale_problem(values: Iterable[Any]) -> str | None:
    """Why numbers that judge cannot be read as good and bad, if they cannot: they are two, 1 and 0 or 1 and -1."""
    found = {number for value in values if (number := number_of(value)) is not None}
    if found <= {0.0, 1.0} or found <= {-1.0, 1.0}:
        return None
    listed = ", ".join(f"{number:g}" for number in sorted(found)[:8])
    return f"holds {listed}, of which not every one is known to say good or bad (1/0, or 1/-1)"


def _unclear(name: str, value: Any) -> bool:
    if is_empty(value) or said(value) is not None:
        return False
    number = number_of(value)
    if name in RATINGS:
        return number is None
    if not isinstance(value, int | float | str):
        return True
    if name == _CLASS:
        return number is not None and number != int(number)
    return name in _PURE or number is not None
