"""A recipe for a person's own files: stages by what the rows are, sizes by the device, an honest evaluation.

Honest means: some rows are copied into a file of their own, the recipe's evaluation asks for them, and so no row that
is a copy of one is trained on (`corpora.contamination`). Beside it MMLU, as `recipes/demo.yaml` asks it, guards what
the model knew before. The recipe is written only if it is valid and its guard can be passed.
"""

import glob
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from corpora.cleaning.content import words
from corpora.commands.inspection import inspect, inspected_source, settings_of
from corpora.formats.items import Conversation, Document, Item, Preference, Ranking
from lineage.errors import CorpusError
from lineage.store import home_folder
from recipes.errors import RecipeError
from recipes.load import SHIPPED, read_yaml, validate
from recipes.power import refusals
from recipes.sources import Source

_LOOKED_AT = 5000
"""Rows of each source that are looked at, and that rows are held out from."""

_HELD_OUT, _SHARE, _FEWEST_WORDS = 200, 10, 20
"""At most so many texts and one row of ten; fewer words may stand in another row by chance."""

_SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"dtype": "float32", "precision": "fp32", "length": 512, "tokens": 20000, "rows": 16, "pass": 4},
    "gpu": {"dtype": "bfloat16", "precision": "bf16", "length": 2048, "tokens": 5000000, "rows": 64, "pass": 8},
}
"""A small model on two cores learns from 20,000 tokens in some minutes."""

_RATES = {"cpu": 5e-4, "gpu": 2e-4}
"""Peak learning rates of adapters: few steps on a processor, many on a GPU."""

_GROUPS = {
    **{"document": "texts", "conversation": "talk", "unpaired": "labelled"},
    **{"preference": "pairs", "ranking": "pairs"},
}
"""The group of a source by what its rows are."""


@dataclass(frozen=True)
class _Looked:
    """A source of the recipe: its name, its URI and its settings as the recipe has them, what its rows are."""

    name: str
    uri: str
    settings: dict[str, Any]
    kind: str
    said: str
    items: list[Item]

    @property
    def group(self) -> str:
        return _GROUPS[self.kind]


def recipe_file(name: str) -> Path:
    """The file of a new recipe. Raises RecipeError for a name that no recipe can have, and for one that is taken."""
    path = Path(name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,62}", path.stem):
        raise RecipeError(
            f"{path.stem}: a recipe's name has up to 63 small letters, digits, '_', '-' and '.', a letter first"
        )
    for taken in (path, _held_out_file(path)):
        if taken.exists():
            raise RecipeError(f"{taken}: is there already; nothing is overwritten, so give another name")
    return path


def write_recipe(
    path: Path, files: list[str], model: str, device: str, licence: str, settings: Sequence[str] = ()
) -> list[str]:
    """Write `path` and what is held out; returns what to tell of it. settings: of every source, as NAME=VALUE. Raises
    RecipeError, CorpusError."""
    if problem := device_problem(device):
        raise RecipeError(problem)
    if not files or not all(files):
        raise RecipeError("name at least one file of rows, and no empty name")
    sources: list[_Looked] = []
    for file in files:
        taken = {source.name for source in sources}
        given = [part for one in settings for part in ("--set", one)]
        sources.append(_look(file, path.parent, taken, settings_of(settings), given))
    held_out = _held_out(sources)
    text = _text(path, sources, _model(model, path.parent, device), device, licence)
    name = path.stem.replace("-", "_").replace(".", "_")
    recipe = validate({"name": name, **yaml.safe_load(text)}, str(path))
    if problems := refusals(recipe):
        raise RecipeError("\n".join(f"{path}: {problem}" for problem in problems))
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(json.dumps({"text": held}, ensure_ascii=False) + "\n" for held in held_out)
    for target, content in ((_held_out_file(path), rows), (path, text)):
        try:
            with target.open("x", encoding="utf-8") as opened:
                opened.write(content)
        except FileExistsError:
            raise RecipeError(f"{target}: is there by now; nothing is overwritten, so give another name") from None
    few = "" if len(held_out) >= 50 else "; so few tell little, so bring more rows or an evaluation of your own"
    return [
        *(f"{source.uri}: {source.said}" for source in sources),
        f"{_held_out_file(path)}: {len(held_out)} rows to be evaluated on, and never trained on{few}",
        f"{path}: stages {', '.join(recipe.stages)}",
        f"Go on with: {shlex.join(['temper', 'preview', str(path)])}; {shlex.join(['temper', 'run', str(path)])}",
    ]


def _held_out_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}_held_out.jsonl")


def _look(file: str, folder: Path, taken: set[str], settings: dict[str, Any], given: list[str]) -> _Looked:
    """settings: of the source, as they were `given` to the command."""
    found = inspect(inspected_source(file, settings), home_folder() / "cache", _LOOKED_AT, keep=_LOOKED_AT)
    if found.kind is None:
        raise CorpusError(f"{found.evidence}. What a source says is given by --set, as in --set rows=data")
    bad = found.read - found.good
    most = settings.get("max_quarantined", Source.model_fields["max_quarantined"].default)
    if bad > most * found.read:
        raise CorpusError(
            f"{file}: {bad:,} of {found.read:,} rows cannot be used as {found.format}; "
            f"{shlex.join(['temper', 'inspect', file, *given])} says why, and what a source may say of them is given "
            "by --set, as in --set turns.last_user=drop. Rows of several formats are several files"
        )
    stem = re.sub(r"[^a-z0-9]+", "_", Path(file.partition("?")[0]).stem.lower()).strip("_")[:50] or "rows"
    name = stem if stem[0].isalpha() else f"rows_{stem}"
    while name in taken:
        name += "_too"
    said = f"{found.format}, {found.good:,} rows" + ("" if found.whole else " (the first ones)")
    said += f", {bad:,} more cannot be used" if bad else ""
    said += f"; not read: {', '.join(found.unread)}" if found.unread else ""
    return _Looked(name, _uri(file, folder), settings, found.kind, said, found.first)


