"""Log-probabilities that the reference model gives to preference pairs, computed once and kept in the store.

A sealed object of its own (`reference_logprobs`), found again by a second beta, a second epoch, a retry. Its
identity is what the numbers depend on: the start checkpoint and the pairs by digest (both hold the chat template's
work: tokenizer and token ids), and how products are taken, down to the rows that are computed together; so a training
ends in the same bytes whether it found the numbers or made them. Beta, learning rate, seed and epochs are no part
of it. The dpo job makes it with the model that it has loaded anyway, and needs no second model in memory: as a node
of the graph it would be a second process that loads the model for a single pass over the pairs.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.progress import Progress, say
from lineage.errors import Interrupted
from lineage.hashing import fingerprint
from lineage.store import Request
from recipes.stages import StageBase

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 2
NODE = "reference_logprobs"
FILE = "logprobs.parquet"
COLUMNS = ("ref_chosen_logps", "ref_rejected_logps")
"""Sums over an answer's tokens, in nats; the names under which TRL looks for them in a batch."""


def of_pairs(
    trainer: Any, batches: list[list[int]], needed: int, job: Job, stage: StageBase, stop: threading.Event
) -> "pa.Table":
    """Columns `COLUMNS` for the first places of the trainer's training set: found in the store, or sealed there.

    trainer: a TRL DPO trainer before its first step, whose policy still is the reference. batches: places that are
    computed together, all of them once. needed: how many places all steps take; a job that ends within its first
    epoch does not compute the others. Raises Interrupted when `stop` was set while they were made.
    """
    import pyarrow.parquet as pq

    wanted = [batch for batch in batches if batch[0] < needed]
    for known in (batches, wanted):
        found = job.store.find(request_for(trainer, known, job, stage))
        if found is not None:
            job.store.verify(found)
            say(f"{job.ref}: reference log-probabilities are there already: {found.path}")
            break
    else:
        found = _made(trainer, wanted, job, request_for(trainer, wanted, job, stage), stop)
    return pq.read_table(found.path / FILE)


def request_for(trainer: Any, batches: list[list[int]], job: Job, stage: StageBase) -> Request:
    import torch

    on_cpu = trainer.args.device.type == "cpu"
    payload = {
        "node": NODE,
        "version": VERSION,
        "inputs": {name: job.inputs[name].digest for name in ("start", "preferences")},
        "numerics": {
            "weights": str(trainer.model.dtype),
            "quantization": stage.lora.quantization if stage.lora else None,
            "products": stage.precision,
            "attention": trainer.model.config._attn_implementation,
            "length_desensitisation": trainer.ld_alpha,
            "device": f"cpu, {torch.get_num_threads()} threads" if on_cpu else torch.cuda.get_device_name(),
            "batches": fingerprint(batches),
        },
    }
    return Request(job.recipe, NODE, payload, job.overridden)


def _made(trainer: Any, batches: list[list[int]], job: Job, request: Request, stop: threading.Event) -> Any:
    """Every process computes its share; the first one seals all of it."""
    from accelerate.utils import gather_object

    mine = batches[trainer.args.process_index :: trainer.args.world_size]
    shares = gather_object([computed(trainer, mine, job.ref, stop)])
    if trainer.args.process_index == 0:
        values = {place: pair for share in shares for place, pair in share.items()}

        def write(work: Path) -> dict[str, Any]:
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = zip(*(values[place] for place in sorted(values)), strict=True)
            table = pa.table([pa.array(column, pa.float32()) for column in columns], names=COLUMNS)
            pq.write_table(table, work / FILE)
            return {"pairs": len(values)}

        inputs: dict[str, str] = request.payload["inputs"]
        job.store.build(request, write, config=request.payload, inputs=inputs, ref=f"{NODE}/{job.ref}")
    trainer.accelerator.wait_for_everyone()
    return job.store.find(request)


def computed(
    trainer: Any, batches: list[list[int]], label: str = "dpo", stop: threading.Event | None = None
) -> dict[int, tuple[float, float]]:
    """Reference log-probabilities of chosen and rejected answer by place. Raises Interrupted when `stop` was set."""
    import torch

    progress = Progress(f"{label} reference", len(batches), "micro-batches")
    values: dict[int, tuple[float, float]] = {}
    was_training = trainer.model.training
    trainer.model.eval()
    with torch.inference_mode():
        for done, places in enumerate(batches):
            if stop is not None and stop.is_set():
                raise Interrupted(f"{label}: stopped while the reference model read the pairs")
            inputs = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[place] for place in places]))
            pairs = zip(*(side.tolist() for side in trainer.compute_ref_log_probs(trainer.model, inputs)), strict=True)
            values |= zip(places, pairs, strict=True)
            progress.update(done + 1)
    trainer.model.train(was_training)
    return values
