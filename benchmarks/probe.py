"""What looking into a net costs: time and peak memory beside a plain forward and backward pass of the same net.

    python benchmarks/probe.py [name ...]

Processor seconds, one thread. Plain passes and draws of the probe take turns in one process; a ratio is the median over
rounds. `pass` is the measured pass of a draw, `draw` the mean of four draws with the line of inputs that every second
one gets where the input is a signal. The plain pass takes the gradients of all weights, as training does; the probe
takes none of them, and so may come out below 1. Building the net is in neither.

Peak memory is what a process that runs nothing else holds at most beyond what it held before the pass (VmHWM, which
begins anew with each process). `estimate`, which counts the net itself too, is what --memory is held against.
"""

import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

CASES = {
    "resnet:18": ("3x64x64", 8),
    "resnet:50": ("3x128x128", 8),
    "densenet:121": ("3x64x64", 8),
    "cifar-resnet:56": ("3x32x32", 16),
    "mlp": ("512", 512),
    "encoder": ("128x512", 8),
    "prenorm": ("tokens:128", 8),
}
"""Input and batch of each net."""
ROUNDS = 7
DRAWS = 4
MOST_TIME, MOST_MEMORY = 1.7, 1.05
"""What a probe may cost beside a plain pass."""


def factory(name: str) -> "Callable[[], nn.Module]":
    """Builds the net of a case."""
    from torch import nn

    from resexp.nets import zoo
    from resexp.probing import examples

    def encoder() -> nn.Module:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True), 6)

    own = {
        "mlp": lambda: examples.residual_mlp(32, 512),
        "encoder": encoder,
        "prenorm": lambda: examples.prenorm_transformer(12, 256, 8, 8000),
    }
    return own[name] if name in own else zoo.factory(name)


class Passes:
    """A net, and the passes over it that are compared."""

    def __init__(self, name: str, batch: int) -> None:
        import torch

        from resexp.probing.inputs import Examples, parse

        torch.set_num_threads(1)
        self.net = factory(name)().train()
        self.examples = Examples(parse(CASES[name][0]), batch)
        self.generator = torch.Generator().manual_seed(0)

    def plain(self) -> None:
        """Forward, cross-entropy, backward to all weights."""
        from resexp.probing.output import choose, random_labels

        inputs = self.examples.make(self.net, self.generator)
        loss, _ = random_labels(choose(self.net(*inputs.positional)).tensor, self.generator)
        loss.backward()  # type: ignore[no-untyped-call]
        self.net.zero_grad(set_to_none=True)

    def probed(self, draws: int = 1) -> None:
        """Draws of the probe; several with the line of inputs."""
        from resexp.core.lab import Lab
        from resexp.probing.reinitialise import Draws
        from resexp.probing.survey import survey

        made = Draws(net=self.net, fixed=True)
        survey(Lab("probe"), made, self.examples, count=draws, training=True, loss="labels", line=draws > 1)


def times(name: str) -> tuple[float, float, float]:
    """Seconds of the plain pass, and the two ratios."""
    passes = Passes(name, CASES[name][1])
    passes.plain()
    passes.probed(DRAWS)  # libraries are loaded with the first passes
    rounds = []
    for _ in range(ROUNDS):
        before, one = spent(passes.plain), spent(passes.probed)
        several = spent(lambda: passes.probed(DRAWS)) / DRAWS
        plain = (before + spent(passes.plain)) / 2  # around what it is compared with: the machine's speed drifts
        rounds.append((plain, one / plain, several / plain))
    plain, one, several = (statistics.median(column) for column in zip(*rounds, strict=True))
    return plain, one, several


def spent(function: Callable[[], None]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak(name: str, what: str) -> float:
    """Megabytes at the peak of one pass beyond what was held before."""
    Passes(name, 2).plain()
    passes = Passes(name, 2)
    (passes.plain if what == "plain" else lambda: passes.probed(DRAWS))()  # what loading takes is no part of a pass
    passes = Passes(name, CASES[name][1])
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = held("VmRSS")
    passes.plain() if what == "plain" else passes.probed(DRAWS)
    return held("VmHWM") - before


def held(field: str) -> float:
    """Megabytes, by what the kernel says of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return float(line.split()[1]) * 1024 / 1e6


def estimated(name: str) -> float:
    """Megabytes that are told before anything runs."""
    from resexp.probing.inputs import Examples, parse
    from resexp.probing.needs import estimate

    text, batch = CASES[name]
    return (estimate(factory(name), Examples(parse(text), batch), training=True, number=4) or 0) / 1e6


def child(name: str, what: str) -> list[float]:
    """Numbers of a fresh process."""
    freed_at_once = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # else the peak is that of the allocator's habits
    environment = dict(os.environ) if what == "times" else freed_at_once
    command = [sys.executable, __file__, name, "--as", what]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [float(x) for x in done.stdout.split()]


def main() -> None:
    if "--as" in sys.argv:
        name, what = sys.argv[1], sys.argv[3]
        if what == "times":
            print(*times(name))
        else:
            print(estimated(name) if what == "estimate" else peak(name, what))
        return
    print(f"{'net':16} {'plain':>9} {'pass':>6} {'draw':>6}  {'plain':>8} {'draw':>6} {'estimate':>9}")
    for name in sys.argv[1:] or CASES:
        seconds, one, several = child(name, "times")
        [plain], [probed], [needed] = (child(name, what) for what in ("plain", "probe", "estimate"))
        over = " over the limit" if max(one, several) > MOST_TIME or probed > MOST_MEMORY * plain else ""
        print(
            f"{name:16} {seconds:7.3f} s {one:6.2f} {several:6.2f}  {plain:5.0f} MB {probed / plain:6.2f} "
            f"{needed:6.0f} MB{over}",
            flush=True,
        )


if __name__ == "__main__":
    main()
