"""A recipe of every kind of stage on made-up rows and a model of some 10,000 random weights: a whole graph in minutes.

It needs no network: the tokenizer is trained on the rows, the weights are drawn by seed. What it learns is nothing;
that it is the same each time is what the benchmarks ask.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = "small"

_WORDS = ("red", "blue", "green", "seven", "eleven", "river", "stone", "quiet", "copper", "lantern", "winter")
_TEMPLATE = "templates/chatml.jinja"
_TRAINED = {
    "learning_rate": 0.001,
    "batch_rows": 8,
    "max_steps": 6,
    "precision": "fp32",
    "seed": 5,
    "checkpoint_steps": 3,
    "execution": {"threads": 1},
}
_LORA = {"rank": 4, "alpha": 8}
_STAGES: dict[str, dict[str, Any]] = {
    "pretrain": {"kind": "pretrain", "start": "base", "mixture": "text"},
    "sft": {"kind": "sft", "start": "pretrain", "mixture": "talks"},
    "dpo": {"kind": "dpo", "start": "sft", "preferences": "judged", "beta": 0.1, "lora": _LORA},
    "orpo": {"kind": "orpo", "start": "sft", "preferences": "judged", "beta": 0.1},
    "kto": {"kind": "kto", "start": "sft", "preferences": "thumbs", "beta": 0.1},
    "reward": {"kind": "reward", "start": "sft", "preferences": "judged"},
    "grpo": {
        "kind": "grpo",
        "start": "sft",
        "prompts": "problems",
        "rewards": [
            {"kind": "verifier", "weight": 1.0},
            {"kind": "length", "free_tokens": 2, "weight": 0.1},
            {"kind": "reward_model", "checkpoint": "reward", "weight": 0.1},
        ],
        "generations": 4,
        "max_new_tokens": 6,
    },
}
_RECIPE: dict[str, Any] = {
    "model": {
        "architecture": "llama",
        "sizes": {"hidden": 32, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 64, "positions": 512},
        "seed": 5,
        "tokenizer": {
            "sources": ["notes", "chat", "sums"],
            "vocabulary": 320,
            "end_of_text": "<|endoftext|>",
            "pad": "<|pad|>",
            "special_tokens": ["<|im_start|>", "<|im_end|>"],
            "chat_template": _TEMPLATE,
        },
    },
    "sources": {
        "notes": {"uri": "notes.txt", "group": "text", "licence": "none"},
        "chat": {"uri": "chat.jsonl", "group": "general", "licence": "none"},
        "sums": {"uri": "gym://chain_sum?size=120&seed=3&max_digits=2", "group": "domain", "licence": "Apache-2.0"},
        "pairs": {"uri": "pairs.jsonl", "group": "preference", "licence": "none"},
        "thumbs": {"uri": "thumbs.jsonl", "group": "feedback", "licence": "none"},
    },
    "mixtures": {
        "text": {
            "kind": "documents",
            "unit": "tokens",
            "shares": {"text": 1.0},
            "size": 2000,
            "sequence_length": 64,
            "seed": 5,
        },
        "talks": {
            "unit": "supervised_tokens",
            "shares": {"general": 0.6, "domain": 0.4},
            "size": 800,
            "max_length": 256,
            "seed": 5,
        },
    },
    "preferences": {
        "judged": {"pairs": [{"source": "pairs"}], "max_length": 256, "seed": 5},
        "thumbs": {"unpaired": [{"source": "thumbs"}], "max_length": 256, "seed": 5},
    },
    "prompts": {"problems": {"sources": ["sums"], "max_length": 128, "seed": 5}},
    "stages": {name: {**_TRAINED, **stage} for name, stage in _STAGES.items()},
    "evaluation": {
        "reports": ["base", *(name for name, stage in _STAGES.items() if stage["kind"] != "reward")],
        "dtype": "float32",
        "batch_size": 8,
        "execution": {"threads": 1},
        "tasks": {
            "sums": {
                "kind": "verifier",
                "data": {"uri": "gym://chain_sum?size=16&seed=9&split=held_out&max_digits=2"},
                "max_new_tokens": 4,
            },
            "river": {"kind": "phrases", "data": {"uri": "asked.txt"}, "phrases": ["river"], "max_new_tokens": 4},
            "text": {"kind": "perplexity", "data": {"uri": "kept.txt"}},
        },
    },
    "promotion": {"registered_model": NAME, "candidate": "dpo", "target": {"metric": "sums/accuracy"}},
}


def write_recipe(folder: Path) -> Path:
    """The recipe with its data in `folder`, which is made; returns its file."""
    (folder / _TEMPLATE).parent.mkdir(parents=True)
    shutil.copyfile(CHECKOUT / "recipes" / _TEMPLATE, folder / _TEMPLATE)
    drawn = random.Random(5)

    def words() -> str:
        return " ".join(drawn.choices(_WORDS, k=drawn.randint(4, 12)))

    rows: dict[str, list[dict[str, Any]]] = {
        "chat": [{"instruction": f"Say {words()}.", "output": f"{words()}."} for _ in range(80)],
        "pairs": [{"prompt": f"Say {words()}.", "chosen": f"{words()}.", "rejected": "No."} for _ in range(48)],
        "thumbs": [{"prompt": f"Say {words()}.", "completion": f"{words()}.", "label": n % 3 > 0} for n in range(48)],
    }
    for name, table in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    for name, lines in {"notes": 200, "kept": 12, "asked": 12}.items():
        (folder / f"{name}.txt").write_text("".join(f"The {words()} {words()}.\n" for _ in range(lines)), "utf-8")
    recipe = folder / f"{NAME}.yaml"
    recipe.write_text(yaml.safe_dump(_RECIPE, sort_keys=False), encoding="utf-8")
    return recipe


def run(recipe: Path, home: Path, checkout: Path = CHECKOUT, select: Sequence[str] = ()) -> str:
    """`python -m orchestration run` of a checkout, by this interpreter; returns what it printed.

    Raises SystemExit with what it said where it fails.
    """
    environment = {
        **os.environ,
        "TEMPER_HOME": str(home),
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": "",
        "MLFLOW_REGISTRY_URI": "",
    }
    selected = ["--select", *select] if select else []
    command = [sys.executable, "-m", "orchestration", "run", str(recipe), *selected]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout
