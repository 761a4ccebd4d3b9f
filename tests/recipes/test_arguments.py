"""`args` reach TRL and PEFT by name and type, and every setting of the installed libraries is passed on or refused."""

import ast
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recipes.schema import identity
from recipes.stages import KINDS, Lora, Sft
from recipes.trl_settings import LORA, OWN_FIELD, REASON

ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = {**{kind: section.passes_on for kind, section in KINDS.items()}, "lora": LORA}
FIELDS = {"kind": "sft", "mixture": "m", "start": "base", "learning_rate": 0.1, "batch_rows": 8, "seed": 0}
SET_BY_BOTH = {"optim"}
"""Temper's own choice is a default, which `args` may change."""


def config_class(kind: str) -> Any:
    """The class that takes the settings of a kind."""
    import peft
    import trl
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig

    return {
        "pretrain": trl.SFTConfig,
        "sft": trl.SFTConfig,
        "reward": trl.RewardConfig,
        "dpo": trl.DPOConfig,
        "kto": trl.KTOConfig,
        "orpo": ORPOConfig,
        "simpo": CPOConfig,
        "grpo": trl.GRPOConfig,
        "lora": peft.LoraConfig,
    }[kind]


def settings(kind: str) -> set[str]:
    """Names of what the installed library lets one set."""
    of_every_peft_config = {"auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "revision"}
    there = {field.name for field in fields(config_class(kind)) if field.init}
    return there - (of_every_peft_config | {"peft_version", "task_type"} if kind == "lora" else set())


@pytest.mark.parametrize("kind", PASSED_ON)
def test_every_setting_of_the_installed_library_is_passed_on_or_refused(kind: str) -> None:
    of_other_kinds = {name for names in PASSED_ON.values() for name in names}
    assert set(PASSED_ON[kind]) <= settings(kind)
    refused = set() if kind == "lora" else set(KINDS[kind].own_settings)
    assert not refused & set(PASSED_ON[kind]) and refused <= settings(kind)
    assert settings(kind) - set(PASSED_ON[kind]) - refused <= set(OWN_FIELD) | set(REASON) | of_other_kinds


def test_nothing_is_refused_that_no_library_has() -> None:
    there = {name for kind in PASSED_ON for name in settings(kind)}
    assert (set(OWN_FIELD) | set(REASON)) <= there


def test_a_setting_is_refused_for_one_reason() -> None:
    assert not set(OWN_FIELD) & set(REASON)
    for names in PASSED_ON.values():
        assert not set(names) & (set(REASON))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_stage_sets_itself_is_not_passed_on(kind: str, tmp_path: Path) -> None:
    from training import rows
    from training.loop import loop

    stage = Sft.model_validate(FIELDS)
    ours = set(loop.arguments(stage, rows.plan([3, 9], stage), tmp_path))
    for node in ast.walk(ast.parse((ROOT / "training" / "stages" / f"{kind}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Config"):
            ours |= {keyword.arg for keyword in node.keywords if keyword.arg}
        if isinstance(node, ast.Dict):
            ours |= {key.value for key in node.keys if isinstance(key, ast.Constant)}
    assert "learning_rate" in ours
    assert ours & set(PASSED_ON[kind]) <= SET_BY_BOTH
    assert not set(KINDS[kind].model_fields) & set(PASSED_ON[kind])


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_settings_reach_the_librarys_config(kind: str, tmp_path: Path) -> None:
    from training import rows
    from training.loop import loop

    own = {"sft": {"mixture": "m"}, "dpo": {"preferences": "p", "beta": 0.1}}[kind]
    common = {name: FIELDS[name] for name in ("start", "learning_rate", "batch_rows", "seed")}
    given = {"adam_beta2": "0.95", "optim": "adafactor"}
    stage = KINDS[kind].model_validate({"kind": kind, **common, **own, "precision": "fp32", "args": given})
    config = config_class(kind)(**loop.arguments(stage, rows.plan([3, 9], stage), tmp_path))
    assert config.adam_beta2 == 0.95
    assert config.optim == "adafactor"


def test_an_optimizer_that_needs_a_gpu_is_refused_where_there_is_none(tmp_path: Path) -> None:
    import torch

    from lineage.errors import TrainingError
    from training import rows
    from training.loop import loop

    stage = Sft.model_validate({**FIELDS, "args": {"optim": "paged_adamw_8bit"}})
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match=r"args\.optim paged_adamw_8bit needs a GPU"):
            loop.arguments(stage, rows.plan([3, 9], stage), tmp_path)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"adam_beta_2": 0.9}, "args\n.*adam_beta_2: no such setting; did you mean 'adam_beta2'?"),
        ({"learning_rate": 1}, "learning_rate: the recipe has a field for it: learning_rate"),
        ({"warmup_steps": 3}, "the recipe has a field for it: warmup_share"),
        ({"push_to_hub": True}, "push_to_hub: not passed on: a training process sends nothing away"),
        ({"packing": True}, "packing: not passed on: rows come tokenised"),
        ({"use_liger_kernel": True}, "which is execution's"),
        ({"f_divergence_type": "forward_kl"}, "a setting of dpo, not of sft"),
        ({"adam_beta1": "much"}, "adam_beta1: Input should be a valid number.*found 'much'"),
        ({"optim": "adamw"}, "optim: Input should be 'adamw_torch'"),
    ],
)
def test_what_cannot_be_passed_on_is_refused_with_a_reason(args: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        Sft.model_validate({**FIELDS, "args": args})


def test_settings_of_an_adapter_go_to_peft(tmp_path: Path) -> None:
    from training.weights import lora_config

    lora = Lora.model_validate({"rank": 4, "alpha": 8, "args": {"use_rslora": True}})
    assert lora_config(lora).use_rslora
    with pytest.raises(ValidationError, match="the recipe has a field for it: rank"):
        Lora.model_validate({"rank": 4, "alpha": 8, "args": {"r": 8}})


def test_args_are_identity_and_their_absence_leaves_older_identities_as_they_were() -> None:
    plain, with_args = (Sft.model_validate({**FIELDS, **more}) for more in ({}, {"args": {"adam_beta2": 0.95}}))
    assert "args" not in identity(plain)
    assert identity(with_args) == {**identity(plain), "args": {"adam_beta2": 0.95}}
    lora = {"rank": 4, "alpha": 8.0}
    assert identity(Sft.model_validate({**FIELDS, "lora": lora}))["lora"] == {
        **lora,
        "dropout": 0.0,
        "targets": "all-linear",
    }
