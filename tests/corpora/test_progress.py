"""Progress reaches whoever runs a step."""

import pytest

from corpora.work import progress as module
from corpora.work.progress import progress, told_to


def test_lines_go_where_they_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    told: list[str] = []
    with told_to(told.append), progress("tables", 4, "blocks") as advance:
        advance(2)
        advance(2)
    with progress("tables", 1, "blocks") as advance:
        advance(1)
    assert told[-1].startswith("tables: 4 of 4 blocks")
    assert capsys.readouterr().err.startswith("tables: 1 of 1 blocks")
