"""A corpus that is nearly all repeats comes down to what it says: chatterbot's technical support, 1,050 rows for 10."""

from pathlib import Path

import pytest

from corpora.cleaning.clean import clean
from recipes.sources import Source
from tests.corpora.made import source
from tests.corpora.made_duplicates import searched

REAL = source(
    "pypi://chatterbot_corpus-1.3.3-py2.py3-none-any.whl/chatterbot_corpus/data/english/tech_support.yml",
    sha256="86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
)


def lookalike(folder: Path) -> Source:
    """The same shape: a list of questions and answers, each of ten over and over again."""
    rows = [f"- - My part {'abcdefghij'[row % 10]} is broken.\n  - Mend it." for row in range(1050)]
    (folder / "support.yml").write_text("categories:\n- tech support\nconversations:\n" + "\n".join(rows) + "\n")
    return source("support.yml")


@pytest.mark.parametrize("real", [False, True], ids=["generated", "chatterbot"])
def test_1050_rows_become_10(tmp_path: Path, real: bool) -> None:
    work = tmp_path / "clean"
    work.mkdir()
    metrics = clean("support", REAL if real else lookalike(tmp_path), tmp_path, tmp_path / "cache", work)
    assert (metrics["read"], metrics["kept"], metrics["duplicate"]) == (1050, 10, 1040)
    assert searched(tmp_path / "distinct", {"support": work})[0]["kept"] == 10
