"""MLflow's LoggedModels: one for every checkpoint that is scored or registered, found by the checkpoint's digest.

A checkpoint that was only scored is external: its files stay in the store. Whoever registers it brings them
(`evaluation.registry.registered`), and then it is external no more.
"""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobs.mlflow_names import DIGEST_CHARACTERS, METRICS_AT_ONCE, dataset_name, model_name, tags, valid_name
from lineage.store import Artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

DIGEST = "temper.checkpoint_digest"
_EXTERNAL = "mlflow.model.isExternal"  # mlflow.utils.mlflow_tags.MLFLOW_MODEL_IS_EXTERNAL


def logged_model(client: "MlflowClient", experiment: str, checkpoint: Artifact) -> "LoggedModel":
    """The LoggedModel of this checkpoint in the experiment; made now, without files, if there is none."""
    from mlflow.entities import LoggedModelStatus

    known = client.search_logged_models([experiment], f"tags.`{DIGEST}` = '{checkpoint.digest}'")
    if known:
        return known[0]
    facts = {DIGEST: checkpoint.digest, "temper.fingerprint": checkpoint.fingerprint, _EXTERNAL: "true"}
    facts["temper.folder"] = str(checkpoint.path)
    name = model_name(f"{checkpoint.recipe}-{checkpoint.node}")
    model = client.create_logged_model(experiment, name=name, tags=tags(facts), model_type="checkpoint")
    return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def has_files(model: "LoggedModel") -> bool:
    """Whether MLflow has the checkpoint's files, every one."""
    return _EXTERNAL not in model.tags


def files_arrived(client: "MlflowClient", model: "LoggedModel") -> None:
    """Say that every file of the checkpoint is there."""
    if not has_files(model):
        client.delete_logged_model_tag(model.model_id, _EXTERNAL)


def log_scores(
    client: "MlflowClient", run_id: str, model: "LoggedModel", scores: Mapping[str, float], data: Mapping[str, str]
) -> None:
    """Scores by `<task>/<metric>` as metrics of the model; those that this run gave it before are left out.

    data: digest of the items by task. So `search_logged_models(…, "metrics.`<task>/<metric>` > 0.5")` finds
    checkpoints by their scores. A score that is not finite is left out: MLflow keeps it of a run, but of a model
    as 0.
    """
    from mlflow.entities import Metric

    known = {metric.key for metric in model.metrics or [] if metric.run_id == run_id}
    now = int(time.time() * 1000)
    fresh = [
        Metric(key, value, now, 0, model.model_id, dataset_name(task), data[task][:DIGEST_CHARACTERS], run_id)
        for name, value in scores.items()
        if (task := name.partition("/")[0]) in data and (key := valid_name(name)) not in known and math.isfinite(value)
    ]
    for start in range(0, len(fresh), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=fresh[start : start + METRICS_AT_ONCE])
