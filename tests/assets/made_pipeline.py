"""A pipeline on small local files, as a user would write it: for tests that need a recipe of their own."""

from pathlib import Path
from typing import Any

import yaml

from assets.pipeline import Pipeline

FIELDS: dict[str, Any] = {
    "model": {"uri": "model", "licence": "none", "dtype": "float32"},
    "sources": {
        "chat": {"uri": "chat.jsonl", "group": "general", "licence": "none"},
        "sums": {"uri": "gym://chain_sum?size=120&seed=3&max_digits=2", "group": "domain", "licence": "Apache-2.0"},
        "pairs": {"uri": "pairs.jsonl", "group": "preference", "licence": "none"},
    },
    "mixtures": {
        "mix": {
            "unit": "supervised_tokens",
            "shares": {"general": 0.6, "domain": 0.4},
            "size": 400,
            "max_length": 256,
            "seed": 5,
        }
    },
    "preferences": {"judged": {"pairs": [{"source": "pairs"}], "max_length": 256, "seed": 5}},
    "stages": {
        "sft": {
            "kind": "sft",
            "start": "base",
            "mixture": "mix",
            "learning_rate": 0.001,
            "batch_rows": 8,
            "precision": "fp32",
            "seed": 5,
            "checkpoint_steps": 5,
            "execution": {"threads": 1},
        },
        "dpo": {
            "kind": "dpo",
            "start": "sft",
            "preferences": "judged",
            "beta": 0.1,
            "learning_rate": 0.0001,
            "batch_rows": 8,
            "precision": "fp32",
            "lora": {"rank": 4, "alpha": 8},
            "seed": 5,
            "execution": {"threads": 1},
        },
    },
    "evaluation": {
        "reports": ["base", "sft", "dpo"],
        "dtype": "float32",
        "batch_size": 8,
        "execution": {"threads": 1},
        "tasks": {
            "sums": {
                "kind": "verifier",
                "data": {"uri": "gym://chain_sum?size=16&seed=9&split=held_out&max_digits=2"},
                "max_new_tokens": 4,
            }
        },
    },
    "promotion": {"registered_model": "tiny", "candidate": "dpo", "target": {"metric": "sums/accuracy"}},
    "schedule": {"cron": "0 3 * * 0"},
}


def write_recipe(folder: Path, name: str = "tiny", **changes: dict[str, Any]) -> Path:
    """`<name>.yaml` in `folder`; changes: fields of top-level sections to set, by section."""
    fields = {section: {**value, **changes.get(section, {})} for section, value in FIELDS.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
    return path


def pipeline(folder: Path, **changes: dict[str, Any]) -> Pipeline:
    return Pipeline.load(write_recipe(folder, "tiny", **changes))
