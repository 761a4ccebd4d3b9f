"""Corpus steps on datatrove's executors: this machine's for real, Slurm's by stand-ins for its commands.

The stand-ins run what was submitted on this machine: they show that the script and its arguments do the work, not
that a cluster would take them.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from corpora.work.run import run_tasks
from lineage.errors import CorpusError
from recipes.execution import CorporaExecution
from tests.corpora.test_corpus_tasks import killed, refusing, squared

SLURM = CorporaExecution.model_validate(
    {
        "runner": "datatrove",
        "executor": "slurm",
        "workers": 2,
        "partition": "cpu",
        "time_limit": "1:00:00",
        "memory_gb": 3,
    }
)

_SBATCH = """#!/bin/bash
set -e
script="${@: -1}"
cp "$script" "$SUBMITTED/$(ls "$SUBMITTED" | wc -l).sh"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
status=0
for number in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$number SLURM_JOB_ID=7 SLURM_NODELIST=here bash "$script" >> "$SUBMITTED.log" 2>&1 || status=1
done
echo "Submitted batch job 7"
exit $status
"""
_SRUN = '#!/bin/bash\nwhile [ "$1" != launch_pickled_pipeline ]; do shift; done\nexec "$@"\n'
_SCONTROL = "#!/bin/bash\necho here\n"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the scripts that were submitted."""
    commands, submitted = tmp_path / "bin", tmp_path / "submitted"
    commands.mkdir()
    submitted.mkdir()
    for name, script in {"sbatch": _SBATCH, "srun": _SRUN, "scontrol": _SCONTROL}.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("SUBMITTED", str(submitted))
    monkeypatch.setenv("PATH", f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return submitted


def values(folder: Path) -> list[tuple[Path, int]]:
    return [(folder, number) for number in range(3)]


def test_tasks_run_on_the_local_executor(tmp_path: Path) -> None:
    execution = CorporaExecution(runner="datatrove", workers=2)
    results = run_tasks("squares", squared, values(tmp_path), execution, tmp_path)
    assert [result["square"] for result in results] == [0, 1, 4]
    assert os.getpid() not in {result["process"] for result in results}


def test_an_error_of_a_task_comes_back_through_datatrove(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^two\.jsonl: line 2 is no use; mend it$"):
        run_tasks("refusing", refusing, [0, 1, 2], CorporaExecution(runner="datatrove", workers=1), tmp_path)


def test_tasks_run_from_the_script_that_slurm_is_given(slurm: Path, tmp_path: Path) -> None:
    results = run_tasks("squares", squared, values(tmp_path), SLURM, tmp_path)
    assert [result["square"] for result in results] == [0, 1, 4]
    script = (slurm / "0.sh").read_text()
    wanted = {"wait", "array=0-2%2", "partition=cpu", "time=1:00:00", "mem-per-cpu=3G", "cpus-per-task=1"}
    lines = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert wanted <= lines
    assert not any(line.startswith("qos") for line in lines)


def test_slurm_is_given_only_what_is_left(slurm: Path, tmp_path: Path) -> None:
    run_tasks("squares", squared, values(tmp_path)[:2], CorporaExecution(workers=1), tmp_path)
    run_tasks("squares", squared, values(tmp_path), SLURM, tmp_path)
    assert "#SBATCH --array=0-0%1\n" in (slurm / "0.sh").read_text()
    assert (tmp_path / "runs").read_text().split() == ["0", "1", "2"]


def test_a_job_that_slurm_reports_as_failed_is_told_plainly(slurm: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^killing: sbatch failed: .* logs are in .*\.tasks/killing/datatrove"):
        run_tasks("killing", killed, [0], SLURM, tmp_path)


def test_without_slurm_sbatch_is_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match=r"^squares: sbatch failed: .*No such file or directory: 'sbatch'"):
        run_tasks("squares", squared, values(tmp_path), SLURM, tmp_path)


def test_a_ray_job_is_given_what_the_recipe_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.executor import RayPipelineExecutor

    asked: list[Any] = []

    def run(executor: Any) -> None:
        asked.append(executor)
        for rank in executor.get_incomplete_ranks(range(executor.world_size)):
            executor._run_for_rank(rank)

    monkeypatch.setattr(RayPipelineExecutor, "run", run)
    execution = CorporaExecution(runner="datatrove", executor="ray", workers=2, memory_gb=3)
    results = run_tasks("squares", squared, values(tmp_path), execution, tmp_path)
    assert [result["square"] for result in results] == [0, 1, 4]
    assert (asked[0].tasks, asked[0].workers, asked[0].mem_per_cpu_gb) == (3, 2, 3)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_it_is_asked_for(tmp_path: Path) -> None:
    execution = CorporaExecution(runner="datatrove", executor="ray", workers=1)
    with pytest.raises(CorpusError, match=r"corpora\.executor is ray: Please install `ray`"):
        run_tasks("squares", squared, values(tmp_path), execution, tmp_path)


def test_text_is_kept_out_of_datatrove_s_logs(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("harmful" + " text")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_tasks("failing", failing, [tmp_path / "rows"], CorporaExecution(runner="datatrove", workers=1), tmp_path)
    logs = "".join(path.read_text() for path in (tmp_path / ".tasks/failing/datatrove/logs").iterdir())
    assert "ZeroDivisionError" in logs and "harmful text" not in logs


def failing(path: Path) -> float:
    text = path.read_text()
    return len(text) / 0
