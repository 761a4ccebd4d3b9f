"""What tests of several rooms share. Telemetry is off before any library is imported."""

import os

os.environ |= {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
    # nothing that a test does reaches the servers of whoever runs it
    "MLFLOW_TRACKING_URI": "",
    "MLFLOW_REGISTRY_URI": "",
    "TEMPER_DAGSTER_URL": "",
    "TEMPER_MLFLOW_URL": "",
    "TEMPER_LABELS": "",
    "TEMPER_LABELS_TOKEN": "",
}

import shutil
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import tiny

_LONGEST = ("orchestration/test_end_to_end.py", "training/test_kills.py", "training/test_grpo.py", "orchestration/")
"""Where the longest tests are. They begin first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [*_LONGEST, ""]

    def turn(item: pytest.Item) -> int:
        return next(number for number, place in enumerate(places) if item.nodeid.startswith(f"tests/{place}"))

    items.sort(key=turn)


_WITHOUT_TORCH = find_spec("torch") is None
_ASKS_FOR_TORCH = (
    "requires the PyTorch library",
    "requires PyTorch",
    "lm_eval is not installed",
    *(f"No module named '{name}'" for name in ("torch", "trl", "peft", "accelerate", "bitsandbytes", "lm_eval")),
)


def _asks_for_torch(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return _WITHOUT_TORCH and report.failed and any(words in report.longreprtext for words in _ASKS_FOR_TORCH)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where torch is not installed (`make pythons`), a test that asked for it is skipped."""
    report = yield
    if _asks_for_torch(report):
        report.outcome, report.longrepr = "skipped", (str(item.path), item.location[1] or 0, "needs torch")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So is a file of tests whose imports ask for it."""
    report = yield
    if _asks_for_torch(report):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, "needs torch")
    return report


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed base checkpoint: a tiny random Llama (float32) with the real SmolLM2 tokenizer and template."""
    return tiny.sealed(tmp_path_factory.mktemp("tiny"), "base", tiny.write_checkpoint).path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables and nothing in them: making one takes seconds."""
    from jobs.mlflow_store import prepare_store

    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    prepare_store(f"sqlite:///{database}")
    return database


@pytest.fixture
def home(tmp_path: Path, empty_database: Path) -> Path:
    """A home folder whose MLflow is ready."""
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_database, tmp_path / "mlflow" / "mlflow.db")
    return tmp_path
