"""From a YAML file to a `Recipe`, or to errors that name file, field and mend.

YAML is read by `yaml.SafeLoader` with one addition: a key written twice is refused,
because YAML would silently keep the second.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recipes.errors import RecipeError
from recipes.frozen import SuiteFile, suite_path, with_tasks_of
from recipes.schema import Recipe
from recipes.section import Section, meant

SHIPPED = Path(__file__).parent


class UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a mapping with the same key twice."""


def _mapping(loader: UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            raise yaml.constructor.ConstructorError(None, None, "a key is one value, no list", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is written twice", key_node.start_mark)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _placed(construct: Any) -> Any:
    """A constructor whose ValueErrors, of numbers and dates that Python does not take, say where they are."""

    def constructed(loader: UniqueKeys, node: yaml.ScalarNode) -> Any:
        try:
            return construct(loader, node)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, f"{node.value}: {error}", node.start_mark) from None

    return constructed


UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
for _kind in ("int", "float", "timestamp"):
    _construct = getattr(yaml.SafeLoader, f"construct_yaml_{_kind}")
    UniqueKeys.add_constructor(f"tag:yaml.org,2002:{_kind}", _placed(_construct))


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
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{path}: lists or mappings inside one another beyond what can be read") from None


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
        raise RecipeError("\n".join(_explain(str(path), problem, SuiteFile) for problem in error.errors())) from None
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


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe's file: an editor completes and checks by it.

    A file has no `name`, and names its suite, whose tasks are then enough.
    """
    schema = Recipe.model_json_schema()
    del schema["properties"]["name"]
    schema["required"].remove("name")
    evaluation = schema["$defs"]["Evaluation"]
    evaluation["properties"]["suite"] = {
        "description": "name of a shipped suite, or path of your own",
        "type": "string",
    }
    evaluation["required"].remove("tasks")
    del schema["$defs"]["FrozenSuite"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _explain(where: str, problem: Any, model: type[Section] = Recipe) -> str:
    """One pydantic error as `where: field: what is wrong (mend)`."""
    path, section = _place(problem["loc"], model.model_json_schema())
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key" + meant(path[-1], section.get("properties", {}))
    elif problem["type"] == "union_tag_invalid":
        given, known = problem["ctx"]["tag"], re.findall(r"'([^']*)'", problem["ctx"]["expected_tags"])
        path, message = [*path, "kind"], f"'{given}' is none of {', '.join(known)}{meant(given, known)}"
    elif problem["type"] != "value_error" and problem["type"] != "missing":
        message += f", found {problem['input']!r}"
    return f"{where}: {'.'.join(path)}: {message}" if path else f"{where}: {message}"


def _place(loc: tuple[Any, ...], schema: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """A mistake's path as it is in the file, and the schema of the section that its last part stands in.

    Where a section is of one of several kinds, pydantic puts the kind's tag into `loc`: its `kind`, else its class.
    """
    path: list[str] = []
    section = inside = schema
    for part in loc:
        inside = next((option for option in inside.get("anyOf", []) if option != {"type": "null"}), inside)
        inside = schema["$defs"][inside["$ref"].rpartition("/")[2]] if "$ref" in inside else inside
        if "oneOf" in inside:
            inside = {"$ref": inside.get("discriminator", {}).get("mapping", {}).get(part, part)}
            continue
        path.append(str(part))
        section, entries = inside, inside.get("patternProperties", {}).values()
        inside = inside.get("properties", {}).get(part) or inside.get("items") or next(iter(entries), {})
    return path, section
