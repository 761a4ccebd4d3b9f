"""A reward model scores candidates: as it was trained to read, alike alone and beside others, and never twice."""

from pathlib import Path
from typing import Any

import pytest

from corpora.tables.tables import CANDIDATES, SIGNAL, candidates_schema, rows_of, writing
from jobs.job import Job
from lineage.store import Artifact
from models.template import ChatTemplate
from recipes.errors import DONE, REFUSED
from tests import tiny
from tests.training.made_jobs import reward_job, reward_signal_job, run_here


def sealed(job: Job) -> Artifact:
    found = job.store.find(job.request)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact, Artifact]:
    """A home with a reward model, and candidates of five prompts, of whose answers one was cut."""
    home = tmp_path_factory.mktemp("home")
    judge = reward_job(tiny_base, home, max_steps=2)
    assert run_here(judge) == DONE
    return home, sealed(judge), tiny.sealed(home, "candidates/tries", lambda work: _candidates(work, tiny_base))


def _candidates(work: Path, base: Path) -> None:
    template = ChatTemplate.load(base)
    with writing(work / CANDIDATES, candidates_schema(), {}) as table:
        for number in range(5):
            prompt = [{"role": "user", "content": f"What is {number} and two?"}]
            words = [" ".join(["so"] * (1 + 3 * n)) for n in range(4)]
            answers: list[dict[str, Any]] = [
                {"text": one, "ids": template.tokenise(one), "logprob": -1.0, "finish": "stop"} for one in words
            ]
            answers[2]["finish"] = "length"
            row = {"id": f"{number:064x}", "source": "sums", "sensitive": False, "prompt": prompt, "answers": answers}
            table.add({**row, "prompt_ids": template.prompt_ids(prompt)})


def test_scores_are_the_reward_model_s_of_the_whole_conversation(made: tuple[Path, Artifact, Artifact]) -> None:
    import torch

    from training.rewards import RewardModel

    home, judge, candidates = made
    job = reward_signal_job(home, judge, candidates)
    assert run_here(job) == DONE
    found = sealed(job)
    assert found.failed_checks == [] and found.metrics["checks"]["scored_alone"]["blocking"]
    assert (found.metrics["answers"], found.metrics["without"]) == (15, 5)
    model = RewardModel(judge.path, torch.device("cpu"), 1)
    end = ChatTemplate.load(judge.path).end_of_turn_id
    for row, told in zip(rows_of(candidates.path / CANDIDATES), rows_of(found.path / SIGNAL), strict=True):
        own = [model.rewards([[*row["prompt_ids"], *answer["ids"], end]])[0] for answer in row["answers"]]
        assert told["values"][2] is None
        assert [told["values"][n] for n in (0, 1, 3)] == pytest.approx([own[n] for n in (0, 1, 3)], abs=1e-4)


def test_what_was_scored_before_a_stop_is_not_scored_again(
    made: tuple[Path, Artifact, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import rewards

    home, judge, candidates = made
    asked: list[int] = []
    scores = rewards.RewardModel.rewards

    def counted(self: Any, rows: Any) -> Any:
        asked.append(len(rows))
        if len(asked) == 3:
            raise RuntimeError("out of luck")
        return scores(self, rows)

    monkeypatch.setattr(rewards.RewardModel, "rewards", counted)
    job = reward_signal_job(home, judge, candidates, batch_size=2)
    with pytest.raises(RuntimeError, match="out of luck"):  # as a crash
        run_here(job)
    assert run_here(job) == DONE
    of_prompts = [count for count in asked if count == 3]
    assert len(of_prompts) == 1 + 5 + 1, "five prompts, the one that failed again, and the first for the check"


def test_a_checkpoint_that_is_no_reward_model_is_refused(
    made: tuple[Path, Artifact, Artifact], tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, _, candidates = made
    plain = tiny.sealed(home, "base", lambda work: tiny.write_checkpoint(work))
    assert run_here(reward_signal_job(home, plain, candidates)) == REFUSED
    assert "is no reward model: it lacks score.weight" in capsys.readouterr().out
