"""The code location: what `dagster dev`, the daemon and every process of a run load.

A recipe that is not valid stops the loading with its file and field: a graph that silently disappears
would be worse. Importing this module loads no torch, transformers, datasets or mlflow, because the code
server and each run worker pay for it again.
"""

from lineage.store import home_folder
from orchestration.wiring import build, load_pipelines, recipe_files

defs = build(load_pipelines(recipe_files()), home_folder())
