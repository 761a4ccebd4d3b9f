"""What the gate says of the real 135M model against itself, spoiled copies of itself, and copies that say nothing."""

import dataclasses
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from corpora.sources import fetch
from evaluation.gating.decision import Decision
from evaluation.gating.gate import decide
from evaluation.health import problems
from evaluation.report import Report, Sample
from evaluation.task import Place, Prepared
from evaluation.tasks import mmlu, perplexity
from models.answering import LoadedModel
from models.local import load_model
from recipes.promotion import Promotion
from recipes.suite import MmluTask, PerplexityTask
from tests import tiny

_TEXTS = (
    "The river rises in the hills behind the town and runs slowly to the sea.",
    "If you want to keep bread fresh, put it in a paper bag and leave it in a cool place.",
    "Water boils at a lower temperature on a mountain because the air is thinner there.",
    "She opened the window, looked at the rain, and decided to stay at home.",
    "A good teacher asks questions and waits for the answer.",
    "The train to the city leaves every hour from the second platform.",
    "Plants need light, water and air to grow.",
    "In winter the days are short and the nights are long.",
    "He wrote a letter to his brother, who lived in another country.",
    "The price of the house was higher than they had expected.",
    "Most birds build their nests in spring and feed their young with insects.",
    "To make tea, pour hot water over the leaves and wait for a few minutes.",
    "The museum is open every day except Monday.",
    "A computer follows the instructions that it has been given, one after the other.",
    "They walked along the beach until the sun went down.",
    "The doctor told him to rest and to drink a lot of water.",
    "My grandmother told us stories about the village where she was born.",
    "The ship was so large that it could not enter the old harbour.",
    "When the bell rang, the children ran out of the school.",
    "The law says that everyone has the right to a fair trial.",
    "Iron is a metal that rusts when it meets water and air.",
    "The farmer sold his apples at the market on Saturday.",
    "It is easier to learn a language when you speak it every day.",
    "The moon goes round the earth in about four weeks.",
)
_QUESTIONS = (
    ("Which of these is a colour?", "blue", "chair", "seven", "slowly"),
    ("Which of these is an animal?", "stone", "horse", "cloud", "paper"),
    ("What do people drink?", "sand", "glass", "water", "iron"),
    ("Which of these is a fruit?", "hammer", "shoe", "lamp", "apple"),
    ("What gives light by day?", "the sun", "a cave", "a carpet", "the soil"),
    ("Which of these can fly?", "a table", "a bird", "a rock", "a root"),
    ("Where do fish live?", "in fire", "in books", "in water", "in clocks"),
    ("What falls from clouds?", "coins", "doors", "songs", "rain"),
)


_METRIC = {"texts": "byte_probability", "continuation": "accuracy", "letter": "accuracy"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model as a checkpoint folder."""
    from transformers import AutoModelForCausalLM, GgufConfig

    folder = tmp_path_factory.mktemp("real")
    gguf = fetch(tiny.SMOLLM2, folder, tiny.test_cache()).files[0].path
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype="float32"
    )
    model.save_pretrained(folder)
    for file in tiny.tokenizer_folder().iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "texts.txt").write_text("\n".join(_TEXTS))
    rows = []
    for turn in range(3):  # the right answer moves, so that no letter is right too often
        for number, (question, *choices) in enumerate(_QUESTIONS):
            turned = choices[turn:] + choices[:turn]
            right = "ABCD"[(number % 4 - turn) % 4]
            row = {f"answer_{letter}": choice for letter, choice in zip("abcd", turned, strict=True)}
            topic = ("anatomy", "astronomy", "virology")[turn]
            rows.append({"question": question, "correct_answer": right, "topic": topic, **row})
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = PerplexityTask.model_validate({"kind": "perplexity", "data": {"uri": "texts.txt"}})
    questions: dict[str, Any] = {"kind": "mmlu", "data": {"uri": "questions.jsonl"}}
    made: dict[str, Prepared] = {"texts": perplexity.prepare("texts", texts, _place(folder, "texts"))}
    for form in ("continuation", "letter"):
        task = MmluTask.model_validate({**questions, "form": form})
        made[form] = mmlu.prepare(form, task, _place(folder, form))
    return made


def _place(folder: Path, name: str) -> Place:
    scratch = folder / name
    scratch.mkdir()
    return Place(folder, folder / "cache", scratch)


def loaded(folder: Path) -> LoadedModel:
    return load_model(folder, "float32", 16)


def scored(model: LoadedModel, tasks: dict[str, Prepared], order: int = 0) -> Report:
    """A report of the tasks, their items asked in an order drawn by a seed."""
    samples: list[Sample] = []
    reasons: list[str] = []
    for name, task in tasks.items():
        items = random.Random(order).sample(list(task.items), len(task.items))
        asked: Any = dataclasses.replace(task, items=items)  # type: ignore[type-var]
        outcome = asked.run(model, lambda done: None)
        samples += outcome.samples
        reasons += problems(name, len(items), outcome)
    return Report.from_samples(
        samples,
        subject={"template_sha256": "t"},
        suite={"digest": "s", "tasks": {name: {"data_digest": "d"} for name in tasks}},
        runtime={"backend": "transformers", "dtype": "float32", "batch_size": model.batch_size},
        invalid_reasons=reasons,
    )


def decided(target: str, candidate: Report, reference: Report, **margins: float) -> Decision:
    rule = Promotion.model_validate(
        {
            "registered_model": "m",
            "candidate": "sft",
            "target": {"metric": f"{target}/{_METRIC[target]}"},
            "guards": [{"metric": f"{name}/{_METRIC[name]}", "margin": margin} for name, margin in margins.items()],
        }
    )
    return decide(rule, candidate, reference, reference, reference_kind="base", overridden=False)


def test_a_model_is_never_better_than_itself(real: Path, tasks: dict[str, Prepared]) -> None:
    model, asked = loaded(real), {name: tasks[name] for name in ("texts", "continuation")}
    first, *others = (scored(model, asked, order) for order in range(3))
    assert first.valid, first.invalid_reasons
    assert first.results["texts/byte_probability"]["mean"] > 0.3, "the model knows English"
    verdicts = [decided(task, other, first).verdict for task in asked for other in others]
    assert set(verdicts) <= {"fail", "inconclusive"}


def test_noise_in_the_weights_is_refused_by_a_guard(real: Path, tasks: dict[str, Prepared]) -> None:
    import torch

    asked = {name: tasks[name] for name in ("texts", "continuation")}
    model = loaded(real)
    sound = scored(model, asked)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.model.parameters():
            weight += 0.1 * weight.std() * torch.randn_like(weight)
    noisy = scored(model, asked)
    assert noisy.valid, "noise is no fault of the run"
    decision = decided("continuation", noisy, sound, texts=0.02)
    assert decision.verdict == "fail"
    (guard,) = [test for test in decision.tests if test.role == "guard"]
    assert (guard.metric, guard.outcome) == ("texts/byte_probability", "fail")


@pytest.mark.parametrize(
    ("norm", "reason"),
    [
        (float("nan"), "letter: 24 of 24 items have NaN or infinite probabilities"),
        (0.0, "letter: the same choice for each of 24 items"),  # every token is as likely, so the answer is always A
    ],
)
def test_a_model_that_says_nothing_is_invalid(real: Path, tasks: dict[str, Prepared], norm: float, reason: str) -> None:
    model = loaded(real)
    model.model.model.norm.weight.data.fill_(norm)
    empty = scored(model, {"letter": tasks["letter"]})
    assert reason in empty.invalid_reasons
    assert decided("letter", empty, empty).verdict == "invalid"
