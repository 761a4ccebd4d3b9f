"""What a code location costs to load: the code server, each run worker and each step pay for it again."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_HEAVY = (
    *("torch", "transformers", "datasets", "trl", "peft", "lm_eval", "mlflow", "reasoning_gym", "pyarrow", "scipy"),
    *("numba", "datatrove"),
)
_CODE_LOCATION = f"import sys, orchestration.definitions; print(*sorted(set(sys.modules) & {set(_HEAVY)!r}))"


def test_the_code_location_loads_nothing_heavy() -> None:
    assert _python(_CODE_LOCATION).split() == []


def test_the_recipe_schema_loads_no_dagster_either() -> None:
    code = f"import sys, recipes.load; print(*sorted(set(sys.modules) & { ({*_HEAVY, 'dagster'})!r}))"
    assert _python(code).split() == []


def test_the_graph_of_a_recipe_is_data_without_dagster() -> None:
    code = """
import sys
from assets.nodes import nodes
from assets.pipeline import Pipeline
from recipes.load import SHIPPED
for path in sorted(SHIPPED.glob("*.yaml")):
    graph = nodes(Pipeline.load(path))
    names = {node.name for node in graph}
    assert len(names) == len(graph), path
    assert all(name in names for node in graph for name in node.upstream), path
print("dagster" in sys.modules)
"""
    assert _python(code) == "False\n"


def test_the_code_location_loads_about_as_fast_as_what_it_is_made_of() -> None:
    timed = "import time; began = time.process_time(); {}; print(time.process_time() - began)"
    ours, libraries = ("import orchestration.definitions", "import dagster, mlflow")
    fastest = {code: min(float(_python(timed.format(code))) for _ in range(3)) for code in (ours, libraries)}
    assert fastest[ours] <= 1.5 * fastest[libraries]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    return done.stdout
