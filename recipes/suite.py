"""The frozen suite that scores every checkpoint, and its tasks."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from recipes.execution import Execution
from recipes.origins import Columns, Origin
from recipes.section import Name, Section


class TaskBase(Section):
    """One benchmark of a suite. `limit` draws that many items by `sample_seed`; none means all."""

    limit: int | None = Field(default=None, ge=1)
    sample_seed: int = Field(default=0, ge=0)


class IfevalTask(TaskBase):
    """IFEval (Zhou et al. 2023), lm-eval's own task code, on pinned rows."""

    kind: Literal["ifeval"]
    data: Origin
    punkt: Origin = Field(description="NLTK punkt_tab, which the checkers need")
    max_new_tokens: int = Field(default=1280, ge=1)


class MmluTask(TaskBase):
    """MMLU (Hendrycks et al. 2021), lm-eval's own task code: continuation form scores the answers' text."""

    kind: Literal["mmlu"]
    data: Origin
    form: Literal["continuation"] = "continuation"
    shots: Literal[0, 5] = 0


class VerifierTask(TaskBase):
    """Held-out problems of a gym source, scored by the task's own verifier."""

    kind: Literal["verifier"]
    data: Origin
    max_new_tokens: int = Field(default=32, ge=1)

    @field_validator("data")
    @classmethod
    def _is_held_out(cls, data: Origin) -> Origin:
        if data.scheme != "gym" or "split=held_out" not in data.uri:
            raise ValueError("verifier data is a gym:// uri with split=held_out")
        return data


class RefusalTask(TaskBase):
    """Share of prompts that a model refuses. On harmful prompts higher is better, on benign ones lower."""

    kind: Literal["refusal"]
    data: Origin
    prompts: Literal["harmful", "benign"]
    columns: Columns = Columns()
    max_new_tokens: int = Field(default=64, ge=1)


class PhrasesTask(TaskBase):
    """Share of answers that say one of `phrases`; rows are `{prompt}`, or lines of text."""

    kind: Literal["phrases"]
    data: Origin
    phrases: list[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]] = Field(min_length=1)
    wanted: bool = Field(default=True, description="false: a lower share is better")
    max_new_tokens: int = Field(default=64, ge=1)


Task = Annotated[IfevalTask | MmluTask | VerifierTask | RefusalTask | PhrasesTask, Field(discriminator="kind")]


class Evaluation(Section):
    """The frozen suite that scores every checkpoint. Batch and dtype change bf16 outputs, so they are identity."""

    tasks: dict[Name, Task] = Field(min_length=1)
    reports: list[Name] = Field(min_length=1, description="checkpoints to report: base and stages")
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    execution: Execution = Execution()
