"""Text that repeats itself or is hardly text: the rules of Gopher and C4.

Rae et al. 2021 (arXiv 2112.11446), section A.1.1 and table A1; Raffel et al. 2020 (JMLR 21/140), section 2.2. What
counts as repeated is datatrove's code; words are cut at white space, as in the papers, and not by datatrove's
tokenizers, which need a model for each language. Two of C4's rules rewrite pages line by line; rows of a
conversation cannot be rewritten, so a row goes or stays as a whole.
"""

import re
from collections.abc import Callable

from corpora.cleaning.content import words
from corpora.formats.formats import Item
from recipes.cleaning import Repetition, Symbols

_STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_ENDS = (".", "?", "!", '"', "'", "”", "’", "。", "？", "！")
_BULLETS = ("•", "-", "*")
_ELLIPSES = ("...", "…")
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")


def repetition(step: Repetition) -> Callable[[Item], str | None]:
    def judge(item: Item) -> str | None:
        text = words(item, step.part).strip()
        tokens = text.split()
        if len(tokens) < step.min_words:
            return None
        return _repeated_pieces(text, step) or _repeated_ngrams(tokens, len(text), step)

    return judge


def symbols(step: Symbols) -> Callable[[Item], str | None]:
    forbidden = [text.lower() for text in step.forbidden]
    shortest, longest = step.mean_word_length

    def judge(item: Item) -> str | None:
        text = words(item, step.part)
        tokens = text.split()
        lowered = text.lower()
        if any(phrase in lowered for phrase in forbidden):
            return "forbidden text"
        if max(map(len, tokens), default=0) > step.max_word_length:
            return "a word too long"
        if len(tokens) < step.min_words:
            return None
        if not shortest <= sum(map(len, tokens)) / len(tokens) <= longest:
            return "mean word length"
        if max(text.count("#"), sum(map(text.count, _ELLIPSES))) / len(tokens) > step.max_symbols_per_word:
            return "symbols"
        if sum(any(map(str.isalpha, token)) for token in tokens) / len(tokens) < step.min_alphabetic_words:
            return "few alphabetic words"
        if step.min_stop_words and len(_STOP_WORDS.intersection(lowered.split())) < step.min_stop_words:
            return "few stop words"
        return _lines_wrong([line.strip() for line in text.splitlines() if line.strip()], step)

    return judge


def _repeated_pieces(text: str, step: Repetition) -> str | None:
    from datatrove.pipeline.filters.gopher_repetition_filter import find_duplicates

    for pieces, most, most_characters, name in (
        (_PARAGRAPHS.split(text), step.paragraphs, step.paragraph_characters, "paragraphs"),
        (_LINES.split(text), step.lines, step.line_characters, "lines"),
    ):
        repeated, characters = find_duplicates(pieces)
        if repeated / len(pieces) > most or characters / len(text) > most_characters:
            return f"repeated {name}"
    return None


def _repeated_ngrams(tokens: list[str], characters: int, step: Repetition) -> str | None:
    from datatrove.pipeline.filters.gopher_repetition_filter import find_all_duplicate, find_top_duplicate, get_n_grams

    for n, most in step.top_ngrams.items():
        if len(tokens) >= n and find_top_duplicate(get_n_grams(tokens, n)) / characters > most:
            return f"a frequent {n}-gram"
    for n, most in step.repeated_ngrams.items():
        if find_all_duplicate(tokens, n) / characters > most:
            return f"repeated {n}-grams"
    return None


def _lines_wrong(lines: list[str], step: Symbols) -> str | None:
    count = len(lines)
    if sum(line.startswith(_BULLETS) for line in lines) / count > step.max_bullet_lines:
        return "bullet lines"
    if sum(line.endswith(_ELLIPSES) for line in lines) / count > step.max_ellipsis_lines:
        return "lines that break off"
    ended = sum(line.endswith(_ENDS) and not line.endswith(_ELLIPSES) for line in lines)
    return "lines without an end" if ended / count < step.min_ended_lines else None
