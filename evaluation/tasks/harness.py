"""lm-eval's own task code on pinned local rows, with our decoding behind it.

A task of lm-eval is a packaged YAML; ours, written when it runs, includes that file and only points its
data at `local_rows`, so prompts, metrics and versions stay the official ones. The model that lm-eval
sees is an `HFLM` whose two ways of asking (`generate_until`, with the texts that end an answer, and
`_loglikelihood_tokens`) go through `models.answering` and `models.likelihood`. Its caches
are not used: they are keyed by neither model nor data.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from models.answering import LoadedModel, Response, Tick, generate, log_likelihoods

_FEWSHOT_SEED = 1234
"""lm-eval's own default; it matters only to tasks that draw their examples, which ours do not."""


@dataclass(frozen=True)
class HarnessTask:
    """A packaged task, by the path of its YAML inside lm_eval/tasks, on rows by split.

    settings: fields of that YAML with other values. functions: of fields that are functions, by dotted name.
    """

    name: str
    packaged: str
    splits: Mapping[str, Sequence[Mapping[str, Any]]]
    shots: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HarnessResult:
    """lm-eval's samples by task (ascending doc_id), the answers generated, and how many prompts were cut."""

    samples: dict[str, list[dict[str, Any]]]
    responses: dict[str, Response]
    truncated: int
    tokens: int


def harness_version() -> str:
    """`lm_eval <version>`, as reports state it."""
    return f"lm_eval {version('lm_eval')}"


def packaged_tasks() -> Path:
    """The folder of lm-eval's own tasks."""
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("lm_eval is not installed")
    return Path(spec.origin).parent / "tasks"


def run_harness(
    model: LoadedModel,
    tasks: Sequence[HarnessTask],
    scratch: Path,
    tick: Tick,
    *,
    chat: bool,
    max_new_tokens: int | None = None,
) -> HarnessResult:
    """Run packaged tasks on local rows; `scratch` is an empty folder for rows and YAML."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    for one in tasks:
        _write_task(one, scratch)
    adapter, log = _adapter(model, tick, answers=max_new_tokens is not None)
    loaded = TaskManager(include_path=str(scratch), include_defaults=False).load([one.name for one in tasks])
    shots = {one.name: one.shots for one in tasks}
    for name, task in loaded["tasks"].items():
        task.set_config("num_fewshot", shots[name])
        task.set_fewshot_seed(_FEWSHOT_SEED)
        if max_new_tokens is not None:
            task.set_config("generation_kwargs", {"max_gen_toks": max_new_tokens}, update=True)
    answer = lm_eval.evaluate(
        adapter,
        task_dict=loaded,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        log_samples=True,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    samples = {name: sorted(rows, key=lambda row: int(row["doc_id"])) for name, rows in answer["samples"].items()}
    return HarnessResult(samples, log.responses, log.truncated, log.tokens)


def local_rows(files: Mapping[str, str], **_: Any) -> Any:
    """The splits of a task from JSON lines, for lm-eval's `custom_dataset`; nothing is cached.

    (`datasets.load_dataset` keys its cache by path and time, and takes 0.2 s for each subject of MMLU.)
    """
    from datasets import Dataset, DatasetDict

    def rows(path: str) -> list[Any]:
        return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]

    return DatasetDict({split: Dataset.from_list(rows(path)) for split, path in files.items()})


def _write_task(task: HarnessTask, scratch: Path) -> None:
    """Rows and YAML of one task."""
    files = {}
    for split, rows in task.splits.items():
        path = scratch / f"{task.name}.{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files[split] = str(path)
    config = {
        "include": str(packaged_tasks() / task.packaged),
        "task": task.name,
        "dataset_kwargs": {"files": files},
        **task.settings,
    }
    functions = {"custom_dataset": f"{__name__}.{local_rows.__name__}", **task.functions}
    named = "".join(f"{name}: !function {path}\n" for name, path in functions.items())
    (scratch / f"{task.name}.yaml").write_text(yaml.safe_dump(config) + named, encoding="utf-8")


@dataclass
class _Log:
    responses: dict[str, Response] = field(default_factory=dict)
    truncated: int = 0
    tokens: int = 0


def _adapter(model: LoadedModel, tick: Tick, *, answers: bool) -> tuple[Any, _Log]:
    """An HFLM over a loaded model, and what it writes down on the way.

    answers: whether it writes answers, before which it may think, or finds answers that are given likely.
    """
    from lm_eval.models.huggingface import HFLM

    log = _Log()

    class Adapter(HFLM):  # type: ignore[misc]
        """lm-eval's transformers back end, asking through our decoding."""

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            if answers and add_generation_prompt:
                return model.render(chat_history)
            return model.template.render(chat_history, add_generation_prompt)

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            contexts = [request.args[0] for request in requests]
            (limit,) = {request.args[1]["max_gen_toks"] for request in requests}
            (until,) = {_listed(request.args[1].get("until")) for request in requests}
            responses = generate(model, contexts, limit, tick, until)
            log.responses.update(zip(contexts, responses, strict=True))
            log.tokens += sum(response.prompt_tokens + response.tokens for response in responses)
            return [response.text for response in responses]

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            return list(super().loglikelihood(requests, disable_tqdm=True))

        def _loglikelihood_tokens(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
            pairs = []
            for _text, context, continuation in requests:
                room = model.context + 1 - len(continuation)
                log.truncated += len(context) > room
                pairs.append((context[-room:], continuation))
            log.tokens += sum(len(c) for c in {tuple(c) for c, _ in pairs}) + sum(len(a) for _, a in pairs)
            return [(found.logprob, found.greedy) for found in log_likelihoods(model, pairs, tick)]

    adapter = Adapter(
        pretrained=model.described,
        tokenizer=model.tokenizer,
        device=str(model.described.device),
        batch_size=model.batch_size,
        max_length=model.context,
    )
    return adapter, log


def _listed(stops: str | list[str] | None) -> tuple[str, ...]:
    return (stops,) if isinstance(stops, str) else tuple(stop for stop in stops or () if stop)
