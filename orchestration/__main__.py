"""`python -m orchestration run RECIPE` and `python -m orchestration dev`."""

import argparse
import sys
import uuid
from typing import Any

import yaml

from orchestration.forking import start_fork_server
from orchestration.home import log_of, prepare_home, work_for
from recipes.errors import RecipeError, TemperError
from recipes.load import find_recipe, load_recipe
from recipes.power import refusals


def main() -> int:
    """Exit codes: 0 done, 1 something failed, 2 a mistake in what was asked, 130 interrupted."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.command(arguments))
    except TemperError as error:
        print(error, file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    path, overrides = find_recipe(arguments.recipe), _overrides(arguments.set)
    for problem in refusals(load_recipe(path)):
        print(f"{path}: {problem}", file=sys.stderr)
    home, run_id = prepare_home(), str(uuid.uuid4())
    work_for(run_id)
    start_fork_server(path, log_of(home, run_id))

    from lineage.store import Store
    from orchestration.instance import open_instance
    from orchestration.run import run
    from orchestration.summary import Summary

    finished = run(
        path,
        run_id,
        force=arguments.force,
        select=arguments.select,
        overrides=overrides,
    )
    if finished.interrupted:
        print("Interrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    for node, message in finished.failures.items():
        print(f"{node}: {message}", file=sys.stderr)
    if not finished.success:
        print(f"What the processes wrote: {finished.log}", file=sys.stderr)
        return 1
    with open_instance(home) as instance:
        Summary(instance, Store(home), finished.pipeline, finished.run_id).show()
    return 0


def _dev(arguments: argparse.Namespace) -> int:
    from orchestration.dev import dev

    return dev(arguments.dagster_port, arguments.mlflow_port)


def _overrides(settings: list[str]) -> dict[str, dict[str, Any]]:
    """`dpo.beta=0.2` as {"dpo": {"beta": 0.2}}; values are read as YAML. Raises RecipeError."""
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        stage, *fields = name.split(".")
        if not equals or not fields:
            raise RecipeError(f"--set {setting}: expected STAGE.FIELD=VALUE, as in dpo.beta=0.2")
        section = found.setdefault(stage, {})
        for field in fields[:-1]:
            section = section.setdefault(field, {})
        section[fields[-1]] = yaml.safe_load(value)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestration", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="materialize a recipe's graph, reusing what has not changed")
    run.add_argument("recipe", help="name of a shipped recipe, or path of a recipe file")
    run.add_argument("--force", action="store_true", help="make everything selected again; what is registered stays")
    run.add_argument("--select", nargs="+", default=[], metavar="NODE", help="only these nodes; 'dpo+': and downstream")
    run.add_argument(
        "--set", nargs="+", default=[], metavar="STAGE.FIELD=VALUE", help="launch overrides, as dpo.beta=0.2"
    )
    run.set_defaults(command=_run)
    dev = commands.add_parser("dev", help="Dagster UI with pages, and MLflow UI, on loopback, until Ctrl-C")
    dev.add_argument("--dagster-port", type=int, default=3000)
    dev.add_argument("--mlflow-port", type=int, default=5000)
    dev.set_defaults(command=_dev)
    return parser


if __name__ == "__main__":
    sys.exit(main())
