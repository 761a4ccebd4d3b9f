"""Training: one file per stage, each run in a process of its own.

`python -m training job.json` (`runner`) does one job: `base` makes the base checkpoint, `sft` and `dpo`
train with TRL. Around them: `process` (signals and the process group), `progress` (lines for people and
for Dagster), `tracking` (MLflow), `checkpoints` (resumable ones that can be trusted), `weights` (loading,
merging, saving). Nothing here imports Dagster; heavy libraries are imported inside functions.
"""


class TrainingError(Exception):
    """A job that cannot be done; the message says what, where and what to do."""