def _uri(place: str, folder: Path) -> str:
    """A place as the recipe in `folder` has it: a path relative to it."""
    return place if "://" in place else os.path.relpath(os.path.realpath(place), folder.resolve())


def _held_out(sources: list[_Looked]) -> list[str]:
    """Texts of examples, or else of preferred answers, evenly from all rows. Raises CorpusError if there are none."""
    examples = [source for source in sources if source.kind in ("conversation", "document")] or sources
    texts = dict.fromkeys(_said(item) for source in examples for item in source.items)
    fit = [text for text in texts if len(text.split()) >= _FEWEST_WORDS]
    count = min(_HELD_OUT, len(texts) // _SHARE, len(fit))
    if not count:
        raise CorpusError(
            f"nothing can be held out for the evaluation: {len(texts)} different rows, {len(fit)} of them of "
            f"{_FEWEST_WORDS} words or more; bring more rows, or copy a shipped recipe and its evaluation"
        )
    return [fit[place * len(fit) // count] for place in range(count)]


def _said(item: Item) -> str:
    """The words of an example; of a preference the prompt and the better answer, none of an answer that is bad."""
    if isinstance(item, Conversation | Document):
        return words(item, "row")
    if isinstance(item, Ranking):
        answer = item.answers[0]["messages"]
    elif isinstance(item, Preference):
        answer = item.chosen
    else:
        answer = item.completion if item.label else []
    return "\n".join(message["content"] for message in [*item.prompt, *answer]) if answer else ""


def _model(model: str, folder: Path, device: str) -> dict[str, str]:
    """The section of the base model."""
    dtype = {"dtype": _SIZES[device]["dtype"]}
    if model == "smollm2":
        return {**read_yaml(SHIPPED / "demo.yaml")["model"], **dtype}
    if problem := model_problem(model):
        raise RecipeError(problem)
    return {"uri": _uri(model, folder), "licence": "not stated", **dtype}


def device_problem(device: str) -> str | None:
    return None if device in _SIZES else f"device '{device}': expected {' or '.join(_SIZES)}"


def files_problem(files: str) -> str | None:
    """Why these names, with blanks between, are not those of files of rows."""
    try:
        named = shlex.split(files)
    except ValueError as error:
        return f"{files}: {error}"
    lacking = [name for name in named if "://" not in name and not Path(name).exists() and not glob.glob(name)]
    return f"{lacking[0]}: no such file" if lacking else None


def model_problem(model: str) -> str | None:
    """Why this is no base model, as far as one sees from here."""
    if model == "smollm2" or (model.startswith("hf://") and re.match(r"hf://[^/?]+/[^/?]+", model)):
        return None
    if "://" in model and not model.startswith("hf://"):
        return None  # a release file or an object store: the recipe's own checks
    if model.startswith("hf://"):
        return f"model '{model}': a model of the hub is hf://ORG/NAME"
    if not Path(model).is_dir():
        return f"model '{model}': no such folder; else hf://ORG/NAME, or smollm2"
    if not any(any(Path(model).glob(f"*.{kind}")) for kind in ("safetensors", "gguf")):
        return f"model '{model}': the folder has no weights, *.safetensors or *.gguf"
    return None


def _text(path: Path, sources: list[_Looked], model: dict[str, str], device: str, licence: str) -> str:
    """The recipe with its comments."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - no HTML; every text is quoted
        loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["q"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template("recipe.yaml.jinja").render(
        schema=os.path.relpath(SHIPPED / "recipe.schema.json", path.parent.resolve()),
        model=model,
        sources=sources,
        groups={source.group for source in sources},
        size=_SIZES[device],
        stages=_stages({source.group for source in sources}, _RATES[device]),
        licence=licence,
        held_out=_held_out_file(path).name,
        mmlu=read_yaml(SHIPPED / "demo.yaml")["evaluation"]["tasks"]["mmlu"]["data"],
        registered=f"temper-{path.stem}",
    )


def _stages(groups: set[str], rate: float) -> list[tuple[str, str, str, float]]:
    """Kind, start, data and learning rate of each stage: documents are pretrained on, conversations learnt, then what
    is preferred; without examples preferred answers are learnt together with the preference (ORPO)."""
    kinds = {
        "texts": ("pretrain", "mixture: reading", rate),
        "talk": ("sft", "mixture: chat", rate),
        "pairs": ("dpo", "preferences: pairs", rate / 10),
        "labelled": ("kto", "preferences: labelled", rate / 10),
    }
    if not groups & {"texts", "talk"}:
        kinds["pairs"] = ("orpo", "preferences: pairs", rate / 2)
    chosen = [stage for group, stage in kinds.items() if group in groups]
    starts = ["base", *(kind for kind, _, _ in chosen)]
    return [(kind, start, data, rate) for start, (kind, data, rate) in zip(starts, chosen, strict=False)]
