"""The base checkpoint: a released model as plain safetensors in one type, with its tokenizer and chat template.

From a GGUF file (dequantised) or from a folder in hub layout. Only safetensors, JSON and jinja are read:
pickled weights can run code when they are loaded, and a model that brings its own code is refused. What
comes out is what every later stage starts from, so what they rely on is checked here once: a template, a
token that ends a turn and stops generation, finite weights.
"""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

from corpora.sources import fetch_model
from corpora.sources.raw import RawFile
from jobs.job import Job
from jobs.progress import Progress
from jobs.run_log import RunLog
from lineage.checks import Check, check
from lineage.errors import Interrupted, TrainingError
from models import dated, load
from models.template import ChatTemplate
from recipes.sources import Model

VERSION = 2
CHECKS = {
    "end_of_turn_stops": "generation stops at the token that ends an assistant turn",
    "weights_finite": "no weight is NaN or infinite",
}

_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")
_PARTS = 4


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Make the base checkpoint of `job.config["model"]` in `work`; returns the record's metrics.

    Raises TrainingError or CorpusError, and Interrupted when `stop` was set.
    """
    model_section = Model.model_validate(job.config["model"])
    folder, cache = Path(job.config["folder"]), Path(job.config["cache"])
    progress = _Parts(job.ref, stop)
    fetched = fetch_model(model_section, folder, cache)
    log.dataset("model", fetched.digest, fetched.files[0].path, 0, "base model")
    progress.done("fetched")
    release = _laid_out(fetched.files, work / "release")
    model, tokenizer = _load(release, model_section)
    progress.done("loaded")
    if model_section.chat_template:
        tokenizer.chat_template = read_template(folder / model_section.chat_template, "model.chat_template")
    if model_section.date is not None:
        tokenizer.init_kwargs[dated.KEY] = str(model_section.date)
    tokenizer.save_pretrained(work)
    if model_section.chat_template:
        _stop_at_end_of_turn(model, work)
    model.save_pretrained(work)
    shutil.rmtree(release)
    progress.done("saved")
    checks = sound(model, work)
    progress.done("checked")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": model_section.dtype,
        "positions": model.config.max_position_embeddings,
        "checks": checks,
    }


class _Parts:
    """Progress in named parts, each a chance to stop."""

    def __init__(self, label: str, stop: threading.Event) -> None:
        self._progress, self._stop, self._count = Progress(label, _PARTS, "parts"), stop, 0

    def done(self, _part: str) -> None:
        self._count += 1
        self._progress.update(self._count)
        if self._stop.is_set():
            raise Interrupted("stopped; the same job starts the conversion again")


def _laid_out(files: list[RawFile], folder: Path) -> Path:
    """One folder with a link to every file, since a release may lie spread over a cache. Refuses what is not data."""
    for file in files:
        if file.path.suffix in _PICKLED:
            raise TrainingError(f"{file.name}: pickled weights can run code; use a release with safetensors")
        if file.path.suffix == ".py":
            raise TrainingError(f"{file.name}: the model brings its own code, which is never run")
        if file.path.suffix == ".json" and "auto_map" in _json(file):
            raise TrainingError(f"{file.name}: auto_map asks for the model's own code, which is never run")
        link = folder / Path(file.name).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.path.resolve())
    return folder


def _json(file: RawFile) -> dict[str, Any]:
    try:
        content = json.loads(file.path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{file.name}: not JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def _load(release: Path, model: Model) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    dtype = getattr(torch, model.dtype)
    gguf = sorted(release.glob("*.gguf"))
    try:
        if not gguf:
            return load.weights(release, dtype), AutoTokenizer.from_pretrained(release, **load.SAFE)
        if len(gguf) > 1:
            raise TrainingError(f"{model.uri}: names {len(gguf)} GGUF files, one is needed: {[g.name for g in gguf]}")
        plain = GgufConfig(dequantize=True)  # without it the model stays marked quantised and cannot be saved
        loaded = AutoModelForCausalLM.from_pretrained(
            release, gguf_file=gguf[0].name, quantization_config=plain, dtype=dtype, **load.SAFE
        )
        return loaded, AutoTokenizer.from_pretrained(release, gguf_file=gguf[0].name, **load.SAFE)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{model.uri}: cannot be loaded: {str(error).splitlines()[0]}") from error


def read_template(path: Path, field: str) -> str:
    """The chat template that the recipe's `field` names. Raises TrainingError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{field}: {path}: {error.strerror}") from None


def _stop_at_end_of_turn(model: Any, work: Path) -> None:
    """Add the end of the template's turns to the tokens at which generation stops: a bare model has no turns.

    Raises CorpusError if no special token of the model's ends them.
    """
    stops = model.generation_config.eos_token_id
    known = stops if isinstance(stops, list) else [] if stops is None else [stops]
    if (end := ChatTemplate.load(work).end_of_turn_id) not in known:
        model.generation_config.eos_token_id = [*known, end]


def sound(model: Any, work: Path) -> dict[str, Check]:
    """What every base checkpoint must hold, as checks. Raises CorpusError if it has no template or no end of turn."""
    import torch

    template = ChatTemplate.load(work)
    stops = model.generation_config.eos_token_id
    stops = set(stops) if isinstance(stops, list) else {stops}
    finite = all(bool(torch.isfinite(p).all()) for p in model.parameters())
    return {
        "end_of_turn_stops": check(
            template.end_of_turn_id in stops,
            template.end_of_turn,
            "the token that ends an assistant turn is one at which generation stops",
        ),
        "weights_finite": check(finite, str(finite).lower(), "no weight is NaN or infinite"),
    }
