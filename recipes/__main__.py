"""`python -m recipes check [FILE…]`: is a recipe valid, what does it declare, and can its gate ever pass?"""

import argparse
import sys
from pathlib import Path

from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe
from recipes.power import power_of, refusals, sentence


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="validate recipe files (all shipped ones by default)")
    check.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args().files or sorted(SHIPPED.glob("*.yaml"))
    failed = False
    for path in files:
        try:
            recipe = load_recipe(path)
        except RecipeError as error:
            failed = True
            print(error, file=sys.stderr)
            continue
        refused = refusals(recipe)
        failed = failed or bool(refused)
        for problem in refused:
            print(f"{path}: {problem}", file=sys.stderr)
        verdict = "refused" if refused else "ok"
        suite = recipe.evaluation.suite
        frozen = f", suite {suite.name} version {suite.version}" if suite else ""
        print(f"{path}: {verdict}: {len(recipe.sources)} sources, stages {', '.join(recipe.stages)}{frozen}")
        for power in power_of(recipe):
            print(f"  guard {sentence(power, recipe.promotion)}")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
