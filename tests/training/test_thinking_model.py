"""A small Qwen3 with Qwen3's own template, from rows with thoughts through SFT, DPO, GRPO to a report."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_jobs import EXECUTION, STAGE, run_here

from benchmarks.templates import shipped
from corpora.feedback.preferences import build_preferences
from corpora.feedback.prompts import Asked, build_prompts
from corpora.mixing.mixture import mix
from corpora.tables.tables import PAIRS, PROMPTS, ROWS, rows_of
from evaluation import runner as reports
from jobs.job import Job, JobInput
from lineage.store import Artifact, Store
from models.template import ChatTemplate
from models.thoughts import parted
from recipes.cleaning import Splits
from recipes.errors import DONE
from recipes.mixtures import Mixture, Preferences, Prompts
from recipes.schema import identity
from recipes.stages import Dpo, Grpo, Sft
from tests import tiny
from tests.corpora.made import cleaned, source
from tests.evaluation import made_suite

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
"""Line breaks stay together, as in the tokenizers of today's models; in SmolLM2's the next word decides about them."""
ANSWERS = ("red", "blue", "green", "seven", "river", "stone", "copper", "winter")


def thinking(words: str, thoughts: str) -> dict[str, str]:
    return {"role": "assistant", "content": words, "reasoning_content": thoughts}


def talks() -> list[dict[str, Any]]:
    """Two questions each, both answered with thoughts."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"Say {word}."},
                thinking(f"{word}.", f"they want {word}"),
                {"role": "user", "content": f"And again, {place} times {word}?"},
                thinking(f"{word} {word}", f"again {word}"),
            ]
        }
        for place, word in enumerate(ANSWERS)
    ]


def pairs() -> list[dict[str, Any]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Say {word}."}],
            "chosen": [thinking(f"{word}.", f"they want {word}")],
            "rejected": [{"role": "assistant", "content": f"not {word}"}],
        }
        for word in ANSWERS
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("thinking")


