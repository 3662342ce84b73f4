"""Many networks: groups of them over threads, within a memory budget.

Networks that share a random stream are always computed in groups of at least two (a batched product over a single
network may round otherwise), so the same command gives the same bytes at any budget and any number of threads.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from resexp.core.lab import Lab
from resexp.core.network import Engine
from resexp.signal.observer import Pass
from resexp.signal.plan import Plan, plan
from resexp.signal.propagator import Propagator
from resexp.signal.stack import Stack
from resexp.signal.threads import Work, over_threads

Job = tuple[range, slice]


def propagate(
    lab: Lab,
    stack: Stack,
    draws: int,
    rows: Sequence[int] | None = None,
    engine: Engine = "explicit",
    *,
    forward: bool = True,
) -> Pass:
    """Forward and backward numbers of `draws` independent networks; arrays of the Pass are (rows, draws).

    rows: blocks to record, all if not given; forward: whether forward numbers are wanted, which are nan otherwise.
    """
    rows = range(stack.depth + 1) if rows is None else rows
    planned = plan(lab, stack, draws, len(rows), engine)
    jobs = list(_jobs(planned, draws))
    passes = 2 if planned.packed or planned.segment >= stack.depth else 3
    work, local = Work(lab, passes * stack.depth * len(jobs)), threading.local()

    def run(job: Job) -> Pass:
        with torch.inference_mode():
            if not hasattr(local, "propagator"):
                local.propagator = Propagator(lab, stack, planned, rows, work.advance, forward=forward)
            result: Pass = local.propagator.run(*job)
        return result

    return _join(over_threads(run, jobs, lab.threads, work), draws)


def _jobs(planned: Plan, draws: int) -> Iterator[Job]:
    for first in range(0, -(-draws // planned.tile), planned.tiles):
        for start in range(0, planned.tile, planned.group):
            yield range(first, first + planned.tiles), slice(start, start + planned.group)


def _join(passes: list[Pass], draws: int) -> Pass:
    names = [name for name in Pass.__dataclass_fields__ if name != "blocks"]
    joined = {name: np.concatenate([getattr(p, name) for p in passes], axis=1)[:, :draws] for name in names}
    return Pass(passes[0].blocks, **joined)


def estimate_seconds(lab: Lab, stack: Stack, draws: int, rows: int, engine: Engine = "explicit") -> float:
    """Seconds that `draws` networks would take, from one group through at most sixteen blocks, run three times."""
    torch.set_num_threads(1)
    planned = plan(lab, stack, draws, rows, engine)
    short = replace(stack, depth=min(stack.depth, 16 if engine == "law" else 4))
    segment = min(planned.segment, short.depth)
    elapsed = []
    with torch.inference_mode():
        propagator = Propagator(lab, short, replace(planned, segment=segment), (0, short.depth))
        for first in range(3):
            start = time.perf_counter()
            propagator.run(range(first, first + planned.tiles), slice(0, planned.group))
            elapsed.append(time.perf_counter() - start)
    again = 1.0 if planned.packed or planned.segment >= stack.depth else 1.5
    groups = len(list(_jobs(planned, draws)))
    return again * min(elapsed) / (short.depth + 1) * (stack.depth + 1) * groups / lab.threads
