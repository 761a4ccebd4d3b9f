"""What our trainings save and cost on a real model and real ragged rows, side by side with TRL's own, in one run.

SFT: tokens a second of ours and of TRL's trainer on its defaults (batches of eight rows, random order) on the same
rows, and how far the losses on rows that neither saw lie apart. DPO: steps that find their reference
log-probabilities against steps that compute them. GRPO: a step of ours against one of TRL's. Overhead: a stage
launched through Dagster, tracked in MLflow and sealed with its record, against a bare script that trains on the same
micro-batches.
The last line is one JSON object: `sft_speedup`, `sft_limit` (what padding alone can give: slots of random batches of
eight over tokens), `dpo_full_speedup`, `dpo_lora_speedup`, `grpo_speedup`, `overhead_s` (seconds a stage beside what
its steps cost).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

import yaml

from benchmarks.training_runs import TRL_ROWS, rows_of, stage_fields
from lineage.store import Artifact, Store
from recipes.errors import DONE
from recipes.load import SHIPPED

_NEEDED = ("base", "evaluation_items", "distinct", "mixture/ragged", "preferences/pairs")
_RAGGED = {
    "unit": "rows",
    "shares": {"general": 0.43, "domain": 0.57},
    "size": 1400,
    "max_length": 768,
    "seed": 17,
}
"""Conversations and sums of the demo in about equal numbers, so that random batches of eight are mostly pads."""

_LEARNING_RATE = 1e-3
_STAGE_S = 600

_PARTS = ("sft", "dpo_full", "dpo_lora", "grpo", "overhead")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(".temper/benchmarks"), help="keeps what is made")
    parser.add_argument("--checkpoint", type=Path, help="folder of a sealed checkpoint; else the demo's base model")
    parser.add_argument("--mixture", type=Path, help="folder of a sealed mixture; else rows of the demo's")
    parser.add_argument("--preferences", type=Path, help="folder of sealed preferences; else the demo's")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="what is measured")
    parser.add_argument("--rows", type=int, default=200, help="rows that SFT is compared on")
    parser.add_argument("--orders", type=int, default=3, help="of the rows that our SFT is trained in, for the noise")
    parser.add_argument("--longest", type=int, default=768, help="tokens of a row; TRL's batches of eight need memory")
    parser.add_argument("--pairs", type=int, default=40, help="of DPO; its first step, of 16, is not timed")
    parser.add_argument("--repeats", type=int, default=2, help="of each DPO run, in turn; the medians count")
    parser.add_argument("--grpo-steps", type=int, default=3, help="that are timed, after a first one")
    parser.add_argument("--overhead-steps", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    arguments = parser.parse_args()
    bench = _Bench(arguments.home.resolve(), arguments.clock)
    start = bench.artefact("base", arguments.checkpoint)
    mixture = bench.artefact("mixture/ragged", arguments.mixture)
    preferences = bench.artefact("preferences/pairs", arguments.preferences)
    result: dict[str, Any] = {}
    for part in arguments.parts:
        match part:
            case "sft":
                result |= bench.sft(start, mixture, arguments.longest, arguments.rows, arguments.orders)
            case "dpo_full" | "dpo_lora":
                full = part == "dpo_full"
                result[f"{part}_speedup"] = bench.dpo(start, preferences, arguments.pairs, full, arguments.repeats)
            case "grpo":
                result["grpo_speedup"] = bench.grpo(start, arguments.grpo_steps)
            case "overhead":
                result["overhead_s"] = bench.overhead(start, mixture, arguments.longest, arguments.overhead_steps)
    print(json.dumps(result))


class _Bench:
    """Runs, and what they are made from, under one home folder."""

    def __init__(self, home: Path, clock: str = "wall") -> None:
        self.home, self.store, self._clock = home, Store(home), clock
        self.scratch = home / "scratch"
        self.scratch.mkdir(parents=True, exist_ok=True)

    def artefact(self, node: str, given: Path | None) -> Artifact:
        """The sealed folder that was given, else the demo's node, made by the product's own graph."""
        if given is not None:
            return self.store.open(given.resolve())
        found = self.store.ref("training", node)
        if found is None:
            sources = list(yaml.safe_load((SHIPPED / "demo.yaml").read_text(encoding="utf-8"))["sources"])
            nodes = [*(f"{kind}/{name}" for name in sources for kind in ("raw", "clean")), *_NEEDED]
            self.graph("--select", *nodes)
            found = self.store.ref("training", node)
        if found is None:
            raise SystemExit(f"{node}: was not made")
        return found

    def graph(self, *arguments: str) -> None:
        """`temper run` on the demo with a stage of our settings."""
        self._run(["-m", "orchestration", "run", str(self._recipe()), *arguments], TEMPER_HOME=str(self.home))

    def sft(self, start: Artifact, mixture: Artifact, longest: int, rows: int, orders: int) -> dict[str, Any]:
        """Speed and loss of our SFT and TRL's on the first `rows` rows of the mixture."""
        of_both: dict[str, Any] = {"mixture": str(mixture.path), "longest": longest}
        given = {**of_both, "start": str(start.path), "learning_rate": _LEARNING_RATE, "rows": rows}
        folders = {name: str(self.scratch / name) for name in ("sft_ours", "sft_trl")}
        seconds = {run: self._measured(run, {**given, "save": folder})["seconds"] for run, folder in folders.items()}
        lengths = rows_of(str(mixture.path), longest)["n_tokens"].to_pylist()[:rows]
        tokens, limit = sum(lengths), _limit(lengths)
        rates = ", TRL ".join(f"{tokens / seconds[run]:.1f}" for run in folders)
        print(f"{rows} rows, {tokens} tokens; random batches of {TRL_ROWS} fill {1 / limit:.1%} of their slots")
        print(f"sft, tokens a second of {self._clock} time: ours {rates}", flush=True)
        models = list(folders.values())
        for order in range(1, orders):
            models.append(f"{folders['sft_ours']}_{order}")
            self._measured("sft_ours", {**given, "save": models[-1], "order": order})
        losses = self._measured("held_out_losses", {**of_both, "models": models, "after": rows})["losses"]
        ours, theirs, *others = map(fmean, losses)
        said = ", ".join(f"{loss:.4f}" for loss in (ours, *others))
        print(f"loss on {len(losses[0])} other rows: TRL {theirs:.4f}, ours in {orders} orders of the rows {said}")
        return {"sft_speedup": round(seconds["sft_trl"] / seconds["sft_ours"], 2), "sft_limit": round(limit, 2)}

    def dpo(self, start: Artifact, preferences: Artifact, pairs: int, full: bool, repeats: int) -> float:
        """How much faster steps are that find their reference log-probabilities."""
        given = {"start": str(start.path), "preferences": str(preferences.path)}
        done = self._measured("dpo", {**given, "pairs": pairs, "full": full, "repeats": repeats})
        seconds = {how: median(spent) for how, spent in done["seconds"].items()}
        name = "full" if full else "LoRA"
        print(
            f"dpo {name}: {seconds['cached']:.1f} s with what was kept, {seconds['computed']:.1f} s without; ", end=""
        )
        print(f"last losses {done['losses']['cached']:.6f} and {done['losses']['computed']:.6f}", flush=True)
        speedup: float = round(seconds["computed"] / seconds["cached"], 2)
        return speedup

    def grpo(self, start: Artifact, steps: int) -> float:
        """How much faster a step is that reads each prompt once for all its answers."""
        runs = [self._measured("grpo", {"start": str(start.path), "ours": o, "steps": steps}) for o in (True, False)]
        ours, theirs = ([run["seconds"] / steps, run["length"]] for run in runs)
        print(f"grpo, 64 answers a step: ours {ours[0]:.1f} s (answers of {ours[1]:.1f} tokens), ", end="")
        print(f"TRL {theirs[0]:.1f} s ({theirs[1]:.1f} tokens)", flush=True)
        speedup: float = round(theirs[0] / ours[0], 2)
        return speedup

    def overhead(self, start: Artifact, mixture: Artifact, longest: int, steps: int) -> float:
        """Wall seconds around the steps of a stage: launched through the graph, less those of the bare script."""
        given: dict[str, Any] = {"start": str(start.path), "mixture": str(mixture.path), "longest": longest}
        given["learning_rate"] = _LEARNING_RATE
        began = time.perf_counter()
        save = str(self.scratch / "bare")
        bare = self._measured("sft_ours", {**given, "rows": steps * TRL_ROWS, "save": save}, clock="wall")
        around_bare = time.perf_counter() - began - bare["seconds"]
        began = time.perf_counter()
        self.graph("--select", "sft", "--force", "--set", f"sft.max_steps={steps}")
        wall = time.perf_counter() - began
        made = (self.home / "objects" / "training" / "sft").glob("*/.record.json")
        newest = max(made, key=lambda record: record.stat().st_mtime)
        around = wall - self.store.open(newest.parent).metrics["device_seconds"]
        print(f"around the steps: {around:.1f} s through the graph, {around_bare:.1f} s bare ", end="")
        print(f"({(around - around_bare) / _STAGE_S:.1%} of ten minutes)", flush=True)
        overhead: float = round(around - around_bare, 1)
        return overhead

    def _recipe(self) -> Path:
        fields = yaml.safe_load((SHIPPED / "demo.yaml").read_text(encoding="utf-8"))
        fields["sources"]["caution"]["answers"] = str(SHIPPED / "answers" / "safety.yaml")
        for rule in fields["preferences"]["pairs"]["pairs"]:
            if "answers" in rule:
                rule["answers"] = str(SHIPPED / "answers" / "safety.yaml")
        fields["mixtures"]["ragged"] = _RAGGED
        fields["stages"]["sft"] = stage_fields(_LEARNING_RATE)
        path = self.home / "training.yaml"
        path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
        return path

    def _measured(self, run: str, given: dict[str, Any], clock: str | None = None) -> dict[str, Any]:
        timed = {} if run == "held_out_losses" else {"clock": clock or self._clock}
        given = given | timed
        out = self._run(["-m", "benchmarks.training_runs", run, json.dumps(given)], quiet=True)
        found: dict[str, Any] = json.loads(out.strip().rpartition("\n")[2])
        return found

    def _run(self, arguments: list[str], quiet: bool = False, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
        )
        if not quiet:
            print(done.stdout, flush=True)
        if done.returncode != DONE:
            raise SystemExit(f"{' '.join(arguments[:3])} failed:\n{done.stdout}")
        return done.stdout


def _limit(lengths: list[int]) -> float:
    """Slots of random batches of eight over tokens, the mean of a hundred orders."""
    draw, slots = random.Random(0), 0
    for _ in range(100):
        order = draw.sample(lengths, len(lengths))
        batches = [order[at : at + TRL_ROWS] for at in range(0, len(order), TRL_ROWS)]
        slots += sum(len(batch) * max(batch) for batch in batches)
    return slots / 100 / sum(lengths)


if __name__ == "__main__":
    main()
