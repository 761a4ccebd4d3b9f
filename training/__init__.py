"""Training: one file per stage, each run in a process of its own.

`python -m training job.json` (`runner`) does one job: `base` makes the base checkpoint of a released model,
`scratch` that of a recipe's own (`vocabulary` trains its tokenizer); `pretrain`, `sft`, `reward`, `dpo`, `kto`
and `orpo` train with TRL. Around them: `rows` (what a stage trains on, and in which order), `loop` (the trainer's
settings, its live watch, resuming), `checkpoints` (resumable ones that can be trusted), `weights` (loading,
merging, saving, proving), `process`, `progress` and `tracking`; what is special to some stages: `packed`,
`scoring`, `preferred`, `pair_losses`, `odds`. Nothing here imports Dagster, and heavy libraries are imported
inside functions wherever the graph imports a module.
"""
