"""The data report of a mixture: written beside its rows when it is made, and shown with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.pipeline import Pipeline
from corpora.data_report.page import DATA_REPORT, Corpus, Made, tables
from lineage.store import Artifact

__all__ = ["DATA_REPORT", "report_subject", "shown_report"]


def report_subject(
    pipeline: Pipeline,
    name: str,
    folder: Path,
    checks: Mapping[str, Any],
    corpora: Mapping[str, Artifact],
    distinct: Artifact,
    base: Artifact,
) -> Made:
    """What the report of a mixture is on. folder: of the mixture, sealed or not; checks: of it."""
    return Made(
        recipe=pipeline.name,
        name=name,
        folder=folder,
        checks=checks,
        corpora={source: Corpus(a.path, a.digest, a.metrics) for source, a in corpora.items()},
        distinct=distinct.metrics,
        checkpoint=base.path,
    )


def shown_report(made: Made) -> dict[str, Any]:
    """The page's main tables as metadata."""
    return {f"table_{name}": dg.MetadataValue.md(table) for name, table in tables(made.facts).items()}
