"""Promotion on a real sqlite registry: unchanged bytes, one champion, and crashes at every step."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.decision import Decision
from evaluation.gate import decide
from evaluation.ledger import Ledger
from evaluation.promotion import CHALLENGER, CHAMPION, StaleDecision, champion, promote, registry_client
from evaluation.report import EvaluationError
from lineage.hashing import file_digest
from lineage.store import Artifact, Request, Store
from tests.evaluation.made_reports import pair, promotion, report

ROOT = Path(__file__).resolve().parents[2]
MODEL = "made"


def checkpoint(home: Path, weights: str = "weights") -> Artifact:
    store = Store(home)
    request = Request("demo", "dpo", {"weights": weights})
    if found := store.find(request):
        return found
    with store.building(request) as work:
        (work / "model.safetensors").write_bytes(weights.encode() * 1000)
        (work / "config.json").write_text('{"dtype": "float32"}', encoding="utf-8")
        (work / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
        (work / "adapter").mkdir()
        (work / "adapter" / "adapter_model.safetensors").write_bytes(b"a")
        (work / "training_args.bin").write_bytes(b"pickle")
        (work / "history.json").write_text("[]", encoding="utf-8")
        return store.seal(request, config={}, metrics={}, inputs={}, informative=("history.json",))


def decision(candidate: Artifact, *, better: bool = True, reference: Artifact | None = None) -> Decision:
    before, after = pair()
    if not better:
        after = before
    subject = {"checkpoint_digest": candidate.digest}
    ours = report("dpo", list(after.rows), subject=subject)
    theirs = {"checkpoint_digest": reference.digest} if reference else {}
    other = report("base", list(before.rows), subject=theirs)
    kind = "champion" if reference else "base"
    return decide(promotion(), ours, other, other, reference_kind=kind, overridden=False)


def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"


def register(home: Path, candidate: Artifact, made: Decision, digest: str = "d1"):
    return promote(uri(home), home, MODEL, candidate, made, digest, {}, {"note": "x"})


def test_a_pass_becomes_champion_with_unchanged_bytes_and_nothing_that_runs(tmp_path):
    candidate = checkpoint(tmp_path)
    promoted = register(tmp_path, candidate, decision(candidate))
    assert promoted.changed and promoted.aliases == [CHAMPION]
    import mlflow

    registry_client(uri(tmp_path))
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=promoted.source))
    names = {file.name for file in folder.rglob("*") if file.is_file()} - {"MLmodel"}
    assert names == {"model.safetensors", "config.json", "chat_template.jinja"}
    assert all(file_digest(folder / name) == candidate.record["files"][name]["sha256"] for name in names)
    holder = champion(uri(tmp_path), MODEL)
    assert holder is not None
    assert (holder.checkpoint_digest, holder.tags["note"]) == (candidate.digest, "x")
    assert tmp_path / holder.checkpoint_path == candidate.path
    assert [entry.state for entry in Ledger(tmp_path / "ledger" / "made.jsonl").entries()] == ["intent", "committed"]


def test_doing_it_again_changes_nothing(tmp_path):
    candidate = checkpoint(tmp_path)
    first = register(tmp_path, candidate, decision(candidate))
    again = register(tmp_path, candidate, decision(candidate))
    assert (again.changed, again.version) == (False, first.version)
    assert len(Ledger(tmp_path / "ledger" / "made.jsonl").entries()) == 2


def test_anything_but_a_pass_is_a_challenger_with_its_reasons(tmp_path):
    candidate = checkpoint(tmp_path)
    made = decision(candidate, better=False)
    promoted = register(tmp_path, candidate, made)
    assert (promoted.verdict, promoted.aliases) == ("inconclusive", [CHALLENGER])
    assert champion(uri(tmp_path), MODEL) is None
    tags = registry_client(uri(tmp_path)).get_model_version(MODEL, promoted.version).tags
    assert tags["temper.reasons"] == "\n".join(made.reasons)
    assert not register(tmp_path, candidate, made).changed


def test_a_better_one_takes_over_and_the_old_one_stays_as_previous(tmp_path):
    old, new = checkpoint(tmp_path, "old"), checkpoint(tmp_path, "new")
    register(tmp_path, old, decision(old))
    promoted = register(tmp_path, new, decision(new, reference=old), "d2")
    client = registry_client(uri(tmp_path))
    assert (promoted.aliases, promoted.version) == ([CHAMPION], "2")
    assert str(client.get_model_version_by_alias(MODEL, "previous").version) == "1"


def test_a_decision_against_another_champion_is_stale(tmp_path):
    old, new = checkpoint(tmp_path, "old"), checkpoint(tmp_path, "new")
    register(tmp_path, old, decision(old))
    with pytest.raises(StaleDecision, match="compares with base, as if there were no champion, but the champion is"):
        register(tmp_path, new, decision(new), "d2")
    holder = champion(uri(tmp_path), MODEL)
    assert holder is not None and holder.checkpoint_digest == old.digest


def test_damaged_weights_are_not_registered(tmp_path):
    candidate = checkpoint(tmp_path)
    weights = candidate.path / "model.safetensors"
    weights.write_bytes(b"W" * weights.stat().st_size)
    with pytest.raises(Exception, match=r"model\.safetensors: its bytes are not those recorded"):
        register(tmp_path, candidate, decision(candidate))
    assert champion(uri(tmp_path), MODEL) is None


def test_a_decision_about_another_checkpoint_is_refused(tmp_path):
    one, other = checkpoint(tmp_path, "one"), checkpoint(tmp_path, "other")
    with pytest.raises(EvaluationError, match="about another checkpoint"):
        register(tmp_path, one, decision(other))


def test_a_changed_ledger_line_is_noticed(tmp_path):
    candidate = checkpoint(tmp_path)
    register(tmp_path, candidate, decision(candidate))
    path = tmp_path / "ledger" / "made.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"verdict":"pass"', '"verdict":"fail"', 1), encoding="utf-8"
    )
    with pytest.raises(EvaluationError, match=r"made\.jsonl:1: changed after it was written"):
        Ledger(path).entries()


PROMOTE = """
import sys
from pathlib import Path
from tests.evaluation.test_promotion import checkpoint, decision, register
home = Path(sys.argv[1])
old, new = checkpoint(home, "old"), checkpoint(home, "new")
register(home, new, decision(new, reference=old), "d2")
"""


@pytest.mark.parametrize("step", [3, 4, 6, 7, 8])
def test_a_kill_after_any_step_leaves_one_champion_and_the_next_call_finishes(tmp_path, step):
    old = checkpoint(tmp_path, "old")
    register(tmp_path, old, decision(old))
    killed = subprocess.run(
        [sys.executable, "-c", PROMOTE, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TEMPER_CRASH_AT": str(step)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    new = checkpoint(tmp_path, "new")
    holder = champion(uri(tmp_path), MODEL)
    assert holder is not None and holder.checkpoint_digest == (new.digest if step >= 7 else old.digest)
    promoted = register(tmp_path, new, decision(new, reference=old), "d2")
    assert promoted.aliases == [CHAMPION]
    client = registry_client(uri(tmp_path))
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 2
    assert client.get_model_version_by_alias(MODEL, "previous").tags["temper.checkpoint_digest"] == old.digest
    states = [entry.state for entry in Ledger(tmp_path / "ledger" / "made.jsonl").entries()]
    assert states[-1] == "committed" and states.count("committed") == 2


def test_two_promoters_at_once_make_one_version(tmp_path):
    old = checkpoint(tmp_path, "old")
    register(tmp_path, old, decision(old))
    checkpoint(tmp_path, "new")
    both = [
        subprocess.Popen([sys.executable, "-c", PROMOTE, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()[-2000:]
    client = registry_client(uri(tmp_path))
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 2
