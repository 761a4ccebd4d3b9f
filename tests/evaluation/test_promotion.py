"""Promotion on a real sqlite registry: unchanged bytes, one champion, and crashes at every step."""

import math
import shutil
import signal
from pathlib import Path

import pytest

from evaluation.registry.ledger import Ledger
from evaluation.registry.promotion import CHALLENGER, CHAMPION, StaleDecision, champion, registry_client
from jobs.logged_models import log_scores, logged_model
from jobs.mlflow_store import experiment_id
from lineage.errors import EvaluationError
from lineage.hashing import file_digest
from lineage.store import Request, Store
from tests.evaluation.made_promotions import MODEL, checkpoint, decision, register, started, uri

STEPS = range(1, 10)
COMMIT_POINT = 7


def states(home: Path) -> list[str]:
    return [entry.state for entry in Ledger(home / "ledger" / f"{MODEL}.jsonl").entries()]


def logged(home: Path) -> Path:
    """The registry's own files of the only version."""
    client = registry_client(uri(home))
    (version,) = client.search_model_versions(f"name = '{MODEL}'")
    return Path(
        client.get_logged_model(version.source.removeprefix("models:/")).artifact_location.removeprefix("file://")
    )


def on(home: Path, alias: str) -> str | None:
    """Digest of the checkpoint that an alias stands on."""
    client = registry_client(uri(home))
    version = client.get_registered_model(MODEL).aliases.get(alias)
    return client.get_model_version(MODEL, version).tags["temper.checkpoint_digest"] if version else None


def test_a_pass_becomes_champion_with_unchanged_bytes_and_nothing_that_runs(home):
    candidate = checkpoint(home)
    promoted = register(home, candidate, decision(candidate))
    assert promoted.changed and promoted.aliases == [CHAMPION]
    folder = logged(home)
    names = {file.name for file in folder.rglob("*") if file.is_file()} - {"MLmodel"}
    assert names == {"model.safetensors", "config.json", "chat_template.jinja"}
    assert all(file_digest(folder / name) == candidate.record["files"][name]["sha256"] for name in names)
    holder = champion(uri(home), home, MODEL)
    assert holder is not None
    assert (holder.checkpoint_digest, holder.tags["note"]) == (candidate.digest, "x")
    assert home / holder.checkpoint_path == candidate.path
    assert states(home) == ["intent", "committed"]


def test_doing_it_again_changes_nothing(home):
    candidate = checkpoint(home)
    first = register(home, candidate, decision(candidate))
    again = register(home, candidate, decision(candidate))
    assert (again.changed, again.version) == (False, first.version)
    assert states(home) == ["intent", "committed"]


def test_anything_but_a_pass_is_a_challenger_with_its_reasons(home):
    candidate = checkpoint(home)
    made = decision(candidate, better=False)
    promoted = register(home, candidate, made)
    assert (promoted.verdict, promoted.aliases) == ("inconclusive", [CHALLENGER])
    assert champion(uri(home), home, MODEL) is None
    tags = registry_client(uri(home)).get_model_version(MODEL, promoted.version).tags
    assert tags["temper.reasons"] == "\n".join(made.reasons)
    assert not register(home, candidate, made).changed


def test_reasons_of_any_length_are_no_obstacle(home):
    candidate = checkpoint(home)
    made = decision(candidate, better=False)
    made = made.model_copy(update={"reasons": [f"it's reason {number}" for number in range(20_000)]})
    promoted = register(home, candidate, made)
    tags = registry_client(uri(home)).get_model_version(MODEL, promoted.version).tags
    assert tags["temper.reasons"].startswith("it's reason 0\nit's reason 1") and len(tags["temper.reasons"]) == 100_000
    assert not register(home, candidate, made).changed


