"""`python -m corpora inspect FILE_OR_URI` and `python -m corpora preview RECIPE`: look at text before it is used."""

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

from lineage.errors import CorpusError, StoreError
from lineage.store import Store, home_folder
from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe
from recipes.schema import Recipe
from recipes.sources import Format, Source


def main() -> int:
    """Exit codes: 0 done, 2 a mistake in what was asked, 130 interrupted."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    arguments = _parser().parse_args()
    try:
        arguments.command(arguments)
    except (CorpusError, RecipeError, StoreError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _inspect(arguments: argparse.Namespace) -> None:
    from corpora.commands.inspection import inspect
    from corpora.commands.show_inspection import show_inspection
    from corpora.commands.showing import console

    found = inspect(_source(arguments), home_folder() / "cache", arguments.rows)
    show_inspection(found, arguments.hide_text, console())


def _source(arguments: argparse.Namespace) -> Source:
    from pydantic import ValidationError

    given = Path(arguments.place)
    uri = str(given.resolve()) if "://" not in arguments.place else arguments.place
    fields = {"uri": uri, "sha256": arguments.sha256, "format": arguments.format}
    try:
        return Source.model_validate({"group": "inspected", "licence": "not stated", **fields})
    except ValidationError as error:
        first = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise CorpusError(f"{arguments.place}: {first}") from None


def _preview(arguments: argparse.Namespace) -> None:
    from corpora.commands.preview import Place, evaluation_items, preview
    from corpora.commands.show_preview import show_counts, show_rows
    from corpora.commands.showing import console
    from corpora.commands.tokenizer import tokenizer_folder

    path = _recipe_file(arguments.recipe)
    recipe, folder, store = load_recipe(path), path.resolve().parent, Store(home_folder())
    names = _named(recipe, arguments.source, path)
    tokenizer, problem = None, "the model's tokenizer is not here yet: materialise base first"
    try:
        tokenizer = tokenizer_folder(recipe, folder, store)
    except CorpusError as error:
        problem = str(error)
    with evaluation_items(recipe, folder, store) as table:
        place = Place(folder, store.home / "cache", table, tokenizer)
        found = preview(names, recipe, place, arguments.rows, arguments.show)
    shown = console()
    show_counts(recipe, found, shown)
    show_rows(recipe, found, tokenizer, problem, shown)


def _recipe_file(name_or_path: str) -> Path:
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml"):
        return given
    shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
    if name_or_path not in shipped:
        names = ", ".join(sorted(shipped))
        raise RecipeError(f"no recipe is called '{name_or_path}'; shipped are {names}; another by its path (….yaml)")
    return shipped[name_or_path]


def _named(recipe: Recipe, source: str | None, path: Path) -> list[str]:
    if source is not None and source not in recipe.sources:
        raise RecipeError(f"{path}: '{source}' is no source; sources are {', '.join(recipe.sources)}")
    return [source] if source else list(recipe.sources)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m corpora", description=__doc__)
    commands = parser.add_subparsers(required=True)
    inspect = commands.add_parser("inspect", help="what a file, folder, glob or URI is")
    inspect.add_argument("place", metavar="FILE_OR_URI", help="as in a recipe: a path, hf://, pypi://, gym://, s3://")
    inspect.add_argument("--sha256", help="of the release file, for pypi://")
    inspect.add_argument("--format", choices=get_args(Format), default="auto", help="when the rows do not tell")
    inspect.add_argument("--rows", type=_positive, help="look at the first N rows only")
    inspect.add_argument("--hide-text", action="store_true", help="show no row")
    inspect.set_defaults(command=_inspect)
    preview = commands.add_parser("preview", help="what would happen to the sources of a recipe")
    preview.add_argument("recipe", help="path of a recipe file, or name of a shipped recipe")
    preview.add_argument("--source", metavar="NAME", help="one source only")
    preview.add_argument("--rows", type=_positive, default=5000, help="of each source; default 5,000")
    preview.add_argument("--all", action="store_const", const=None, dest="rows", help="all rows of each source")
    preview.add_argument("--show", type=int, default=2, metavar="N", help="rows of each source to show; default 2")
    preview.set_defaults(command=_preview)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
