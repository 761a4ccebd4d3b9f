"""The text that benchmarks measure on: the same for the same seed, with repeats, near-repeats and copies in it."""

from itertools import islice
from pathlib import Path

from benchmarks import generated
from benchmarks.corpora import generate
from benchmarks.steps import SHARES, _clean
from recipes.execution import CorporaExecution


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    first, again, other = (list(islice(generated.texts(200, 17, seed), 200)) for seed in (1, 1, 2))
    assert first == again != other
    assert len({text for row in first for text in row}) > 350


def test_cleaning_finds_what_was_put_in(tmp_path: Path) -> None:
    raw = generate(tmp_path, 6_000_000, 17)
    assert 6_000_000 <= raw < 9_000_000
    counts = _clean(tmp_path, next(iter(SHARES)), CorporaExecution(workers=1))
    assert 500 < counts["read"] / (raw * SHARES["general"] / 1e6) < 1200
    assert 0.01 < counts["duplicate"] / counts["read"] < 0.03
    assert 0 < counts["contaminated"] / counts["read"] < 0.004
    assert counts["read"] == counts["kept"] + counts["duplicate"] + counts["contaminated"]