def test_a_score_that_is_no_number_is_not_a_0_of_the_model_and_any_name_will_do(home):
    client, candidate = registry_client(uri(home)), checkpoint(home)
    experiment = experiment_id(uri(home), "temper/demo", home)
    run_id = client.create_run(experiment).info.run_id
    scores = {"sums/accuracy": 0.5, "sums/loss": math.nan, "sums/it's": 0.25, 'sums/it"s': 0.75, "sums/../x": 1.0}
    model = logged_model(client, experiment, candidate)
    for _ in range(2):
        log_scores(client, run_id, model, scores, {"sums": "d" * 64})
        model = logged_model(client, experiment, candidate)
    assert sorted(metric.value for metric in model.metrics) == [0.25, 0.5, 0.75, 1.0]


def test_a_better_one_takes_over_and_the_old_one_stays_as_previous(home):
    old, new = checkpoint(home, "old"), checkpoint(home, "new")
    register(home, old, decision(old))
    promoted = register(home, new, decision(new, reference=old), "d2")
    client = registry_client(uri(home))
    assert (promoted.aliases, promoted.version) == ([CHAMPION], "2")
    assert str(client.get_model_version_by_alias(MODEL, "previous").version) == "1"


def test_a_decision_against_another_champion_is_stale(home):
    old, new = checkpoint(home, "old"), checkpoint(home, "new")
    register(home, old, decision(old))
    with pytest.raises(StaleDecision, match="compares with base, as if there were no champion, but the champion is"):
        register(home, new, decision(new), "d2")
    holder = champion(uri(home), home, MODEL)
    assert holder is not None and holder.checkpoint_digest == old.digest


def test_damaged_weights_are_not_registered(home):
    candidate = checkpoint(home)
    weights = candidate.path / "model.safetensors"
    weights.write_bytes(b"W" * weights.stat().st_size)
    with pytest.raises(Exception, match=r"model\.safetensors: its bytes are not those recorded"):
        register(home, candidate, decision(candidate))
    assert champion(uri(home), home, MODEL) is None


def test_a_decision_about_another_checkpoint_is_refused(home):
    one, other = checkpoint(home, "one"), checkpoint(home, "other")
    with pytest.raises(EvaluationError, match="about another checkpoint"):
        register(home, one, decision(other))


def test_a_changed_ledger_line_is_noticed(home):
    candidate = checkpoint(home)
    register(home, candidate, decision(candidate))
    path = home / "ledger" / "made.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"verdict":"pass"', '"verdict":"fail"', 1), encoding="utf-8"
    )
    with pytest.raises(EvaluationError, match=r"made\.jsonl:1: changed after it was written"):
        Ledger(path).entries()


def test_a_ledger_line_cut_short_by_a_crash_is_dropped(home):
    candidate = checkpoint(home)
    register(home, candidate, decision(candidate, better=False))
    path = home / "ledger" / "made.jsonl"
    path.write_bytes(path.read_bytes() + '{"at":"2026-01-01","reasons":["é'.encode()[:-1])
    assert states(home) == ["challenger"]
    register(home, candidate, decision(candidate), "d2")
    assert states(home) == ["challenger", "intent", "committed"]


def test_a_challenger_that_passes_later_is_champion_only(home):
    candidate = checkpoint(home)
    first = register(home, candidate, decision(candidate, better=False))
    second = register(home, candidate, decision(candidate), "d2")
    assert (second.aliases, second.version) == ([CHAMPION], first.version)
    tags = registry_client(uri(home)).get_model_version(MODEL, second.version).tags
    assert (tags["temper.verdict"], tags["temper.decision_digest"]) == ("pass", "d2")


def test_a_champion_stays_champion_whatever_is_decided_about_it_later(home):
    candidate = checkpoint(home)
    register(home, candidate, decision(candidate))
    again = register(home, candidate, decision(candidate, better=False), "d2")
    assert (again.changed, again.aliases) == (False, [CHAMPION])


