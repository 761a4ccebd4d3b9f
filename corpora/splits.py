"""On which side of train, validation and held-out a row falls: a pure function of its words and the recipe's salt.

A row never changes its side while data grows, is cleaned anew or is mixed otherwise, for no other row has a say in
it. Deciding is what a row is asked: all that stands before the first answer (of a document: its text), folded to
its letters and digits without case, so two answers to one question never straddle a border, nor do questions that
differ in case, punctuation or white space. Near duplicates in other words may: that is for `distinct`, of whose
clusters one row is left by default; where a recipe keeps several, they are split like strangers.
"""

import re
import unicodedata
from typing import Any, Literal

from lineage.hashing import text_digest
from recipes.cleaning import Splits

VERSION = 1

Side = Literal["train", "validation", "held_out"]
SIDES: tuple[Side, ...] = ("train", "validation", "held_out")

_RANGE = 1 << 64
_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[\W_]+")


def side_of(row: dict[str, Any], splits: Splits) -> Side:
    """The side of a clean row, by its `messages` or its `text`."""
    if not splits.validation and not splits.held_out:
        return "train"
    drawn = int(text_digest(f"{splits.salt}\n{_asked(row)}")[:16], 16)
    if drawn < splits.held_out * _RANGE:
        return "held_out"
    return "validation" if drawn >= (1 - splits.validation) * _RANGE else "train"


def _asked(row: dict[str, Any]) -> str:
    """The question, folded; as it is if it has neither letters nor digits."""
    if "text" in row:
        words = row["text"]
    else:
        roles = [message["role"] for message in row["messages"]]
        before = row["messages"][: roles.index("assistant")] if "assistant" in roles else row["messages"]
        words = "\n".join(message["content"] or "" for message in before)
    folded = _NEITHER_LETTER_NOR_DIGIT.sub("", unicodedata.normalize("NFKC", words).casefold())
    return folded or words
