"""The mixture benchmark prints one JSON object on its last line."""

import json
import sys

import pytest

from benchmarks import mixture


def test_it_prints_its_figures_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mixture", "--tokens", "500000"])
    mixture.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) == {"share_error_pp", "interleave_error_pp", "rows_per_s", "interleave_rows_per_s", "speedup"}
    assert figures["share_error_pp"] < 0.5 < 10 < figures["interleave_error_pp"]
