"""How an ensemble fits a memory budget: what is kept for the backward pass and what is computed again.

The numbers are the same to the last bit whichever plan is chosen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from resexp.core.lab import Lab
from resexp.core.network import Engine
from resexp.signal.stack import Stack

WORKING_TENSORS = 6
STATISTICS = 16 * 8  # bytes of a network and recorded block: seven numbers, and copies while they are judged
WEIGHTS_KEPT = 400_000_000  # bytes beyond which fresh memory costs more than drawing the weights again
LAW_TILE = 64
LAW_NETWORKS = 512  # at once: then calls into torch cost a tenth of the arithmetic
LAW_OUTSIDE = 3  # normals a network and example of the law engine that are not a block's, in widths: inputs and ends
LAW_KEPT = 64_000_000  # bytes beyond which keeping a block's signals costs more than computing them again
STRETCH = 10  # blocks whose normals are drawn by one call, where they are few


@dataclass(frozen=True)
class Plan:
    """How to run an ensemble.

    tile: networks that share a random stream; tiles: of them at once, or group < tile: networks of one tile at once;
    keep_weights: hold matrices from the forward to the backward pass, else draw them a second time from their keys;
    packed: keep one bit a unit, which is all that ReLU needs;
    segment: blocks whose signals are kept at a time; the forward pass of each segment but the last runs twice;
    memory: bytes at the peak.
    """

    engine: Engine
    tile: int
    tiles: int
    group: int
    keep_weights: bool
    packed: bool
    segment: int
    memory: int = 0

    @property
    def networks(self) -> int:
        """Networks at once."""
        return self.tiles * self.group


def plan(lab: Lab, stack: Stack, draws: int, rows: int, engine: Engine = "explicit") -> Plan:
    """Choose the fastest way that fits lab.memory; raise UsageError with the estimate where none does.

    rows: blocks that are recorded.
    """
    statistics = draws * rows * STATISTICS
    smallest = math.inf
    for way in _law_plans(lab, stack, draws) if engine == "law" else _explicit_plans(lab, stack):
        memory = statistics + lab.threads * _memory(lab, stack, way)
        if memory <= lab.memory:
            return Plan(**{**vars(way), "memory": memory})
        smallest = min(smallest, memory)
    raise lab.too_large(smallest, f"depth {stack.depth}, width {stack.width}, batch {stack.batch}, draws {draws}")


def _explicit_plans(lab: Lab, stack: Stack) -> Iterator[Plan]:
    """From the fastest to the smallest."""
    tile, depth = stack.tile, stack.depth
    packed = stack.signs_suffice and lab.device == "cpu"
    if depth * stack.matrices * tile * stack.width**2 * 4 <= WEIGHTS_KEPT:
        yield Plan("explicit", tile, 1, tile, True, packed, depth)
    for group in (tile // divisor for divisor in (1, 2, 4) if tile // divisor >= 2):
        yield Plan("explicit", tile, 1, group, False, packed, depth)
        if not packed:
            yield Plan("explicit", tile, 1, group, False, False, math.ceil(math.sqrt(depth)))


def _law_plans(lab: Lab, stack: Stack, draws: int) -> Iterator[Plan]:
    tiles = -(-draws // LAW_TILE)
    most = max(1, min(LAW_NETWORKS // LAW_TILE, -(-tiles // lab.threads)))
    at_once = -(-tiles // -(-tiles // most))  # spread evenly, so that few networks are computed in vain
    for count in range(at_once, 0, -1):
        whole = Plan("law", LAW_TILE, count, LAW_TILE, False, False, stack.depth)
        if _memory(lab, stack, whole) <= LAW_KEPT:
            yield whole
        yield Plan("law", LAW_TILE, count, LAW_TILE, False, False, _stretches(math.sqrt(stack.depth / 4), stack))


def _stretches(blocks: float, stack: Stack) -> int:
    """A whole number of stretches of about so many blocks."""
    length = stretch(stack)
    return max(1, round(blocks / length)) * length


def stretch(stack: Stack) -> int:
    """Blocks whose normals the law engine draws by one call; a function of width and batch alone."""
    return STRETCH if stack.batch * stack.width <= 2048 else 1


def _memory(lab: Lab, stack: Stack, way: Plan) -> int:
    """Bytes of one thread."""
    item = 8 if lab.dtype == "float64" else 4
    signal = way.networks * stack.batch * stack.width * item
    segment, depth = min(way.segment, stack.depth), stack.depth
    checkpoints = (-(-depth // segment) if segment < depth else 0) * signal
    if way.engine == "law":
        kept = segment * (stack.saved_tensors + 2 * stack.matrices + 1) * signal
        grams = segment * stack.matrices * way.networks * stack.batch**2 * (8 + item)
        drawing = way.tile * stretch(stack) * stack.batch * stack.width * (item + 12)
        working = WORKING_TENSORS + LAW_OUTSIDE + 2 * stretch(stack) * stack.matrices
        return kept + grams + drawing + checkpoints + working * signal
    weights = way.group * stack.width**2 * item
    drawing = stack.tile * stack.width**2 * (item + 12)
    matrices = depth * stack.matrices * weights if way.keep_weights else 0
    kept = depth * stack.matrices * signal // (8 * item) if way.packed else segment * stack.saved_tensors * signal
    return kept + checkpoints + matrices + drawing + 2 * weights + WORKING_TENSORS * signal
