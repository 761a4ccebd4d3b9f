"""Blocking asset checks: what must hold of an artefact before anything may be built on it.

The makers of artefacts measure and put their verdicts into `metrics["checks"]`; here they are declared,
so that Dagster knows them before a run, and reported. A declared check that a maker did not report has
failed: silence is not a pass.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

DECLARED: dict[str, dict[str, str]] = {
    "clean": {
        "rows_conserved": "every row read was kept, quarantined, filtered or is a duplicate",
        "quarantine_share": "the share of bad rows is within the recipe's bound",
    },
    "mixture": {
        "shares": "realised shares of the groups are within the bound that the scheduler promises",
        "template_parity": "mask and tokens computed in two ways agree",
        "supervised_end_of_turn": "every row has a supervised end of turn",
    },
    "preferences": {"template_parity": "prompts are rendered by the model's own template"},
    "base": {"reload": "the checkpoint, loaded again, gives the same logits"},
    "sft": {"reload": "the checkpoint, loaded again, gives the same logits"},
    "dpo": {
        "reload": "the checkpoint, loaded again, gives the same logits",
        "step_zero_loss": "before the first step the loss is ln 2: policy and reference are the same model",
    },
    "report": {"report_valid": "the evaluation ran through and its outcomes can be trusted"},
}


def specs(kind: str, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=True) for name, text in DECLARED[kind].items()
    ]


def results(kind: str, metrics: Mapping[str, Any]) -> list[dg.AssetCheckResult]:
    """A result for each declared check of this kind of node."""
    reported: Mapping[str, Any] = metrics.get("checks", {})
    return [_result(name, reported.get(name)) for name in DECLARED.get(kind, {})]


def _result(name: str, reported: Mapping[str, Any] | None) -> dg.AssetCheckResult:
    if reported is None:
        return dg.AssetCheckResult(check_name=name, passed=False, description="not reported by the node's maker")
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(reported["passed"]),
        description=reported.get("description"),
        metadata={"value": reported["value"]},
    )
