"""Our evaluation of a real model beside lm-eval's own: the same outcomes, and which is sooner done.

IFEval and MMLU are drawn as a suite draws them and answered by our decoding, by lm-eval's `HFLM` on the same items,
model, dtype, batch size and limits, and by ours once more. All read their rows alike, so that no time is won by that.
The last line is one JSON object: `ifeval_mismatches` (prompts with any outcome that differs), `mmlu_mismatches`
(questions), `time_ratio` (our seconds over lm-eval's, for both suites together), `second_run_forward_passes`.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evaluation.task import Place, Prepared
from evaluation.tasks import ifeval, mmlu
from evaluation.tasks.harness import local_rows, packaged_tasks
from lineage.hashing import fingerprint
from lineage.store import Store, home_folder
from models.answered import Answered
from models.local import Transformers, load_model
from recipes.load import SHIPPED, load_recipe
from recipes.suite import IfevalTask, MmluTask

Scores = dict[str, list[float]]
"""Outcomes by item: one of a question, one of a prompt and each of its instructions."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="folder of a checkpoint; else the demo's base model")
    parser.add_argument("--ifeval", type=int, default=48, help="prompts of IFEval")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="of an answer to IFEval")
    parser.add_argument("--mmlu", type=int, default=285, help="questions of MMLU")
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    model = load_model(arguments.checkpoint or _demo_base(), "float32", arguments.batch_size)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = dataclasses.replace(model, answered=Answered(folder / "answers.sqlite"))
        tasks = _prepared(folder, arguments)
        found: dict[str, Any] = {}
        ours_s = theirs_s = 0.0
        for name, task in tasks.items():
            ours, seconds = _ours(model, task)
            theirs, other = _theirs(model, name, task, folder / "alone", arguments.max_new_tokens)
            mismatches = sum(ours[item] != theirs[item] for item in ours.keys() | theirs.keys())
            print(
                f"{name}: {len(ours)} items, {mismatches} differ; ours {seconds:.1f} s, lm-eval {other:.1f} s",
                flush=True,
            )
            found[f"{name}_mismatches"] = mismatches
            ours_s, theirs_s = ours_s + seconds, theirs_s + other
        found["time_ratio"] = round(ours_s / theirs_s, 3)
        found["second_run_forward_passes"] = _forward_passes(model, tasks)
    print(json.dumps(found))


def _demo_base() -> Path:
    """Folder of the demo's base model, made by the product's own graph where it is not there yet."""
    store = Store(home_folder())
    if store.ref("demo", "base") is None:
        subprocess.run([sys.executable, "-m", "orchestration", "run", "demo", "--select", "base"], check=True)
    found = store.ref("demo", "base")
    if found is None:
        raise SystemExit("demo/base: was not made")
    return found.path


def _prepared(folder: Path, arguments: argparse.Namespace) -> dict[str, Prepared]:
    """Both tasks of the demo's suite at the sizes asked for."""
    declared = load_recipe(SHIPPED / "demo.yaml").evaluation.tasks
    follow, facts = declared["ifeval"], declared["mmlu"]
    assert isinstance(follow, IfevalTask) and isinstance(facts, MmluTask)
    cache = home_folder() / "cache"
    follow = follow.model_copy(update={"limit": arguments.ifeval, "max_new_tokens": arguments.max_new_tokens})
    facts = facts.model_copy(update={"limit": arguments.mmlu})
    return {
        "ifeval": ifeval.prepare("ifeval", follow, Place(SHIPPED, cache, _new(folder / "ifeval"))),
        "mmlu": mmlu.prepare("mmlu", facts, Place(SHIPPED, cache, _new(folder / "mmlu"))),
    }


def _ours(model: Transformers, task: Prepared) -> tuple[Scores, float]:
    began = time.perf_counter()
    outcome = task.run(model, lambda done: None)
    seconds = time.perf_counter() - began
    scores: Scores = {}
    for sample in outcome.samples:
        scores.setdefault(sample["cluster"] if task.unit == "prompts" else sample["doc_hash"], []).append(
            sample["score"]
        )
    return scores, seconds


def _theirs(model: Transformers, name: str, task: Prepared, folder: Path, max_new_tokens: int) -> tuple[Scores, float]:
    """lm-eval on its own: its tasks, its back end, its loop."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    groups = _by_task(name, task.items)
    for one, (packaged, split, rows) in groups.items():
        _declare(_new(folder), one, packaged, split, [row for _, row in rows])
    adapter = HFLM(
        pretrained=model.model, tokenizer=model.tokenizer, batch_size=model.batch_size, device=str(model.model.device)
    )
    began = time.perf_counter()
    answer = lm_eval.simple_evaluate(
        adapter,
        tasks=list(groups),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        apply_chat_template=name == "ifeval",
        gen_kwargs={"max_gen_toks": max_new_tokens} if name == "ifeval" else None,
        num_fewshot=0,
        bootstrap_iters=0,
        verbosity="ERROR",
    )
    seconds = time.perf_counter() - began
    scores: Scores = {}
    for one, (_, _, rows) in groups.items():
        samples = sorted(answer["samples"][one], key=lambda sample: int(sample["doc_id"]))
        for (item, _), sample in zip(rows, samples, strict=True):
            scores[fingerprint(item)] = _outcomes(sample)
    return scores, seconds


def _by_task(
    name: str, items: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, str, list[tuple[Any, dict[str, Any]]]]]:
    """lm-eval's tasks for these items: packaged file, split, (item, row)."""
    if name == "ifeval":
        return {"alone_ifeval": ("ifeval/ifeval.yaml", "train", [(item, dict(item)) for item in items])}
    groups: dict[str, tuple[str, str, list[tuple[Any, dict[str, Any]]]]] = {}
    for item in items:
        subject = item["subject"]
        packaged = f"mmlu/continuation/mmlu_{subject}.yaml"
        group = groups.setdefault(f"alone_{subject}", (packaged, "test", []))
        group[2].append((item, {key: item[key] for key in ("question", "choices", "answer")}))
    return groups


def _declare(folder: Path, name: str, packaged: str, split: str, rows: list[dict[str, Any]]) -> None:
    """A task of lm-eval in `folder`: its packaged file on our rows."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = {split: str(data)}
    if packaged.startswith("mmlu"):
        files["dev"] = str(data)  # of which no example is taken
    config = {"include": str(packaged_tasks() / packaged), "task": name, "dataset_kwargs": {"files": files}}
    loader = f"custom_dataset: !function {local_rows.__module__}.{local_rows.__name__}\n"
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config) + loader, encoding="utf-8")


def _outcomes(sample: Mapping[str, Any]) -> list[float]:
    if "acc_norm" in sample:
        return [float(sample["acc_norm"])]
    return [float(sample["prompt_level_strict_acc"]), *map(float, sample["inst_level_strict_acc"])]


def _forward_passes(model: Transformers, tasks: Mapping[str, Prepared]) -> int:
    """Passes through the model of the same evaluation, made again."""
    passes: list[int] = []
    hook = model.model.register_forward_hook(lambda *_: passes.append(1))
    for task in tasks.values():
        task.run(model, lambda done: None)
    hook.remove()
    return len(passes)


def _new(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
