"""A checkpoint's own answers become pairs that it learns from, by the real command; a new signal asks it nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.checks import WARNING_ONLY
from benchmarks import small
from corpora.tables.tables import PAIRS, ROWS, rows_of
from lineage.store import Artifact, Store

CANDIDATES = {
    "tries": {
        "checkpoint": "base",
        "prompts": "problems",
        "samples": 4,
        "max_new_tokens": 200,
        "seed": 5,
        "dtype": "float32",
        "signals": {"short": {"kind": "length"}},
        "execution": {"threads": 1},
    }
}
OWN = {"own": {"pairs": [{"candidates": "tries", "by": ["short"], "against": "worst"}], "max_length": 256, "seed": 5}}
BEST = {"brief": {"candidates": "tries", "by": ["short"], "keep": 2, "group": "picked", "licence": "our own"}}
BEFORE = ("evaluation_items", "clean/notes", "clean/chat", "clean/sums", "distinct", "base", "prompts/problems")
NODES = ("candidates/tries", "signals/tries/short", "preferences/own", "dpo")


def write(folder: Path, candidates: dict[str, Any], preferences: dict[str, Any]) -> Path:
    path = folder / f"{small.NAME}.yaml"
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    dpo = {**fields["stages"]["dpo"], "start": "base", "preferences": "own"}
    fields |= {
        "sources": {name: fields["sources"][name] for name in ("notes", "chat", "sums")},
        "prompts": {"problems": {**fields["prompts"]["problems"], "limit": 24}},
        "mixtures": {"own": {"groups": ["picked"], "size": 1000, "exhaustion": "stop", "max_length": 256, "seed": 5}},
        "candidates": candidates,
        "best_of_n": BEST,
        "preferences": preferences,
        "stages": {"dpo": dpo},
    }
    fields["evaluation"]["reports"] = ["base", "dpo"]
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path


def made(home: Path, *nodes: str) -> dict[str, Artifact]:
    found = {node: Store(home).ref(small.NAME, node) for node in nodes}
    return {node: artifact for node, artifact in found.items() if artifact is not None}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return small.write_recipe(tmp_path / "recipe")


def test_pairs_of_a_models_own_answers_by_signals(recipe: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    small.run(write(recipe.parent, CANDIDATES, OWN), home, select=["+preferences/own", "dpo"])
    first = made(home, *NODES)
    assert set(first) == set(NODES)
    assert set(made(home, *BEFORE)) == set(BEFORE), "all that the pairs are made from"
    assert set(made(home, "decision", "report/dpo")) == set()
    pairs = list(rows_of(first["preferences/own"].path / PAIRS))
    assert pairs and {(row["source"], row["signal"]) for row in pairs} == {("sums", "short")}
    small.run(recipe, home, select=["+mixture/own"])
    again = made(home, *NODES, "best_of_n/brief", "mixture/own")
    assert {name: again[name].digest for name in first} == {name: one.digest for name, one in first.items()}
    learned = list(rows_of(again["mixture/own"].path / ROWS))
    assert learned and {row["source"] for row in learned} == {"brief"}
    picked = {row["messages"][-1]["content"] for row in rows_of(again["best_of_n/brief"].path / ROWS)}
    assert picked & {row["chosen"][0]["content"].strip() for row in pairs}
    assert all(len(row["chosen_ids"]) < len(row["rejected_ids"]) for row in pairs)
    assert all(check["passed"] for check in first["candidates/tries"].metrics["checks"].values() if check["blocking"])
    for node in NODES:
        for name, check in first[node].metrics["checks"].items():
            assert check["blocking"] == (name not in WARNING_ONLY), (node, name)
    assert first["dpo"].record["inputs"]["preferences"] == first["preferences/own"].digest

    signals = {**CANDIDATES["tries"]["signals"], "varied": {"kind": "repetition", "n": 1}}
    by_both = {"own": {**OWN["own"], "pairs": [{**OWN["own"]["pairs"][0], "by": ["varied", "short"]}]}}
    changed = write(recipe.parent, {"tries": {**CANDIDATES["tries"], "signals": signals}}, by_both)
    small.run(changed, home, select=["candidates/tries", "signals/tries/varied", "preferences/own"])
    second = made(home, *NODES)
    same = {node for node in NODES if second[node].fingerprint == first[node].fingerprint}
    assert same == {"candidates/tries", "signals/tries/short", "dpo"}
    assert {row["signal"] for row in rows_of(second["preferences/own"].path / PAIRS)} <= {"varied", "short"}
