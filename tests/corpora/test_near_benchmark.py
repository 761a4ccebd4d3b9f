"""The benchmark of near duplicates prints one JSON object on its last line, and its recall is what is promised."""

import json
import sys

import pytest

from benchmarks import duplicates


def test_it_prints_its_figures_last(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["duplicates", "--documents", "4000"])
    monkeypatch.setattr(duplicates, "_SAMPLED", 1)
    duplicates.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    rates = {"dedup_docs_per_s", "dedup_docs_per_cpu_s", "dedup_mb_per_s", "datasketch_docs_per_s", "dedup_speedup"}
    for other in ("one_by_one", "two_processes"):
        rates |= {f"datasketch_{other}_docs_per_s", f"dedup_speedup_over_{other}"}
    assert set(figures) == {*rates, "dedup_recall"}
    assert all(figures[name] > 0 for name in rates)
    assert figures["dedup_recall"] >= 0.97


def test_a_search_that_finds_nothing_has_no_recall(tmp_path_factory: pytest.TempPathFactory) -> None:
    corpus = duplicates.generate(tmp_path_factory.mktemp("benchmark") / "corpus", 2000, 17)
    assert duplicates.recall(corpus, duplicates.np.full(2000, -1)) == 0.0
