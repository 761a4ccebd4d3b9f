"""The mixture benchmark prints one JSON object on its last line."""

import json
import sys

import pytest

from benchmarks import mixture


def test_it_prints_its_figures_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["mixture", "--rows", "40000"])
    mixture.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) == {
        *("share_error_pp", "share_error_pp_10m", "worst_prefix_documents", "interleave_error_pp", "trl_error_pp"),
        *("rows_per_s", "interleave_rows_per_s", "speedup"),
    }
    assert figures["share_error_pp"] <= 0.02 and figures["share_error_pp_10m"] <= 0.005
    assert 0 < figures["worst_prefix_documents"] < 2
    assert figures["interleave_error_pp"] > 10 and figures["trl_error_pp"] > 10
