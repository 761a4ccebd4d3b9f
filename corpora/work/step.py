"""A task of ours as a datatrove pipeline step. Imports datatrove when it is imported."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep  # noqa: TID253

from corpora.work.task import Task


class CorpusTask(PipelineStep):  # type: ignore[misc]
    """Rank i of n does the i-th of n tasks; nothing flows from step to step but files."""

    type = "Corpus"

    def __init__(self, stage: str, folder: Path, numbers: list[int]) -> None:
        self.name = stage
        super().__init__()
        self._folder = folder
        self._numbers = numbers

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        if world_size != len(self._numbers):
            raise ValueError(f"{self.name}: {len(self._numbers)} tasks given to {world_size} ranks")
        with self.track_time():
            try:
                Task(self._folder, self._numbers[rank]).run()
            except Exception:  # datatrove logs the values of variables beside a traceback, and so sensitive text
                raise RuntimeError(traceback.format_exc()) from None
        yield from data or ()
