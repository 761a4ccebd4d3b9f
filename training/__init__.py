"""Training: one file a kind of stage, each job in a process of its own.

`python -m training job.json` (`runner`) does one job of `stages`: `base` makes the base checkpoint of a released
model, `scratch` that of a recipe's own (`vocabulary` trains its tokenizer), and the others train with TRL in one
`frame`. What they are made of: `rows` and `rollouts` (what each step takes), `losses` (trainers and heads on rows that
are token ids already), `loop` (settings, steps, checkpoints, memory, measures), `invariants` (what must hold before
the first step and of what was saved), `rewards`, and `weights` (loading, merging, saving, proving). Nothing here
imports Dagster, and heavy libraries are imported inside functions wherever the graph imports a module.
"""
