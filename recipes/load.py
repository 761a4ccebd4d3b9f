"""From a YAML file to a `Recipe`, or to errors that name file, field and mend.

YAML is read by `yaml.SafeLoader` with one addition: a key written twice is refused,
because YAML would silently keep the second.
"""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recipes.errors import RecipeError
from recipes.frozen import SuiteFile, suite_path, with_tasks_of
from recipes.schema import Recipe

SHIPPED = Path(__file__).parent


class UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with the same key twice."""


def _mapping(loader: UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is written twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Any:
    """Parse one YAML file. Raises `RecipeError` with file, line and column."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: a folder; name the recipe files in it") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise RecipeError(f"{path}{where}: {error.problem}") from None


def find_recipe(name_or_path: str) -> Path:
    """A recipe file by path, or a shipped one by name. Raises RecipeError."""
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml"):
        return given
    shipped = sorted(SHIPPED.glob("*.yaml"))
    for path in shipped:
        if name_or_path in (path.stem, path.stem.replace("-", "_").replace(".", "_")):
            return path
    names = ", ".join(path.stem for path in shipped)
    raise RecipeError(f"no recipe is called '{name_or_path}'; shipped are {names}; another one by its path (….yaml)")


def load_recipe(path: Path) -> Recipe:
    """Read and validate one recipe; its name is the file's stem with '-' and '.' as '_'.

    Raises `RecipeError` that lists every bad field, one a line.
    """
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of fields, found {type(raw).__name__}")
    if "name" in raw:
        raise RecipeError(f"{path}: name: leave it out; a recipe is called after its file")
    name = path.stem.replace("-", "_").replace(".", "_")
    evaluation = raw.get("evaluation")
    if isinstance(evaluation, dict) and "suite" in evaluation:
        raw = {**raw, "evaluation": _with_suite(evaluation, path)}
    return validate({"name": name, **raw}, str(path))


def _with_suite(evaluation: dict[str, Any], recipe: Path) -> dict[str, Any]:
    """The evaluation section of a recipe with its suite's tasks. Raises `RecipeError`."""
    named = evaluation["suite"]
    if not isinstance(named, str):
        raise RecipeError(f"{recipe}: evaluation.suite: expected the name or the path of a suite, found {named!r}")
    try:
        path = suite_path(named, recipe.parent)
        return with_tasks_of(SuiteFile.model_validate(read_yaml(path)), path, evaluation, recipe.parent)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(str(path), problem) for problem in error.errors())) from None
    except ValueError as error:
        where = "evaluation." if str(error).startswith("tasks") else "evaluation.suite: "
        raise RecipeError(f"{recipe}: {where}{error}") from None


def validate(fields: dict[str, Any], where: str) -> Recipe:
    """A `Recipe` from its fields. Raises `RecipeError` that lists every bad field, one a line, after `where`."""
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError("\n".join(_explain(where, problem) for problem in error.errors())) from None


def load_recipes(folder: Path = SHIPPED) -> dict[str, tuple[Path, Recipe]]:
    """Every recipe of a folder, by name. Raises `RecipeError` at the first that is not valid."""
    found: dict[str, tuple[Path, Recipe]] = {}
    for path in sorted(folder.glob("*.yaml")):
        recipe = load_recipe(path)
        if recipe.name in found:
            raise RecipeError(f"{path}: a second recipe called '{recipe.name}', after {found[recipe.name][0]}")
        found[recipe.name] = (path, recipe)
    return found


def _explain(where: str, problem: Any) -> str:
    """One pydantic error as `where: field: what is wrong (mend)`."""
    field = ".".join(_location(problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key" + _suggestion(problem["loc"])
    elif problem["type"] != "value_error" and problem["type"] != "missing":
        message += f", found {problem['input']!r}"
    return f"{where}: {field}: {message}" if field else f"{where}: {message}"


def _location(loc: tuple[Any, ...]) -> list[str]:
    """The path as it is in the file: pydantic puts a union's tag after the place of the model, a stage, a task, a
    step, a reward, the target."""
    tagged = {("model",): 1, ("stages", "*"): 2, ("evaluation", "tasks", "*"): 3, ("sources", "*", "steps", "*"): 4}
    tagged |= {("tasks", "*"): 2}  # of a suite's own file
    tagged |= {("stages", "*", "*", "rewards", "*"): 5, ("promotion", "target"): 2}
    tags = [
        depth
        for pattern, depth in tagged.items()
        if len(loc) > depth and all(known in ("*", part) for known, part in zip(pattern, loc, strict=False))
    ]
    return [str(part) for depth, part in enumerate(loc) if depth not in tags]


def _suggestion(loc: tuple[Any, ...]) -> str:
    """`; did you mean 'x'?` from all field names of the schema, if one is close."""
    names = _field_names(Recipe.model_json_schema())
    close = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _field_names(schema: Any) -> set[str]:
    names = set(schema.get("properties", {}))
    for definition in schema.get("$defs", {}).values():
        names |= set(definition.get("properties", {}))
    return names
