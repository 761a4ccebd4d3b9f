"""A small project: a recipe on little local data and a tiny model, and its runs by the real command."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from lineage.store import Artifact, Store
from tests.assets.made_pipeline import FIELDS, write_recipe
from tests.tiny import conversation

ROOT = Path(__file__).parent.parent.parent
REPORTS = {"evaluation": {**FIELDS["evaluation"], "reports": ["base", "dpo"]}}


class Project:
    """A recipe folder and the state that its runs write."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.store = Store(self.home)
        folder.mkdir(exist_ok=True)
        (folder / "model").symlink_to(base)
        self.write_chat(60)
        pairs = [{"prompt": a["content"], "chosen": b["content"], "rejected": "No."} for a, b in _talks(24, 500)]
        _write_lines(folder / "pairs.jsonl", pairs)
        self.recipe = write_recipe(folder, "tiny", **REPORTS)

    def write_chat(self, rows: int) -> None:
        talks = [{"instruction": a["content"], "input": "", "output": b["content"]} for a, b in _talks(rows, 0)]
        _write_lines(self.folder / "chat.jsonl", talks)

    def run(self, *arguments: str) -> "Outcome":
        """`temper run`. Raises RuntimeError if it fails."""
        before = self._job_files()
        began = time.monotonic()
        done = self.command(*arguments)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        after = self._job_files()
        jobs = sorted(path.parent.name for path in after if after[path] != before.get(path))
        return Outcome(done.stdout, jobs, time.monotonic() - began)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "orchestration", "run", str(self.recipe), *arguments]
        environment = {**os.environ, "TEMPER_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)

    def job_processes(self) -> list[int]:
        """Pids of training and evaluation processes on this project's state."""
        found = psutil.process_iter(["cmdline"])
        return [p.pid for p in found if any(str(self.home) in part for part in p.info["cmdline"] or ())]

    def ref(self, node: str) -> Artifact:
        artifact = self.store.ref("tiny", node)
        assert artifact is not None
        return artifact

    def _job_files(self) -> dict[Path, int]:
        """Every job that was ever started, with when that was last."""
        return {path: path.stat().st_mtime_ns for path in self.home.glob("objects/**/*.job.json")}


class Outcome:
    """What a run printed, the nodes whose job processes it started, its seconds."""

    def __init__(self, printed: str, jobs: list[str], seconds: float) -> None:
        self.printed, self.jobs, self.seconds = printed, jobs, seconds

    def nodes(self, how: str) -> set[str]:
        """Nodes that the progress display reported as `done` or `reused`."""
        lines = [line.split() for line in self.printed.splitlines()]
        return {words[1] for words in lines if len(words) > 2 and words[2] == how and ":" in words[0]}


def _talks(count: int, seed: int) -> list[list[dict[str, str]]]:
    return [conversation(seed + index) for index in range(count)]


def _write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
