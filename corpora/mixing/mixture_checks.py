"""What must hold of a mixture before anything trains on it, measured on the file that was written.

Shares against the bound that the scheduler promises; tokens and mask of each row against two other ways of
computing them; a supervised end of turn in every row. Each result has `passed`, `blocking`, `value` and
`description`, and quotes no text.
"""

from pathlib import Path
from typing import Any

from corpora.rendering import ChatTemplate
from corpora.tables import rows_of

PARITY_ROWS = 2000
"""Rows re-encoded in the other ways, evenly spread over a larger mixture: each costs about a millisecond."""

_ROUNDING = 1e-9
Check = dict[str, Any]


def check_mixture(path: Path, template: ChatTemplate, manifest: dict[str, Any]) -> dict[str, Check]:
    """All checks of a written mixture, by name."""
    return {
        "shares": _shares(manifest),
        "supervised_end_of_turn": _ends(path, template.end_of_turn_id),
        "template_parity": _parity(path, template, manifest["rows"]),
    }


def _shares(manifest: dict[str, Any]) -> Check:
    errors = {
        group: abs(manifest["realised"][group]["share"] - planned) for group, planned in manifest["planned"].items()
    }
    worst = max(errors, key=lambda group: errors[group])
    return {
        "passed": errors[worst] <= manifest["tolerance"] + _ROUNDING,
        "blocking": True,
        "value": errors[worst],
        "description": (
            f"largest error of a group's share ({worst}), as a fraction; "
            f"the scheduler's bound at this size is {manifest['tolerance']:.4g}"
        ),
    }


def _ends(path: Path, end_of_turn_id: int) -> Check:
    missing = sum(
        not any(
            token == end_of_turn_id and counts
            for token, counts in zip(row["input_ids"], row["supervised"], strict=True)
        )
        for row in rows_of(path, ["input_ids", "supervised"])
    )
    return {
        "passed": missing == 0,
        "blocking": True,
        "value": missing,
        "description": "rows without a supervised end of turn",
    }


def _parity(path: Path, template: ChatTemplate, rows: int) -> Check:
    step = max(1, -(-rows // PARITY_ROWS))
    seen: set[str] = set()
    differing: list[str] = []
    for number, row in enumerate(rows_of(path, ["id", "messages", "input_ids", "supervised"])):
        if number % step or row["id"] in seen:
            continue
        seen.add(row["id"])
        stored = (row["input_ids"], row["supervised"])
        problem = template.parity(row["messages"])
        if problem is None and template.encode_by_prefix(row["messages"]) != stored:
            problem = "the written tokens are not those of the template"
        if problem is not None:
            differing.append(problem)
    found = f"; the first: {differing[0]}" if differing else ""
    return {
        "passed": not differing,
        "blocking": True,
        "value": len(differing),
        "description": f"of {len(seen)} rows, those whose tokens or mask differ between ways of computing them{found}",
    }
