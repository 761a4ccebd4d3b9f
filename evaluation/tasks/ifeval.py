"""IFEval (Zhou et al. 2023, arXiv 2311.07911): does an answer follow instructions that a program can check?

The checkers are lm-eval's, run by `verifiers.instructions` in a process apart. Two metrics: `prompt_strict` (all
instructions of a prompt followed) and `instruction_strict` (each instruction on its own, clustered by prompt). What
makes the checkers silently wrong is settled there, before the model is loaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.sources import fetch
from corpora.verifiers.checked import Unchecked
from corpora.verifiers.instructions import followed, lay_out_punkt, problem_of, use_punkt
from evaluation.health import of_answers
from evaluation.report import Sample
from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks.answers import unchecked
from evaluation.tasks.harness import HarnessTask, harness_version, run_harness
from lineage.errors import CorpusError, EvaluationError
from lineage.hashing import fingerprint, text_digest
from models.answering import LoadedModel, Tick
from recipes.sources import Origin
from recipes.suite import IfevalTask


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
        left = {"process_results": f"{__name__}.{left_to_us.__name__}"}
        task = HarnessTask(self.name, "ifeval/ifeval.yaml", {"train": self.items}, functions=left)
        done = run_harness(model, [task], self.scratch, tick, chat=True, max_new_tokens=self.max_new_tokens)
        asked = done.samples[self.name]
        texts = [one["resps"][0][0] for one in asked]
        found = followed(list(zip(self.items, texts, strict=True)))
        samples: list[Sample] = []
        for item, one, each in zip(self.items, asked, found, strict=True):
            nothing = [False] * len(item["instruction_id_list"])
            samples += _samples(self.name, item, one, nothing if isinstance(each, Unchecked) else each)
        return Outcome(samples, of_answers(done.responses.values()), done.tokens, unchecked(found))


def left_to_us(_doc: Any, _results: Any) -> dict[str, Any]:
    """In the place of lm-eval's scoring, which would run the checkers in this process, without a deadline."""
    return {}


def prepare(name: str, task: IfevalTask, place: Place) -> Ifeval:
    """Read, check and draw the rows, and put punkt_tab where NLTK finds it.

    Raises EvaluationError if a row or a resource is not what the checkers need.
    """
    where = f"evaluation.tasks.{name}"
    punkt_digest = _install_punkt(f"{where}.punkt", task.punkt, place)
    rows = read_rows(f"{where}.data", task.data, place)
    for index, row in enumerate(rows.rows, start=1):
        problem = "'key' is missing" if "key" not in row else problem_of(row)
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
    """Put English punkt_tab where NLTK finds it, and return its digest."""
    fetched = fetch(origin, place.folder, place.cache)
    root = place.scratch / "nltk"
    try:
        lay_out_punkt(where, origin.uri, fetched.files, root)
        use_punkt(where, root)
    except CorpusError as error:
        raise EvaluationError(str(error)) from None
    return fetched.digest


def _samples(name: str, item: dict[str, Any], asked: dict[str, Any], each: list[bool]) -> list[Sample]:
    """One prompt's sample, and one of each of its instructions."""
    digest = fingerprint(item)
    prompt, response = asked["arguments"][0][0], asked["resps"][0][0]
    shared: dict[str, Any] = {
        "task": name,
        "doc_id": int(asked["doc_id"]),
        "prompt_hash": text_digest(prompt),
        "cluster": digest,
        "higher_is_better": True,
    }
    whole: Any = {
        **shared,
        "metric": "prompt_strict",
        "doc_hash": digest,
        "score": float(all(each)),
        "prompt": item["prompt"],
        "response": response,
        "target": ", ".join(item["instruction_id_list"]),
    }
    parts: list[Any] = [
        {
            **shared,
            "metric": "instruction_strict",
            "doc_hash": fingerprint([digest, index, instruction]),
            "score": float(is_followed),
            "subgroup": instruction.partition(":")[0],
        }
        for index, (instruction, is_followed) in enumerate(zip(item["instruction_id_list"], each, strict=True))
    ]
    return [whole, *parts]
