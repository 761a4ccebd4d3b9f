"""A process of its own for each training and each evaluation.

`job` is what such a process reads, and `runner` does it, from that file to a sealed artefact. `process` and `group`
say when it ends and who of several processes leads, `launching` starts more of them, `progress` and `run_log` say how
far it is, and `mlflow_*` and `logged_models` where MLflow keeps that. No Dagster here, and no torch when it is
imported.
"""
