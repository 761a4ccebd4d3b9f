"""`python -m recipes check [FILE…]`: is a recipe valid, and what does it declare?"""

import argparse
import sys
from pathlib import Path

from recipes.load import SHIPPED, RecipeError, load_recipe


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
        else:
            print(f"{path}: ok: {len(recipe.sources)} sources, stages {', '.join(recipe.stages)}")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
