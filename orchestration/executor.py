"""Steps in processes of their own, each forked from one that has already imported what every step needs.

Every run passes through here in the process that executes it, whether from the terminal or from the UI: it is where a
run begins to be seen alive (`orchestration.liveness`).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from lineage.store import home_folder
from orchestration.home import work_for
from orchestration.liveness import hold_run

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.retries import RetryMode
    from dagster._core.execution.step_dependency_config import StepDependencyConfig


class LivingRun(dg.Executor):
    """Executes by `steps`, and holds the run's lock from the first event to the end of the process."""

    def __init__(self, steps: dg.Executor) -> None:
        self._steps = steps

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> Iterator[dg.DagsterEvent]:
        run = plan_context.dagster_run
        hold_run(home_folder(), run.run_id, run.job_name)
        now = plan_context.instance.get_run_by_id(run.run_id)
        if now is None or now.is_finished:
            raise dg.DagsterInvariantViolationError(f"Run {run.run_id} was ended before it began.")
        work_for(run.run_id)
        yield from self._steps.execute(plan_context, execution_plan)

    @property
    def retries(self) -> "RetryMode":
        return self._steps.retries

    @property
    def step_dependency_config(self) -> "StepDependencyConfig":
        return self._steps.step_dependency_config


def _create(_context: dg.InitExecutorContext) -> LivingRun:
    from dagster._core.execution.retries import RetryMode
    from dagster._core.executor.multiprocess import MultiprocessExecutor

    steps = MultiprocessExecutor(
        retries=RetryMode.ENABLED,
        max_concurrent=None,
        start_method="forkserver",
        explicit_forkserver_preload=["orchestration.preload"],
    )
    return LivingRun(steps)


EXECUTOR = dg.ExecutorDefinition(
    "multiprocess", requirements=dg.multiple_process_executor_requirements(), executor_creation_fn=_create
)
