"""Small sealed checkpoints, decisions about them, and promotions in processes of their own."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from evaluation.gating.decision import Decision
from evaluation.gating.gate import decide
from evaluation.registry.promotion import Promoted, promote
from lineage.store import Artifact, Request, Store
from tests.evaluation.made_reports import pair, promotion, report

MODEL = "made"


def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow' / 'mlflow.db'}"


def checkpoint(home: Path, weights: str = "weights") -> Artifact:
    """A sealed checkpoint folder; the same weights give the same artefact."""
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
    """That `candidate` is better (or as good) than `reference`, the champion, or than base without one."""
    before, after = pair()
    ours = report("dpo", list((after if better else before).rows), subject={"checkpoint_digest": candidate.digest})
    theirs = {"checkpoint_digest": reference.digest} if reference else {}
    other = report("base", list(before.rows), subject=theirs)
    kind = "champion" if reference else "base"
    return decide(promotion(), ours, other, other, reference_kind=kind, overridden=False)


def register(home: Path, candidate: Artifact, made: Decision, digest: str = "d1") -> Promoted:
    return promote(uri(home), home, MODEL, candidate, made, digest, {}, {"note": "x"})


def succeed(home: Path, crash_at: str = "") -> None:
    """`new` takes over from `old`; the process is killed at the end of step `crash_at`, if one is named."""
    os.environ["TEMPER_CRASH_AT"] = crash_at
    old, new = checkpoint(home, "old"), checkpoint(home, "new")
    register(home, new, decision(new, reference=old), "d2")


def crown(home: Path, *names: str) -> list[Artifact]:
    """Checkpoints that become champion one after the other."""
    made = [checkpoint(home, name) for name in names]
    for reference, one in zip([None, *made[:-1]], made, strict=True):
        register(home, one, decision(one, reference=reference), f"d-{one.digest}")
    return made


def started(home: Path, crash_at: str = "") -> BaseProcess:
    """`succeed` in a process of its own."""
    return _started(succeed, home, crash_at)


def elsewhere(act: Callable[..., object], *arguments: object) -> None:
    """`act` in a process that ends well: this one would keep open a database that is replaced later."""
    process = _started(act, *arguments)
    process.join(60)
    assert process.exitcode == 0


def _started(act: Callable[..., object], *arguments: object) -> BaseProcess:
    """Each comes from a server that has MLflow imported already, to save seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "tests.evaluation.made_promotions"])
    process = context.Process(target=act, args=arguments)
    process.start()
    return process
