"""Small reports with outcomes of our choosing, for tests of what is built on reports."""

from collections.abc import Sequence
from typing import Any

from evaluation.report import Report, Sample
from lineage.hashing import text_digest
from recipes.promotion import Promotion

HARMFUL_CANARY = "canary-harmful-text"


def samples(
    metric: str,
    scores: Sequence[float],
    *,
    higher: bool = True,
    per_cluster: int = 1,
    text: bool = True,
    **changes: Any,
) -> list[Sample]:
    """One row per score; `per_cluster` neighbours share a cluster; `changes` replace columns of every row."""
    task, name = metric.split("/")
    rows = []
    for i, score in enumerate(scores):
        doc = text_digest(f"{task} {i}")
        row: Sample = {
            "task": task,
            "metric": name,
            "doc_id": i,
            "doc_hash": doc,
            "prompt_hash": text_digest(f"prompt of {doc}"),
            "cluster": doc if per_cluster == 1 else f"cluster {i // per_cluster}",
            "score": float(score),
            "higher_is_better": higher,
            "prompt": f"What is {i} + {i}?" if text else None,
            "response": (f"It is {2 * i}." if score else f"<b>I & you</b> say {i}") if text else None,
            "target": str(2 * i) if text else None,
        }
        rows.append({**row, **changes})
    return rows  # type: ignore[return-value]


def report(checkpoint: str, rows: list[Sample], **changes: Any) -> Report:
    """A report on the checkpoint with this name; `changes` replace `suite`, `runtime` or `invalid_reasons` parts."""
    tasks = {row["task"]: {"kind": "verifier", "data_digest": text_digest(row["task"])} for row in rows}
    suite = {"digest": text_digest("suite"), "version": 1, "tasks": tasks} | changes.pop("suite", {})
    runtime = {"backend": "hf", "dtype": "bfloat16", "batch_size": 16, "device": "cpu"} | changes.pop("runtime", {})
    subject = {"checkpoint_digest": text_digest(checkpoint), "template_sha256": text_digest("template")}
    subject |= changes.pop("subject", {})
    return Report.from_samples(rows, subject=subject, suite=suite, runtime=runtime, **changes)


def promotion(margin: float = 0.1, **changes: Any) -> Promotion:
    """Target `sums/accuracy`, guard `edgy/refusal_rate` (lower is better) with this margin."""
    rule: dict[str, Any] = {
        "registered_model": "made",
        "candidate": "dpo",
        "target": {"metric": "sums/accuracy"},
        "guards": [{"metric": "edgy/refusal_rate", "margin": margin}],
    }
    return Promotion.model_validate(rule | changes)


def pair(n: int = 200, sums: tuple[int, int] = (20, 120), edgy: tuple[int, int] = (6, 8)) -> tuple[Report, Report]:
    """Base and candidate reports: of `n` items, so many right sums and so many refused edgy prompts each."""
    made = []
    for which, name in enumerate(("base", "dpo")):
        right, refused = ([1] * k[which] + [0] * (n - k[which]) for k in (sums, edgy))
        rows = samples("sums/accuracy", right) + samples("edgy/refusal_rate", refused, higher=False, text=False)
        made.append(report(name, rows))
    return made[0], made[1]