@pytest.fixture(scope="module")
def base(home: Path) -> Artifact:
    def make(work: Path) -> None:
        tiny.write_checkpoint(work, family="qwen3")
        template = next(file for file in shipped() if file.stem == "qwen3")
        shutil.copyfile(template, work / "chat_template.jinja")
        tokenizer = json.loads((work / "tokenizer.json").read_text(encoding="utf-8"))
        split = {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Isolated", "invert": False}
        bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, bytes_]}
        (work / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")

    return tiny.sealed(home, "base", make)


def trained(home: Path, stage: Any, start: Artifact, name: str, given: Artifact) -> Artifact:
    """The checkpoint of a stage that starts from another one."""
    inputs = {"start": JobInput.of(start), name: JobInput.of(given)}
    digests = {of: one.digest for of, one in inputs.items()}
    payload = {"node": stage.kind, "version": 1, "config": identity(stage), "inputs": digests}
    config = stage.model_dump(mode="json")
    job = Job(
        **{"kind": stage.kind, "recipe": "tiny", "node": stage.kind, "ref": stage.kind, "home": home},
        **{"payload": payload, "config": config, "execution": EXECUTION, "inputs": inputs},
    )
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None and found.failed_checks == []
    return found


def mixed(home: Path, base: Artifact, thoughts: str) -> tuple[Artifact, dict[str, Any]]:
    told: dict[str, Any] = {}
    corpus = home / "corpus" / "clean_talks"
    if not corpus.exists():
        cleaned(home / "corpus", "talks", talks())
    fields = {"shares": {"general": 1.0}, "size": 100_000, "max_length": 256, "seed": 1, "exhaustion": "stop"}
    mixture = Mixture.model_validate({**fields, "thinking": thoughts})
    made = tiny.sealed(
        home,
        f"mixture/{thoughts}",
        lambda work: told.update(mix(mixture, {"talks": ("general", corpus)}, base.path, work)),
    )
    return made, told


@pytest.fixture(scope="module")
def learnt(home: Path, base: Artifact) -> Artifact:
    stage = Sft.model_validate({"kind": "sft", "mixture": "m", "execution": EXECUTION, **STAGE, "epochs": 2.0})
    return trained(home, stage, base, "mixture", mixed(home, base, "learn")[0])


@pytest.mark.parametrize("thoughts", ["learn", "mask", "drop"])
def test_every_answer_is_a_row_and_its_thoughts_are_what_the_recipe_says(
    home: Path, base: Artifact, thoughts: str
) -> None:
    made, told = mixed(home, base, thoughts)
    assert all(check["passed"] for check in told["checks"].values()), told["checks"]
    assert told["sources"]["talks"]["more_rows"] == len(ANSWERS) and told["rows"] == 2 * len(ANSWERS)
    tokenizer = ChatTemplate.load(base.path).tokenizer
    for row in rows_of(made.path / ROWS):
        ids = list(zip(row["input_ids"], row["supervised"], strict=True))
        text, learned = (tokenizer.decode([i for i, own in ids if own or whole]) for whole in (True, False))
        wanted, words = parted(row["messages"][-1]["content"])
        assert learned.endswith(f"{words}<|im_end|>")
        if thoughts == "learn":
            assert learned == f"<think>\n{wanted}\n</think>\n\n{words}<|im_end|>"
        else:
            assert learned == f"{words}<|im_end|>"
        assert ("they want" in text or "again " in text.split("</think>")[0].split("<think>")[1]) == (
            thoughts != "drop"
        )
        assert text.count("<think>") == 1


def test_a_stage_learns_to_think_and_the_next_ones_go_on(home: Path, base: Artifact, learnt: Artifact) -> None:
    corpus = cleaned(home / "pairs", "pairs", pairs())
    section = Preferences.model_validate({"pairs": [{"source": "pairs"}], "max_length": 128, "seed": 1})
    told: dict[str, Any] = {}

    def prefer(work: Path) -> None:
        clean, sources = {"pairs": corpus}, {"pairs": source("pairs.jsonl")}
        told.update(build_preferences(section, clean, sources, base.path, home, work))

    preferences = tiny.sealed(home, "preferences", prefer)
    assert told["pairs"] == len(ANSWERS)
    assert all(check["passed"] for check in told["checks"].values() if check["blocking"]), told["checks"]
    row = next(iter(rows_of(preferences.path / PAIRS)))
    decode = ChatTemplate.load(base.path).tokenizer.decode
    assert decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
    assert decode(row["chosen_ids"]).startswith("<think>\nthey want")
    assert decode(row["rejected_ids"]).startswith("<think>\n\n</think>\n\nnot ")
    stage = {"kind": "dpo", "preferences": "p", "beta": 0.1, "execution": EXECUTION, **STAGE}
    dpo = trained(home, Dpo.model_validate(stage), learnt, "preferences", preferences)
    rewards = {"rewards": [{"kind": "format", "pattern": "(?s).*z.*"}], "generations": 2, "max_new_tokens": 6}
    grpo = {"kind": "grpo", "prompts": "p", **rewards, "execution": EXECUTION, **STAGE, "batch_rows": 4}
    trained(home, Grpo.model_validate(grpo), dpo, "prompts", asked(home, base))


def asked(home: Path, base: Artifact) -> Artifact:
    """Prompts that ask for thoughts."""
    folder = home / "asked"
    corpus = cleaned(folder, "asked", [{"prompt": f"Say {word}."} for word in ANSWERS], format="prompts")
    prompts = Prompts.model_validate({"sources": ["asked"], "max_length": 64, "seed": 1, "thinking": True})
    of = [Asked("asked", source("asked.jsonl", format="prompts"), corpus)]
    made = tiny.sealed(
        home, "prompts", lambda work: build_prompts(prompts, of, base.path, folder, home / "cache", work, Splits())
    )
    ending = ChatTemplate.load(base.path).tokenise("<|im_start|>assistant\n")
    assert all(row["prompt_ids"][-len(ending) :] == ending for row in rows_of(made.path / PROMPTS))
    return made


def report(home: Path, data: Path, checkpoint: Artifact, **changes: Any) -> dict[str, Any]:
    suite = made_suite.evaluation(("harmful", "benign"), **changes)
    made = made_suite.job(Store(home), JobInput.of(checkpoint), suite, data)
    assert reports.run(made, threading.Event()) == DONE
    found = made.store.find(made.request)
    assert found is not None
    loaded: dict[str, Any] = json.loads((found.path / "report.json").read_text(encoding="utf-8"))
    return loaded


def test_a_report_says_whether_the_model_thinks_and_scores_its_words(
    home: Path, learnt: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = home / "data"
    data.mkdir()
    made_suite.write_data(data)
    prompts: list[str] = []
    render = ChatTemplate.render

    def heard(self: ChatTemplate, *given: Any, **named: Any) -> str:
        prompts.append(render(self, *given, **named))
        return prompts[-1]

    monkeypatch.setattr(ChatTemplate, "render", heard)
    ends: dict[int, Callable[[str], bool]] = {
        0: lambda prompt: prompt.endswith("assistant\n<think>\n\n</think>\n\n"),
        8: lambda prompt: prompt.endswith("assistant\n"),
    }
    told = {}
    for budget, fits in ends.items():
        prompts.clear()
        told[budget] = report(home, data, learnt, thinking_tokens=budget)
        asked_of = [prompt for prompt in prompts if made_suite.CANARY in prompt]
        assert asked_of and all(map(fits, asked_of))
    assert told[0]["suite"] != told[8]["suite"]
