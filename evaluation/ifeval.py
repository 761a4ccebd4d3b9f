"""IFEval (Zhou et al. 2023, arXiv 2311.07911): does an answer follow instructions that a program can check?

The checkers are lm-eval's. Two metrics: `prompt_strict` (all instructions of a prompt followed) and
`instruction_strict` (each instruction on its own, clustered by prompt). Three things make them silently
wrong and are settled before the model is loaded: rows without the arguments of a checker (it would draw
them at random), language detection without a seed, and a missing NLTK punkt_tab (found only when scoring).
"""

import inspect
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.sources import fetch
from evaluation.generation import LoadedModel
from evaluation.harness import HarnessTask, harness_version, run_harness
from evaluation.report import EvaluationError, Sample
from evaluation.task import Outcome, Place, Tick, draw, read_rows
from lineage.hashing import fingerprint, text_digest
from recipes.origins import Origin
from recipes.suite import IfevalTask

_PUNKT = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")


@dataclass(frozen=True)
class Ifeval:
    """Drawn prompts, checked."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    max_new_tokens: int
    scratch: Path
    unit: str = "prompts"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        _seed_language_detection()
        task = HarnessTask(self.name, "ifeval/ifeval.yaml", {"train": self.items})
        done = run_harness(model, [task], self.scratch, tick, chat=True, max_new_tokens=self.max_new_tokens)
        samples: list[Sample] = []
        for item, scored in zip(self.items, done.samples[self.name], strict=True):
            samples += _samples(self.name, item, scored)
        responses = done.responses.values()
        health = {
            "nonfinite": sum(not response.finite for response in responses),
            "empty": sum(not response.text for response in responses),
            "cut": sum(response.cut for response in responses),
        }
        return Outcome(samples, health, done.tokens)


def prepare(name: str, task: IfevalTask, place: Place) -> Ifeval:
    """Read, check and draw the rows, and put punkt_tab where NLTK finds it.

    Raises EvaluationError if a row or a resource is not what the checkers need.
    """
    where = f"evaluation.tasks.{name}"
    punkt_digest = _install_punkt(f"{where}.punkt", task.punkt, place)
    rows = read_rows(f"{where}.data", task.data, place)
    for index, row in enumerate(rows.rows, start=1):
        problem = _problem(row)
        if problem:
            raise EvaluationError(f"{where}.data: row {index}: {problem}")
    items = draw(where, rows.rows, task.limit, task.sample_seed)
    facts = {
        "data_digest": rows.digest,
        "punkt_digest": punkt_digest,
        "duplicates": rows.duplicates,
        "harness": harness_version(),
        "language_detection_seed": 0,
        "prompts": "chat template, greedy answer",
    }
    return Ifeval(name, items, facts, task.max_new_tokens, place.scratch)


def _install_punkt(where: str, origin: Origin, place: Place) -> str:
    """Unpack English punkt_tab into a data folder of NLTK, use it once, and return its digest."""
    fetched = fetch(origin, place.folder, place.cache)
    files = {Path(file.name).name: file.path for file in fetched.files}
    missing = [name for name in _PUNKT if name not in files]
    if missing:
        raise EvaluationError(f"{where}: {origin.uri} lacks {missing}; name the files of punkt_tab/english")
    root = place.scratch / "nltk"
    english = root / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True, exist_ok=True)
    for name in _PUNKT:
        shutil.copyfile(files[name], english / name)
    os.environ["NLTK_DATA"] = str(root)
    import nltk

    nltk.data.path.insert(0, str(root))
    try:
        sentences = nltk.tokenize.PunktTokenizer("english").tokenize("This is one. Here is another.")
    except (LookupError, ValueError, IndexError) as error:
        raise EvaluationError(f"{where}: NLTK cannot read it: {type(error).__name__}") from None
    if len(sentences) != 2:
        raise EvaluationError(f"{where}: not the English punkt_tab: it splits two sentences into {len(sentences)}")
    return fetched.digest


def _seed_language_detection() -> None:
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0


def _problem(row: Mapping[str, Any]) -> str | None:
    """Why the checkers cannot be trusted with this row."""
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        return "'prompt' is missing or empty"
    if "key" not in row or not isinstance(names, list) or not names:
        return "'key' or 'instruction_id_list' is missing"
    if not isinstance(arguments, list) or len(arguments) != len(names):
        return "'kwargs' must hold one object per instruction"
    for name, given in zip(names, arguments, strict=True):
        if name not in INSTRUCTION_DICT:
            return f"instruction '{name}' is not known to {harness_version()}"
        needed = set(inspect.signature(INSTRUCTION_DICT[name].build_description).parameters) - {"self", "kwargs"}
        lacking = sorted(argument for argument in needed if not given.get(argument))
        if lacking:
            return f"instruction '{name}' needs {lacking}, otherwise its checker draws them at random"
    return None


def _samples(name: str, item: dict[str, Any], scored: dict[str, Any]) -> list[Sample]:
    """One prompt's sample, and one of each of its instructions."""
    digest = fingerprint(item)
    prompt, response = scored["arguments"][0][0], scored["resps"][0][0]
    shared: dict[str, Any] = {
        "task": name,
        "doc_id": int(scored["doc_id"]),
        "prompt_hash": text_digest(prompt),
        "cluster": digest,
        "higher_is_better": True,
    }
    whole: Any = {
        **shared,
        "metric": "prompt_strict",
        "doc_hash": digest,
        "score": float(scored["prompt_level_strict_acc"]),
        "prompt": item["prompt"],
        "response": response,
        "target": ", ".join(item["instruction_id_list"]),
    }
    parts: list[Any] = [
        {
            **shared,
            "metric": "instruction_strict",
            "doc_hash": fingerprint([digest, index, instruction]),
            "score": float(followed),
            "subgroup": instruction.partition(":")[0],
        }
        for index, (instruction, followed) in enumerate(
            zip(item["instruction_id_list"], scored["inst_level_strict_acc"], strict=True)
        )
    ]
    return [whole, *parts]
