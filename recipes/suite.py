"""The frozen suite that scores every checkpoint, and its tasks.

A language model that judges has an opinion, not the truth, so metrics of a judge inform and decide nothing, unless its
task says `advisory: false`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from recipes.execution import EvaluationExecution, Server
from recipes.section import Name, Section
from recipes.sources import Columns, Origin


class TaskBase(Section):
    """One benchmark of a suite. `limit` draws that many items by `sample_seed`; none means all.

    What is known of every task of its kind stands in its class:
    """

    asks: ClassVar[Literal["answers", "likelihoods"]] = "answers"
    """What it needs of the model: answers alone, or log-probabilities of given ones, which not every back end has."""
    metrics: ClassVar[tuple[str, ...]]
    """What a target or a guard may name."""
    question: ClassVar[tuple[str, ...]] = ()
    """The field of a row that holds the question: the first of these that it has, by dotted path."""
    choices: ClassVar[tuple[str, ...]] = ()
    choice_list: ClassVar[str] = ""
    """Where the answers to choose from stand: in fields of their own, or in a list at a dotted path."""
    no_items: ClassVar[tuple[str, str] | None] = None
    """A field and the value by which a row of the published data is none of its items."""
    generated: ClassVar[bool] = False
    """Whether items are problems of a generator, whose neighbours differ by a number."""
    discordance: ClassVar[float] = 0.20
    """Share of outcomes assumed to change between two equally good models; of graded scores, the mean square."""
    published: ClassVar[int | None] = None
    """Items of the whole published test set; `limit` says so where there are more."""
    unit: ClassVar[str] = "questions"
    """What its items are called while they are counted."""
    version: ClassVar[int | None] = None
    """Raised when the way of asking or scoring of this kind alone changes."""

    limit: int | None = Field(default=None, ge=1)
    sample_seed: int = Field(default=0, ge=0)

    @property
    def confidential(self) -> bool:
        """Whether its texts are shown nowhere."""
        return False


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

    @property
    def confidential(self) -> bool:
        return self.sensitive


class PairwiseJudgeTask(JudgedTask):
    """Answers against a baseline's, in both orders (AlpacaEval 2, Arena-Hard, MT-Bench in pairs).

    `levels`: 3 are better, tie, worse; 5 also tell much better from better. The baseline's answers stand in the rows,
    or in rows of their own, `answers`, that have the same `columns.id`.
    """

    metrics = ("win_rate", "length_controlled_win_rate")

    kind: Literal["pairwise_judge"]
    levels: Literal[3, 5] = 3
    answers: Origin | None = None


class GradedJudgeTask(JudgedTask):
    """Each answer of a conversation gets a grade from 1 to 10 (MT-Bench)."""

    metrics = ("grade",)

    kind: Literal["graded_judge"]


Backend = Literal["transformers", "server", "vllm", "sglang"]


class IfevalTask(TaskBase):
    """IFEval (Zhou et al. 2023), lm-eval's own task code, on pinned rows."""

    metrics, question = ("prompt_strict", "instruction_strict"), ("prompt",)

    kind: Literal["ifeval"]
    data: Origin
    punkt: Origin = Field(description="NLTK punkt_tab, which the checkers need")
    max_new_tokens: int = Field(default=1280, ge=1)


class MmluTask(TaskBase):
    """MMLU (Hendrycks et al. 2021), lm-eval's own task code: continuation form scores the answers' text, letter form
    their letters."""

    asks = "likelihoods"
    metrics, question = ("accuracy",), ("question",)
    choices, choice_list = ("answer_a", "answer_b", "answer_c", "answer_d"), "choices"
    no_items = ("correct_answer", "answer")  # a header row of the CSV that these rows once were
    discordance = 0.10

    kind: Literal["mmlu"]
    data: Origin
    form: Literal["continuation", "letter"] = "continuation"
    shots: Literal[0, 5] = 0


class MmluProTask(TaskBase):
    """MMLU-Pro (Wang et al. 2024), lm-eval's own task code: reasoned answers to questions of up to ten choices."""

    metrics, question, choice_list = ("accuracy",), ("question",), "options"

    kind: Literal["mmlu_pro"]
    data: Origin
    examples: Origin | None = Field(default=None, description="the data set's validation split, for five shots")
    shots: Literal[0, 5] = 5
    max_new_tokens: int = Field(default=2048, ge=1)

    @model_validator(mode="after")
    def _shots_have_examples(self) -> "MmluProTask":
        if self.shots and self.examples is None:
            raise ValueError("five shots need 'examples', the data set's validation split; or set shots: 0")
        return self


class GpqaTask(TaskBase):
    """GPQA (Rein et al. 2023), lm-eval's own zero-shot task; the order of an item's choices follows from the item."""

    asks = "likelihoods"
    metrics, question = ("accuracy",), ("Question",)
    choices = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
    discordance, published = 0.25, 198  # of the diamond set

    kind: Literal["gpqa"]
    data: Origin


class Gsm8kTask(TaskBase):
    """GSM8K (Cobbe et al. 2021), lm-eval's own task code: reasoned answers, with the eight examples that it ships."""

    metrics, question, unit = ("strict_match", "flexible_match"), ("question",), "problems"
    discordance, published = 0.15, 1319

    kind: Literal["gsm8k"]
    data: Origin
    shots: Literal[0, 8] = 8
    max_new_tokens: int = Field(default=512, ge=1)


class AimeTask(TaskBase):
    """AIME of any year, lm-eval's own task code: problems whose answer is a whole number."""

    metrics, question, unit = ("accuracy",), ("Problem", "problem", "Question"), "problems"
    published = 30  # of one year

    kind: Literal["aime"]
    data: Origin
    max_new_tokens: int = Field(default=32768, ge=1)


