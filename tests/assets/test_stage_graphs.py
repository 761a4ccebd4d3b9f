"""The kinds of stages as a recipe declares them: in any order that makes sense, each with what it takes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.wiring import build, load_pipelines
from recipes.errors import RecipeError
from recipes.load import validate
from tests.assets.made_pipeline import FIELDS

_SFT, _DPO = FIELDS["stages"]["sft"], FIELDS["stages"]["dpo"]
_COMMON = {"learning_rate": 0.001, "batch_rows": 8, "seed": 5}
_PREFERRING = {**_COMMON, "start": "base", "preferences": "judged"}
READING = {"kind": "documents", "unit": "tokens", "groups": ["text"], "size": 100, "sequence_length": 64, "seed": 5}
TEXT = {"uri": "text.txt", "group": "text", "licence": "none", "format": "text"}
PRETRAIN = {**_COMMON, "kind": "pretrain", "start": "base", "mixture": "reading"}
THUMBS = {"unpaired": [{"source": "pairs"}], "max_length": 256, "seed": 5}
OWN_MODEL = {
    "architecture": "qwen2",
    "sizes": {"hidden": 32, "layers": 2, "heads": 4, "mlp": 64, "positions": 256},
    "seed": 1,
    "tokenizer": {
        "sources": ["text"],
        "vocabulary": 400,
        "end_of_text": "<end>",
        "pad": "<pad>",
        "chat_template": "chat.jinja",
    },
}


def recipe(stages: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """The small recipe with these stages, and text to read."""
    return {
        **FIELDS,
        "sources": {**FIELDS["sources"], "text": TEXT},
        "mixtures": {**FIELDS["mixtures"], "reading": READING},
        "stages": stages,
        **sections,
    }


def problems(fields: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        validate({"name": "tiny", **fields}, "tiny.yaml")
    return str(caught.value)


def parents(folder: Path, fields: dict[str, Any]) -> dict[str, set[str]]:
    """What every asset of a recipe is made of."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    graph = build(load_pipelines([path]), folder / "home").resolve_asset_graph()
    return {
        "/".join(key.path[1:]): {"/".join(parent.path[1:]) for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }


def test_pretrain_sft_and_dpo_follow_each_other_with_a_reward_model_beside(tmp_path: Path) -> None:
    stages = {
        "pretrain": PRETRAIN,
        "sft": {**_SFT, "start": "pretrain"},
        "reward": {**_PREFERRING, "kind": "reward", "start": "sft"},
        "dpo": _DPO,
        "straight": {**_DPO, "start": "base", "loss": "ipo"},
        "odds": {**_PREFERRING, "kind": "orpo", "beta": 0.1},
        "simple": {**_PREFERRING, "kind": "simpo"},
        "votes": {**_PREFERRING, "kind": "kto", "beta": 0.1, "preferences": "thumbs"},
    }
    preferences = {**FIELDS["preferences"], "thumbs": THUMBS}
    graph = parents(tmp_path, recipe(stages, preferences=preferences))
    assert graph["votes"] == {"base", "preferences/thumbs"}
    assert graph["pretrain"] == {"base", "mixture/reading"}
    assert graph["sft"] == {"pretrain", "mixture/mix"}
    assert graph["reward"] == {"sft", "preferences/judged"}
    assert graph["dpo"] == {"sft", "preferences/judged"}
    assert graph["straight"] == graph["odds"] == graph["simple"] == {"base", "preferences/judged"}
    assert graph["base"] == set()


def test_a_model_of_the_recipes_own_waits_for_the_text_of_its_tokenizer(tmp_path: Path) -> None:
    stages = {"pretrain": PRETRAIN, "sft": {**_SFT, "start": "pretrain"}, "dpo": _DPO}
    graph = parents(tmp_path, recipe(stages, model=OWN_MODEL))
    assert graph["base"] == {"clean/text"}
    assert {"base", "clean/text"} <= graph["mixture/reading"]


ASKED = {"problems": {"sources": ["sums"], "max_length": 128, "seed": 5}}
TRIES = {
    **{"checkpoint": "sft", "prompts": "problems", "max_new_tokens": 8, "seed": 5},
    "signals": {"right": {"kind": "verifier"}, "short": {"kind": "length"}},
}
OWN = {"pairs": [{"candidates": "tries", "by": ["right"]}], "max_length": 256, "seed": 5}


def test_pairs_of_a_models_own_answers_stand_behind_their_signals(tmp_path: Path) -> None:
    preferences = {**FIELDS["preferences"], "own": OWN}
    stages = {"sft": _SFT, "dpo": {**_DPO, "preferences": "own"}}
    graph = parents(tmp_path, recipe(stages, prompts=ASKED, candidates={"tries": TRIES}, preferences=preferences))
    assert graph["candidates/tries"] == {"sft", "prompts/problems"}
    assert graph["signals/tries/right"] == graph["signals/tries/short"] == {"candidates/tries"}
    assert graph["preferences/own"] == {"base", "distinct", "candidates/tries", "signals/tries/right"}
    assert graph["dpo"] == {"sft", "preferences/own"}


def test_best_answers_feed_mixtures_as_sources_do(tmp_path: Path) -> None:
    best = {
        "best": {"candidates": "tries", "by": ["right"], "at_least": {"short": -8}, "group": "picked", "licence": "x"}
    }
    own = {"groups": ["picked"], "size": 100, "exhaustion": "stop", "max_length": 64, "seed": 5}
    mixtures = {**FIELDS["mixtures"], "own": own}
    given = {"prompts": ASKED, "candidates": {"tries": TRIES}, "best_of_n": best, "mixtures": mixtures}
    stages = {"sft": _SFT, "dpo": {**_SFT, "start": "sft", "mixture": "own"}}
    graph = parents(tmp_path, recipe(stages, **given))
    signals = {"signals/tries/right", "signals/tries/short"}
    assert graph["best_of_n/best"] == {"evaluation_items", "candidates/tries", *signals}
    assert graph["mixture/own"] == {"base", "distinct", "best_of_n/best"}
    stages = {"sft": {**_SFT, "mixture": "own"}, "dpo": {**_SFT, "start": "sft"}}
    assert "stages.sft.mixture: 'own' rests on 'sft', which is not made before it" in problems(recipe(stages, **given))
    for change, message in (
        (
            {"candidates": "tires"},
            "best_of_n.best.candidates: 'tires' is not a candidates entry; did you mean 'tries'?",
        ),
        ({"by": ["rihgt"]}, "best_of_n.best.by: 'rihgt' is none of the signals on candidates.tries"),
        ({"at_least": {"long": 1}}, "best_of_n.best.at_least: 'long' is none of the signals"),
    ):
        wrong = {"best": {**best["best"], **change}}
        stages = {"sft": _SFT, "dpo": {**_SFT, "start": "sft", "mixture": "own"}}
        assert message in problems(recipe(stages, **{**given, "best_of_n": wrong}))
    assert "a source has this name" in problems(recipe(stages, **{**given, "best_of_n": {"sums": best["best"]}}))


def test_a_reward_model_judges_candidates_that_are_drawn_before_or_after_it(tmp_path: Path) -> None:
    liked = {"kind": "reward_model", "checkpoint": "rm"}
    tries = {"tries": {**TRIES, "signals": {"liked": liked, "near": {"kind": "reference", "metric": "rougeL"}}}}
    own = {"own": {**OWN, "pairs": [{"candidates": "tries", "by": ["liked", "near"]}]}}
    given = {"prompts": ASKED, "candidates": tries, "preferences": {**FIELDS["preferences"], **own}}
    rm = {**_PREFERRING, "kind": "reward"}
    stages = {"sft": _SFT, "rm": rm, "dpo": {**_DPO, "preferences": "own"}}
    graph = parents(tmp_path, recipe(stages, **given))
    assert graph["signals/tries/liked"] == {"candidates/tries", "rm"}
    assert graph["signals/tries/near"] == {"candidates/tries"}
    stages = {"sft": _SFT, "dpo": {**_DPO, "preferences": "own"}, "rm": rm}
    assert "'own' rests on 'rm', which is not made before it" in problems(recipe(stages, **given))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"candidates": {"tries": {**TRIES, "checkpoint": "stf"}}},
            "tries.checkpoint: 'stf' is no checkpoint; did you",
        ),
        ({"candidates": {"tries": {**TRIES, "prompts": "problem"}}}, "tries.prompts: 'problem' is not a prompts entry"),
        (
            {"candidates": {"tires": TRIES}},
            "pairs.0.candidates: 'tries' is not a candidates entry; did you mean 'tires'?",
        ),
        (
            {"preferences": {"own": {**OWN, "pairs": [{"candidates": "tries", "by": ["rihgt"]}]}}},
            "preferences.own.pairs.0.by.0: 'rihgt' is none of the signals on candidates.tries ['right', 'short']; did",
        ),
        ({"candidates": {"tries": {**TRIES, "checkpoint": "dpo"}}}, "'own' rests on 'dpo', which is not made"),
        (
            {"candidates": {"tries": {**TRIES, "signals": {"right": {"kind": "reward_model", "checkpoint": "sft"}}}}},
            "candidates.tries.signals.right.checkpoint: 'sft' is no stage of kind reward",
        ),
        (
            {"candidates": {"tries": {**TRIES, "samples": 1}}},
            "tries.samples: Input should be greater than or equal to 2",
        ),
        (
            {"candidates": {"tries": {**TRIES, "signals": {"odd": {"kind": "format", "pattern": "("}}}}},
            "signals.odd.pattern: not a regular expression",
        ),
        (
            {"candidates": {"tries": {**TRIES, "execution": {"devices": 2}}}},
            "execution.devices: one device draws all answers",
        ),
    ],
)
def test_candidates_of_what_is_not_there_are_refused_at_load(sections: dict[str, Any], message: str) -> None:
    stages = {"sft": _SFT, "dpo": {**_DPO, "preferences": "own"}}
    given = {"prompts": ASKED, "candidates": {"tries": TRIES}, "preferences": {"own": OWN}, **sections}
    assert message in problems(recipe(stages, **given))


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"rm": {**_PREFERRING, "kind": "reward"}, "sft": {**_SFT, "start": "rm"}}, "'rm' is a reward model; sft"),
        (
            {"a": {**PRETRAIN, "mixture": "mix"}},
            "stages.a.mixture: 'mix' holds conversations; pretrain takes documents",
        ),
        ({"a": {**_PREFERRING, "kind": "ppo"}}, "stages.a: kind ppo: TRL has no PPO trainer any more"),
        ({"a": {**_DPO, "loss": "ippo"}}, "stages.a.loss: Input should be 'sigmoid', 'hinge'"),
        ({"a": {**_DPO, "label_smoothing": 0.1}}, "label_smoothing means nothing to loss sigmoid"),
        ({"a": {**_DPO, "loss": "exo_pair"}}, "loss exo_pair needs label_smoothing above 0"),
        ({"a": {**_DPO, "discopop_tau": 0.1}}, "discopop_tau means nothing to loss sigmoid"),
        ({"a": {**_PREFERRING, "kind": "kto", "beta": 0.1}}, "'judged' holds pairs; kto takes unpaired"),
        ({"a": {**_PREFERRING, "kind": "kto", "beta": 0.1, "kl_rows": 3}}, "batch_rows 8 is not a multiple of kl_rows"),
        (
            {"a": {**_PREFERRING, "kind": "kto", "beta": 0.1, "execution": {"micro_batch": 8}}},
            "execution.micro_batch is kl_rows = 4 in kto",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_load(stages: dict[str, Any], message: str) -> None:
    assert message in problems(recipe({**stages, "dpo": {**_DPO, "start": "base"}}))


def test_a_reward_model_is_not_scored_by_the_suite() -> None:
    stages = {"dpo": {**_DPO, "start": "base"}, "rm": {**_PREFERRING, "kind": "reward"}}
    evaluation = {**FIELDS["evaluation"], "reports": ["base", "dpo", "rm"]}
    assert "evaluation.reports.2: 'rm' is a reward model" in problems(recipe(stages, evaluation=evaluation))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "gpt9"}, "model.architecture: Input should be 'llama' or 'qwen2'"),
        ({"sizes": {**OWN_MODEL["sizes"], "heads": 3}}, "model.sizes: hidden 32 over 3 heads"),
        ({"sizes": {**OWN_MODEL["sizes"], "kv_heads": 3}}, "heads 4 is not a multiple of kv_heads 3"),
        ({"sizes": {**OWN_MODEL["sizes"], "width": 3}}, "model.sizes.width: unknown key"),
        ({"tokenizer": {**OWN_MODEL["tokenizer"], "sources": ["txt"]}}, "model.tokenizer.sources.0: 'txt' is not a"),
        ({"tokenizer": {**OWN_MODEL["tokenizer"], "pad": "<end>"}}, "must all differ"),
        ({"uri": "hf://org/name"}, "model.uri: unknown key"),
    ],
)
def test_a_model_of_the_recipes_own_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    stages = {"dpo": {**_DPO, "start": "base"}}
    assert message in problems(recipe(stages, model={**OWN_MODEL, **changes}))


def test_a_tokenizer_cannot_wait_for_text_that_waits_for_it() -> None:
    fields = recipe({"dpo": {**_DPO, "start": "base"}}, model=OWN_MODEL)
    fields["sources"] = {**fields["sources"], "text": {**TEXT, "steps": [{"kind": "length", "min": 3}]}}
    assert "a step of 'text' counts tokens of the tokenizer that is trained on it" in problems(fields)
