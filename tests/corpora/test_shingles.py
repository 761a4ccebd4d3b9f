"""The kernels against plain Python: folding, words, shingles, MinHash and Jaccard similarity."""

import itertools
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.duplicates import minhash, shingling
from corpora.words import kernels, scripts
from corpora.words.words import buffers

TEXTS = [
    "What is 12 + 7?",
    "Don't PANIC – it’s only a test…\nSecond line\u00a0here.",
    "Ünïcödé, café, cafe\u0301, ﬁne ligature, ＦＵＬＬ width",
    "ΟΔΥΣΣΕΥΣ και Σ, İstanbul, ẞ, Ⱥ",
    "你好，世界！机器学习 is fun 2024年",
    "漢 字 漢, ก ก",
    "สวัสดีชาวโลก नमस्ते दुनिया 한국어 ᄒ\u1161ᆫ",
    "𠀀𠀁 rare ideographs 😀😀 emoji 👩\u200d👧 葛\U000e0100",
    "x" * 8 + " " + "y" * 9 + " " + "z" * 40,
    "\x1c a\x1fb\tc ",
    "",
]


def words_of(text: str) -> list[str]:
    """The rule, in Python: runs of letters, marks and digits; a character of some scripts is a word of its own."""
    found = [""]
    for character in scripts.fold(text):
        code = ord(character)
        rare = 0x20000 <= code < 0x40000
        if not rare and (code >= 0x40000 or unicodedata.category(character)[0] not in "LMN"):
            found.append("")
        elif rare or (code < scripts.SIZE and scripts.table()[code] & scripts.ALONE):
            found += [character, ""]
        else:
            found[-1] += character
    return [word for word in found if word]


def tokenised(texts: list[str]) -> tuple[Any, Any, Any, Any]:
    data, offsets = buffers(pa.array(texts, pa.string()))
    count = np.arange(len(texts) + 1)
    folded = kernels.fold(data, offsets, count[:-1], scripts.table())
    found: tuple[Any, Any, Any, Any] = shingling.words(*folded, np.zeros(len(texts), np.uint32), count)
    return found


def hashes(texts: list[str]) -> list[list[int]]:
    found, begins, _, _ = tokenised(texts)
    return [found[begin:end].tolist() for begin, end in itertools.pairwise(begins)]


def agree(texts: list[str]) -> None:
    """Words are equal exactly where their hashes are, in every text."""
    spelt = [word for text in texts for word in words_of(text)]
    hashed = [value for of_text in hashes(texts) for value in of_text]
    assert [len(of_text) for of_text in hashes(texts)] == [len(words_of(text)) for text in texts]
    meaning: dict[int, str] = {}
    assert all(meaning.setdefault(value, word) == word for value, word in zip(hashed, spelt, strict=True))
    assert len(set(hashed)) == len(set(spelt))


def test_words_are_those_of_the_rule() -> None:
    agree(TEXTS)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_words_of_any_text_are_those_of_the_rule(texts: list[str]) -> None:
    agree(texts)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_a_text_of_ascii_has_the_same_words_beside_one_that_is_not(text: str) -> None:
    alone, beside = hashes([text, text + " é"])
    assert beside[: len(alone)] == alone


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("What is 12 + 7?", "  what is\n12 +7 ?", True),
        ("What is 12 + 7?", "What is 12 - 7?", False),
        ("What is 12 + 7?", "What is 12 + 8?", False),
        ("Straße", "STRASSE", False),
        ("ＡＢＣ", "abc", True),
        ("cafe\u0301", "CAFÉ", True),
        ("a b", "ab", False),
    ],
)
def test_what_counts_as_equal(one: str, other: str, equal: bool) -> None:
    keys = tokenised([one, other])[2]
    assert bool((keys[0] == keys[1]).all()) is equal


def test_numbers_are_the_words_with_digits_in_order() -> None:
    numbers = tokenised(["add 3 and 14", "take 3 from 14", "add 14 and 3", "add three", "v2 beats v10", "v2, v10"])[3]
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == 0
    assert numbers[4] == numbers[5]


def shingled(texts: list[str], length: int = 3) -> tuple[Any, Any]:
    found, begins, _, _ = tokenised(texts)
    result: tuple[Any, Any] = shingling.shingles(found, begins, length)
    return result


def test_shingles_are_runs_of_words_inside_a_text() -> None:
    runs, starts = shingled(["a b c d", "b c d", "a b", "c d a"])
    assert np.diff(starts).tolist() == [2, 1, 0, 1]
    assert runs[1] == runs[2] != runs[3]
    assert runs[0] not in runs[1:]


def similarity(one: str, other: str) -> float:
    runs, starts = shingled([one, other])
    long, common = np.ones(2, bool), np.ones(2, np.uint64)
    records, lengths = minhash.records(runs, starts, long, common, 1)
    places = np.array([0, lengths[0]])
    return float(minhash.similarities(records, places, np.array([0]), np.array([1]))[0])


def exact(one: str, other: str) -> float:
    a, b = ({tuple(words[at : at + 3]) for at in range(len(words) - 2)} for words in (words_of(one), words_of(other)))
    return len(a & b) / len(a | b)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=3),
    st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=3),
)
def test_similarity_is_exact_jaccard(one: list[str], other: list[str]) -> None:
    assert similarity(" ".join(one), " ".join(other)) == exact(" ".join(one), " ".join(other))


def test_signatures_estimate_the_similarity() -> None:
    rng = np.random.default_rng(1)
    words = [f"w{number}" for number in range(400)]
    other = [word if rng.random() > 0.08 else "changed" for word in words]
    texts = [" ".join(words), " ".join(other)]
    runs, starts = shingled(texts)
    least = minhash.signatures(runs, starts, np.full(2, 1024), *minhash.permutations_of(1024, 3))
    assert (least[0] == least[1]).mean() == pytest.approx(exact(*texts), abs=0.05)


def test_bands_find_a_pair_at_the_threshold_with_the_promised_chance() -> None:
    for threshold in (0.5, 0.7, 0.9):
        bands, rows = minhash.bands_of(threshold, 128)
        assert bands * rows <= 128
        assert 1 - (1 - threshold**rows) ** bands >= 0.97 > 1 - (1 - threshold ** (rows + 1)) ** (128 // (rows + 1))
