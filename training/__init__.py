"""Training: one file per stage, each run in a process of its own.

`python -m training job.json` (`runner`) does one job: `base` makes the base checkpoint, `sft` and `dpo`
train with TRL. Around them: `rows` (what a stage trains on, and in which order), `loop` (the trainer's
settings, its live watch, resuming), `checkpoints` (resumable ones that can be trusted), `weights` (loading,
merging, saving, proving), `process`, `progress` and `tracking`. Nothing here imports Dagster, and heavy
libraries are imported inside functions wherever the graph imports a module.
"""


class TrainingError(Exception):
    """A job that cannot be done; the message says what, where and what to do."""


class Interrupted(Exception):
    """The job was told to stop and did; running it again goes on where it stopped."""
