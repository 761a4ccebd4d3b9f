"""Tasks that a language model judges: answers against a baseline's, or each for itself.

A judge has an opinion, not the truth, so its metrics inform and decide nothing, unless a task says `advisory: false`.
"""

from typing import Literal

from pydantic import Field

from recipes.origins import Origin
from recipes.section import Section
from recipes.servers import Server
from recipes.task_base import TaskBase


class JudgeServer(Server):
    """Where the judge is asked."""

    url: str | None = Field(default=None, description="TEMPER_JUDGE_URL of the environment when not given")
    requests: int = Field(default=8, ge=1, description="at a time")


class Judge(Section):
    """Any model behind /v1/chat/completions. The model is part of a report's identity, its address is not."""

    model: str = Field(min_length=1)
    max_tokens: int = Field(default=512, ge=1, description="of a verdict with its reason")
    execution: JudgeServer = JudgeServer()


class JudgeColumns(Section):
    """Which field of a row holds what; dotted paths reach into objects, `0` into lists."""

    prompt: str = "prompt"
    turns: str = "turns"
    baseline: str = "baseline"
    reference: str = "reference"
    category: str = "category"
    id: str = "id"


class JudgedTask(TaskBase):
    """What judged tasks share. A row holds `prompt`, or `turns` of a conversation that are asked one after another.

    `reference` answers, where a row has them, are shown to the judge as right ones.
    """

    data: Origin
    judge: Judge
    columns: JudgeColumns = JudgeColumns()
    max_new_tokens: int = Field(default=1024, ge=1)
    max_unparsed: float = Field(
        default=0.05, ge=0, lt=1, description="share of the judge's replies without a verdict that a report survives"
    )
    sensitive: bool = Field(default=False, description="true: neither texts nor the judge's replies are kept")
    advisory: bool = Field(default=True, description="false: promotion may rest on it")


class PairwiseJudgeTask(JudgedTask):
    """Answers against a baseline's, in both orders (AlpacaEval 2, Arena-Hard, MT-Bench in pairs).

    `levels`: 3 are better, tie, worse; 5 also tell much better from better. The baseline's answers stand in the rows,
    or in rows of their own, `answers`, that have the same `columns.id`.
    """

    kind: Literal["pairwise_judge"]
    levels: Literal[3, 5] = 3
    answers: Origin | None = None


class GradedJudgeTask(JudgedTask):
    """Each answer of a conversation gets a grade from 1 to 10 (MT-Bench)."""

    kind: Literal["graded_judge"]