class TruthfulqaTask(TaskBase):
    """TruthfulQA (Lin et al. 2022), lm-eval's own task code: one true answer (`mc1`), or several (`mc2`)."""

    asks = "likelihoods"
    metrics, question, choice_list = ("mc1", "mc2"), ("question",), "mc1_targets.choices"
    published = 817

    kind: Literal["truthfulqa"]
    data: Origin


class ArcTask(TaskBase):
    """ARC (Clark et al. 2018), lm-eval's own task code: science questions, the challenge set or the easy one."""

    asks = "likelihoods"
    metrics, question, choice_list = ("accuracy", "accuracy_by_length"), ("question",), "choices.text"
    discordance, published = 0.15, 1172  # of the challenge set

    kind: Literal["arc"]
    data: Origin


class CodeTask(TaskBase):
    """Share of functions that pass their tests, HumanEval's way, run in a sandbox. Off until a recipe allows it."""

    metrics, question = ("pass_rate",), ("prompt",)
    version = 2

    kind: Literal["code"]
    data: Origin
    allow_code_execution: bool = False
    seconds: int = Field(default=10, ge=1, description="of CPU time for a program and its tests")
    memory_mb: int = Field(default=512, ge=64)
    max_new_tokens: int = Field(default=1024, ge=1)

    @model_validator(mode="after")
    def _is_allowed(self) -> "CodeTask":
        if not self.allow_code_execution:
            raise ValueError(
                "this task runs programs that the model writes; if that is what you want, set "
                "allow_code_execution: true (they run in a sandbox without network; see docs/evaluation.md)"
            )
        return self


class FunctionsTask(TaskBase):
    """Share of requests answered with exactly the right function calls, BFCL's way, in the template's tool form."""

    metrics, question = ("accuracy",), ("question.0",)

    kind: Literal["functions"]
    data: Origin
    answers: Origin | None = Field(default=None, description="the right calls by id, where they are files of their own")
    max_new_tokens: int = Field(default=256, ge=1)


class PerplexityTask(TaskBase):
    """How well a model foresees held-out text; rows are `{text}`, or lines of text."""

    asks = "likelihoods"
    metrics, question = ("byte_probability",), ("text",)
    discordance = 0.001  # documents' byte probabilities move by about 0.03

    kind: Literal["perplexity"]
    data: Origin
    columns: Columns = Columns()


class VerifierTask(TaskBase):
    """Held-out problems of a gym source, scored by the task's own verifier."""

    metrics, question, generated = ("accuracy",), ("question",), True
    discordance = 0.15

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

    metrics = ("refusal_rate",)
    discordance = 0.10

    kind: Literal["refusal"]
    data: Origin
    prompts: Literal["harmful", "benign"]
    columns: Columns = Columns()
    max_new_tokens: int = Field(default=64, ge=1)

    @property
    def confidential(self) -> bool:
        return self.prompts == "harmful"


class PhrasesTask(TaskBase):
    """Share of answers that say one of `phrases`; rows are `{prompt}`, or lines of text."""

    metrics = ("phrase_rate",)

    kind: Literal["phrases"]
    data: Origin
    phrases: list[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]] = Field(min_length=1)
    wanted: bool = Field(default=True, description="false: a lower share is better")
    max_new_tokens: int = Field(default=64, ge=1)


Task = Annotated[
    IfevalTask
    | MmluTask
    | VerifierTask
    | RefusalTask
    | PhrasesTask
    | MmluProTask
    | GpqaTask
    | Gsm8kTask
    | AimeTask
    | TruthfulqaTask
    | ArcTask
    | CodeTask
    | FunctionsTask
    | PerplexityTask
    | PairwiseJudgeTask
    | GradedJudgeTask,
    Field(discriminator="kind"),
]


class FrozenSuite(Section):
    """The suite file whose tasks a recipe took over."""

    name: Name
    version: int = Field(ge=1)


def _usual(value: str) -> bool:
    """What is as it always was stays out of the identity: older reports do not become stale."""
    return value in ("transformers", "completions")


class Evaluation(Section):
    """The frozen suite that scores every checkpoint. Batch and dtype change bf16 outputs, so they are identity.

    `backend`: what computes the answers: transformers in the job's own process, an OpenAI-compatible `server` that
    serves the checkpoint, or `vllm` or `sglang`, launched by the job. Behind a server, `batch_size` is how many
    requests it has at a time, and `api` says who applies the chat template: we (`completions`) or the server (`chat`).
    """

    suite: FrozenSuite | None = Field(default=None, exclude_if=lambda suite: suite is None)
    tasks: dict[Name, Task] = Field(min_length=1)
    reports: list[Name] = Field(min_length=1, description="checkpoints to report: base and stages")
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    thinking_tokens: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda tokens: tokens == 0,
        description="tokens that a model may think before it answers, in addition to those of the answer; 0: asked not "
        "to think. Thoughts are never scored",
    )
    backend: Backend = Field(default="transformers", exclude_if=_usual)
    api: Literal["completions", "chat"] = Field(default="completions", exclude_if=_usual)
    execution: EvaluationExecution = EvaluationExecution()

    @model_validator(mode="after")
    def _back_end_can_answer(self) -> "Evaluation":
        if self.api == "chat" and self.backend == "transformers":
            raise ValueError("api: chat is of a server; backend transformers has none")
        needing = [name for name, task in self.tasks.items() if task.asks == "likelihoods"]
        if self.api == "chat" and needing:
            raise ValueError(f"api: chat gives no log-probabilities of given answers, which {needing} need")
        return self
