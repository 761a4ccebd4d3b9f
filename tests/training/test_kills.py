"""The benchmark of kills, with a few of them: whatever moment a job is killed at, it ends as if it had not been."""

from pathlib import Path

from benchmarks import resume


def test_jobs_killed_at_random_moments_end_bit_equal(tmp_path: Path) -> None:
    found = resume.figures(tmp_path, list(resume.JOBS), kills=1, seed=5)
    assert set(found) == set(resume.JOBS)
    for figures in found.values():
        assert figures["kills"] == figures["bit_equal"] == sum(figures["where"].values()) == 1
