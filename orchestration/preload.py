"""What every step needs, imported once in the process that steps are forked from.

MLflow takes seconds to import; it starts no threads with telemetry off, so that a fork of it is safe.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import dagster._core.execution.api
import mlflow

import assets.graph
