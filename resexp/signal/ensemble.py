"""Many networks: tiles over threads, within a memory budget.

Tiles are always computed whole and in the same groups of at least two (a batched product over a single network
may round otherwise), so the same command gives the same bytes at any budget and any number of threads.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.signal.observer import Pass
from resexp.signal.propagator import Propagator
from resexp.signal.stack import Stack

WORKING_TENSORS = 6
STATISTICS = 16 * 8  # bytes of a network and block: seven numbers, and copies of them while they are judged


@dataclass(frozen=True)
class Plan:
    """How an ensemble fits the memory budget. group: networks at once; memory: bytes at the peak."""

    group: int
    keep_weights: bool
    memory: int


def plan(lab: Lab, stack: Stack, draws: int) -> Plan:
    """Choose the fastest way that fits lab.memory; raise UsageError with the estimate where none does."""
    statistics = draws * (stack.depth + 1) * STATISTICS
    groups = [stack.tile // divisor for divisor in (1, 2, 4) if stack.tile // divisor >= 2]
    smallest = 0
    for group in groups:
        for keep_weights in (True, False) if group == stack.tile else (False,):
            memory = statistics + lab.threads * _group_memory(lab, stack, group, keep_weights)
            if memory <= lab.memory:
                return Plan(group, keep_weights, memory)
            smallest = memory
    raise UsageError(
        f"depth {stack.depth}, width {stack.width}, batch {stack.batch}, draws {draws} need about "
        f"{_bytes(smallest)} of memory and the budget is {_bytes(lab.memory)}: lower one of them, or raise --memory."
    )


def _group_memory(lab: Lab, stack: Stack, group: int, keep_weights: bool) -> int:
    item = 8 if lab.dtype == "float64" else 4
    signal = group * stack.batch * stack.width * item
    weights = group * stack.width**2 * item
    drawing = stack.tile * stack.width**2 * (item + 12)
    kept = stack.depth * stack.matrices * weights if keep_weights else 0
    return signal * (stack.depth * stack.saved_tensors + WORKING_TENSORS) + kept + drawing + 2 * weights


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def propagate(lab: Lab, stack: Stack, draws: int) -> Pass:
    """Forward and backward numbers of `draws` independent networks; arrays of the Pass are (rows, draws)."""
    planned = plan(lab, stack, draws)
    torch.set_num_threads(1)  # tiles run side by side instead: the same bytes at any number of threads
    tiles = -(-draws // stack.tile)
    jobs = [
        (tile, slice(start, start + planned.group))
        for tile in range(tiles)
        for start in range(0, stack.tile, planned.group)
    ]
    done, lock, local = 0, threading.Lock(), threading.local()

    def run(job: tuple[int, slice]) -> Pass:
        nonlocal done
        with torch.inference_mode():
            if not hasattr(local, "propagator"):
                local.propagator = Propagator(lab, stack, planned.group, planned.keep_weights)
            result: Pass = local.propagator.run(*job)
        with lock:
            done += 1
            lab.progress(done, len(jobs))
        return result

    return _join(list(_over_threads(run, jobs, lab.threads)), draws)


def _over_threads(
    run: Callable[[tuple[int, slice]], Pass], jobs: list[tuple[int, slice]], threads: int
) -> Iterator[Pass]:
    if threads == 1:
        yield from map(run, jobs)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(run, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _join(passes: list[Pass], draws: int) -> Pass:
    names = Pass.__dataclass_fields__
    return Pass(*(np.concatenate([getattr(p, name) for p in passes], axis=1)[:, :draws] for name in names))


def estimate_seconds(lab: Lab, stack: Stack, draws: int) -> float:
    """Seconds that `draws` networks would take, from one tile of a stack of at most four blocks, run three times."""
    torch.set_num_threads(1)
    short = replace(stack, depth=min(stack.depth, 4))
    keep = plan(lab, stack, draws).keep_weights
    elapsed = []
    with torch.inference_mode():
        propagator = Propagator(lab, short, stack.tile, keep)
        for tile in range(3):
            start = time.perf_counter()
            propagator.run(tile, slice(0, stack.tile))
            elapsed.append(time.perf_counter() - start)
    return min(elapsed) / (short.depth + 1) * (stack.depth + 1) * -(-draws // stack.tile) / lab.threads
