"""Dagster wiring: definitions, launcher, instance, and the commands `run` and `dev`.

`definitions` is the code location: one graph, job and schedule for each recipe found. `launcher` starts
job processes and ends them. `instance` owns the state folder. The nodes themselves are in `assets`.
"""
