"""Rows whose words hold a phrase that no answer should: a refusal, a chat product's boilerplate, or a user's own."""

import re
from collections.abc import Callable
from pathlib import Path

from corpora.cleaning.content import words
from corpora.formats.formats import Item
from lineage.errors import CorpusError
from recipes.cleaning import Phrases
from recipes.load import read_yaml

_LISTS = {
    "refusals": (
        "as an ai language model, i cannot",
        "as an ai, i cannot",
        "i am not able to assist with",
        "i am not able to help with",
        "i am unable to assist with",
        "i am unable to help with",
        "i can't assist with that",
        "i can't fulfill that request",
        "i can't help with that",
        "i cannot assist with",
        "i cannot fulfill",
        "i cannot help with",
        "i must decline",
        "i won't be able to help with",
        "i'm not able to assist with",
        "i'm not able to help with",
        "i'm sorry, but as an ai",
        "i'm sorry, but i can't",
        "i'm sorry, but i cannot",
        "i'm sorry, i can't",
        "i'm sorry, i cannot",
        "i'm unable to assist with",
        "i'm unable to help with",
        "sorry, but i can't",
        "sorry, but i cannot",
    ),
    "boilerplate": (
        "all rights reserved",
        "as a large language model",
        "as an ai assistant,",
        "as an ai language model",
        "as an artificial intelligence",
        "as of my knowledge cutoff",
        "as of my last update",
        "click here to",
        "my knowledge cutoff",
        "my training data",
        "regenerate response",
        "sign up for our newsletter",
        "subscribe to our newsletter",
        "the assistant is a large language model",
        "this content may violate",
    ),
}
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})


def phrases(step: Phrases, folder: Path) -> Callable[[Item], str | None]:
    """Raises CorpusError or RecipeError if the file of phrases is not a list of texts."""
    known: dict[str, list[str]] = {name: [_folded(text) for text in _LISTS[name]] for name in step.lists}
    known["phrases"] = [_folded(text) for text in [*step.phrases, *(_read(folder / step.file) if step.file else [])]]
    patterns = {name: _pattern(texts) for name, texts in known.items() if texts}

    def judge(item: Item) -> str | None:
        text = _folded(words(item, step.part))
        for name, pattern in patterns.items():
            if pattern.match(text) if step.at == "start" else pattern.search(text):
                return name
        return None

    return judge


def _pattern(texts: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)))


def _folded(text: str) -> str:
    return " ".join(text.translate(_APOSTROPHES).casefold().split())


def _read(path: Path) -> list[str]:
    found = read_yaml(path)
    if not (isinstance(found, list) and found and all(isinstance(text, str) and text.strip() for text in found)):
        raise CorpusError(f"{path}: a file of phrases is a YAML list of texts, none of them empty")
    return found