def test_a_model_left_half_logged_is_finished_not_doubled(home):
    candidate = checkpoint(home)
    client = registry_client(uri(home))
    experiment = experiment_id(uri(home), "temper/demo", home)
    begun = logged_model(client, experiment, candidate)
    torn = home / "model.safetensors"
    torn.write_bytes(b"half")
    client.log_model_artifact(begun.model_id, str(torn))
    assert register(home, candidate, decision(candidate)).source == f"models:/{begun.model_id}"
    assert len(client.search_logged_models([experiment])) == 1
    assert file_digest(logged(home) / "model.safetensors") == file_digest(candidate.path / "model.safetensors")


def test_a_damaged_copy_in_the_registry_is_not_crowned(home):
    candidate = checkpoint(home)
    register(home, candidate, decision(candidate, better=False))
    (logged(home) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(EvaluationError, match=r"model\.safetensors: the registry's copy is not the checkpoint's"):
        register(home, candidate, decision(candidate), "d2")
    assert champion(uri(home), home, MODEL) is None


def test_a_checkpoint_without_safetensors_is_refused(home):
    store = Store(home)
    whole = checkpoint(home)
    request = Request("demo", "dpo", {"weights": "pickled"})
    with store.building(request) as work:
        shutil.copy(whole.path / "training_args.bin", work / "pytorch_model.bin")
        pickled = store.seal(request, config={}, metrics={}, inputs={})
    with pytest.raises(EvaluationError, match="no safetensors file at its root"):
        register(home, pickled, decision(pickled))


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_after_any_step_leaves_one_champion_and_the_next_call_finishes(home, step):
    old = checkpoint(home, "old")
    register(home, old, decision(old))
    killed = started(home, crash_at=str(step))
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    new = checkpoint(home, "new")
    assert on(home, CHAMPION) == (new.digest if step >= COMMIT_POINT else old.digest)
    promoted = register(home, new, decision(new, reference=old), "d2")
    assert promoted.aliases == [CHAMPION]
    assert (on(home, CHAMPION), on(home, "previous")) == (new.digest, old.digest)
    assert len(registry_client(uri(home)).search_model_versions(f"name = '{MODEL}'")) == 2
    assert states(home)[-1] == "committed" and states(home).count("committed") == 2


def test_a_promotion_that_was_killed_and_is_not_repeated_is_undone_by_the_next_one(home):
    old, third = checkpoint(home, "old"), checkpoint(home, "third")
    register(home, old, decision(old))
    killed = started(home, crash_at="6")
    killed.join(60)
    assert (on(home, CHAMPION), on(home, "previous")) == (old.digest, old.digest)
    register(home, third, decision(third, better=False), "d3")
    assert (on(home, CHAMPION), on(home, "previous"), on(home, CHALLENGER)) == (old.digest, None, third.digest)
    assert states(home) == ["intent", "committed", "intent", "aborted", "challenger"]


@pytest.mark.parametrize("left", ["nothing", "the old version"])
def test_a_champion_that_does_not_read_back_is_not_committed(home, monkeypatch, left):
    old, new = checkpoint(home, "old"), checkpoint(home, "new")
    register(home, old, decision(old))
    client = type(registry_client(uri(home)))
    set_alias = client.set_registered_model_alias

    def elsewhere(self, name, alias, version):
        set_alias(self, name, alias, "1" if alias == CHAMPION else version)
        if alias == CHAMPION and left == "nothing":
            self.delete_registered_model_alias(name, alias)

    with monkeypatch.context() as patched, pytest.raises(EvaluationError, match=r"champion is version .* was set"):
        patched.setattr(client, "set_registered_model_alias", elsewhere)
        register(home, new, decision(new, reference=old), "d2")
    assert states(home) == ["intent", "committed", "intent"]


def test_two_promoters_at_once_make_one_version_and_one_entry(home):
    old = checkpoint(home, "old")
    register(home, old, decision(old))
    new = checkpoint(home, "new")
    both = [started(home) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(registry_client(uri(home)).search_model_versions(f"name = '{MODEL}'")) == 2
    assert on(home, CHAMPION) == new.digest
    assert states(home) == ["intent", "committed"] * 2
