"""The fit loop. Trains nets of one architecture, side by side where they can be, each on its own order of the data.

A net that diverges is a result: its curves end in nan, and `History.diverged` names the step. All random numbers are
keyed by (lab, number of the net, epoch), so a training that goes on from a checkpoint ends as it would have ended.
Whether nets train alone or side by side changes their numbers by rounding, which training then amplifies: how many do
is part of what the numbers depend on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.core.errors import MissingError
from resexp.core.lab import Lab
from resexp.training.batches import Batches
from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Data
from resexp.training.grouping import groups
from resexp.training.history import CURVES, History
from resexp.training.objective import Objective, classification, evaluate, regression
from resexp.training.plan import Plan
from resexp.training.sgd import SGD
from resexp.training.side_by_side import SideBySide


@dataclass(frozen=True)
class Moment:
    """Where a training stands, for those who look on. step: steps done; nets: numbers of the nets that `net` joins.

    inputs (batch, nets, *shape), targets, loss (nets,) and rate are those of the step, absent between epochs.
    """

    epoch: int
    step: int
    steps: int
    net: SideBySide
    nets: slice
    inputs: Tensor | None = None
    targets: Tensor | None = None
    loss: Tensor | None = None
    rate: float | None = None


Watch = Callable[[Moment], Mapping[str, Tensor]]
Look = Callable[[Moment], None]


def watch_nothing(_: Moment) -> Mapping[str, Tensor]:
    """A watch that keeps nothing."""
    return {}


def look_at_nothing(_: Moment) -> None:
    """A look that does nothing."""


def fit(
    nets: Sequence[nn.Module],
    data: Data,
    plan: Plan,
    lab: Lab,
    *,
    objective: Objective | None = None,
    watch: Watch = watch_nothing,
    before_step: Look = look_at_nothing,
    progress: Look | None = None,
    checkpoint: Checkpoint | None = None,
    first: int = 0,
) -> History:
    """Train the nets in place and return their curves.

    data: on the lab's device and in its dtype, as the nets are; objective: cross-entropy where there are classes, else
    squared error; watch: called before the first epoch and after each, what it returns, (nets, ...) tensors by name, is
    kept in the history and in checkpoints; before_step: called between a gradient and its step; progress: called after
    each step, the lab's own by default; checkpoint: where to go on from, if there is something, and to write to;
    first: number of the first net, which keys its random numbers.
    """
    if objective is None:
        objective = classification(plan.label_smoothing) if data.classes else regression()
    sides = groups(nets, data.train, plan)
    histories: list[History] = []
    done = 0
    for side in sides:
        members = slice(done, done + side.count)

        def tell(moment: Moment, before: int = done) -> None:
            lab.progress(before * moment.steps + moment.step * moment.net.count, len(nets) * moment.steps)
            if moment.loss is not None and not moment.loss.is_cuda:  # reading it would wait for the device
                lab.say(f"epoch {moment.epoch}, loss {float(moment.loss.mean()):.3g}, rate {moment.rate:.3g}")

        run = _Run(side, members, first, data, plan, lab, objective)
        kept = checkpoint.part(f"nets-{first + done}") if checkpoint is not None else None
        histories.append(run.train(watch, before_step, progress or tell, kept))
        done += side.count
    return History.of(histories)


class _Run:
    """Nets side by side, and all that changes while they train."""

    def __init__(
        self, net: SideBySide, members: slice, first: int, data: Data, plan: Plan, lab: Lab, objective: Objective
    ) -> None:
        self.net, self.members, self.data, self.plan, self.objective = net, members, data, plan, objective
        self.device = data.train.inputs.device
        numbers = range(first + members.start, first + members.stop)
        mirror = plan.augment and data.mirrors
        self.batches = Batches(data.train, plan.batch, lab, numbers, shift=plan.augment, mirror=mirror)
        self.optimiser = SGD(net, plan, plan.rates(members))
        self.steps = plan.epochs * len(self.batches)
        self.seed = lab.key("noise", numbers.start) % 2**63
        self.step = 0
        self.watched: dict[str, list[Tensor]] = {}
        self.curves = {
            "step_loss": torch.full((self.steps, net.count), torch.nan, dtype=torch.float64, device=self.device),
            "step_error": torch.full((self.steps, net.count), torch.nan, dtype=torch.float64, device=self.device),
            **{name: torch.full((plan.epochs, net.count), torch.nan, dtype=torch.float64) for name in CURVES},
        }

    def train(self, watch: Watch, before_step: Look, progress: Look, checkpoint: Checkpoint | None) -> History:
        """All epochs that are still to be done."""
        with _surroundings(self.seed, self.device), _compiler_is_there():
            if checkpoint is not None:
                self._restore(checkpoint)
            if not self.watched:
                self._watch(watch)
            forward: nn.Module = torch.compile(self.net) if self.plan.compile else self.net  # type: ignore[assignment]
            for epoch in range(self.step // len(self.batches) + 1, self.plan.epochs + 1):
                if not self._any_is_finite():
                    break
                for x, y in self.batches.epoch(epoch, first=self.step % len(self.batches)):
                    self._one_step(forward, x, y, epoch, before_step, progress)
                    ends = self.step % len(self.batches) == 0
                    if checkpoint is not None and not ends and checkpoint.is_due():
                        self._keep(checkpoint)
                self._end_epoch(epoch, watch)
                if checkpoint is not None and checkpoint.is_due(finished=self.step == self.steps):
                    self._keep(checkpoint)
        self.net.write_back()
        watched = {name: torch.stack(values) for name, values in self.watched.items()}
        return History(**{name: curve.cpu() for name, curve in self.curves.items()}, watched=watched)

    def _one_step(
        self, forward: nn.Module, x: Tensor, y: Tensor, epoch: int, before_step: Look, progress: Look
    ) -> None:
        """One mini-batch: forward, backward, step; nothing here waits for the device."""
        self.net.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "mixed"):
            outputs = forward(x)
        losses = self.objective.loss(outputs, y)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self.curves["step_loss"][self.step] = losses.detach()
        self.curves["step_error"][self.step] = self.objective.error(outputs.detach(), y)
        factor = self.plan.factor(self.step, len(self.batches))
        rate = factor * self.plan.rate if isinstance(self.plan.rate, float | int) else factor
        before_step(Moment(epoch, self.step, self.steps, self.net, self.members, x, y, losses.detach(), rate))
        self.optimiser.step(factor)
        self.step += 1
        progress(Moment(epoch, self.step, self.steps, self.net, self.members, x, y, losses.detach(), rate))

    def _end_epoch(self, epoch: int, watch: Watch) -> None:
        """Curves of the epoch, and what is watched."""
        steps = slice(self.step - len(self.batches), self.step)
        test_loss, test_error = evaluate(self.net, self.data.test, self.objective)
        found = self.curves["step_loss"][steps].mean(0), self.curves["step_error"][steps].mean(0), test_loss, test_error
        finite = self.curves["step_loss"][: self.step].isfinite().all(0).cpu()
        for name, value in zip(CURVES, found, strict=True):
            self.curves[name][epoch - 1] = torch.where(finite, value.cpu(), torch.nan)
        self._watch(watch, epoch)

    def _watch(self, watch: Watch, epoch: int = 0) -> None:
        for name, value in watch(Moment(epoch, self.step, self.steps, self.net, self.members)).items():
            self.watched.setdefault(name, []).append(value.detach().to("cpu", copy=True))

    def _any_is_finite(self) -> bool:
        return bool(self.curves["step_loss"][: self.step].isfinite().all(0).any())

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Write all that the rest of the training depends on."""
        tensors = {f"net/{link.name}": link.joined for link in self.net.links} | self.optimiser.state()
        tensors |= {f"curve/{name}": curve for name, curve in self.curves.items()}
        tensors |= {f"watched/{name}": torch.stack(values) for name, values in self.watched.items()}
        tensors |= {f"random/{kind}": state for kind, state in _random_state(self.device).items()}
        checkpoint.save(tensors, {"step": self.step, "steps": self.steps})

    @torch.no_grad()
    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, where there is one."""
        kept = checkpoint.load()
        if kept is None:
            return
        tensors, facts = kept
        for link in self.net.links:
            link.joined.copy_(tensors[f"net/{link.name}"])
        self.optimiser.restore(tensors)
        for name, curve in self.curves.items():
            curve.copy_(tensors[f"curve/{name}"])
        for key, value in tensors.items():
            if key.startswith("watched/"):
                self.watched[key.removeprefix("watched/")] = list(value)
        _set_random_state({key: tensors[f"random/{key}"] for key in _random_state(self.device)}, self.device)
        self.step = int(facts["step"])


@contextmanager
def _compiler_is_there() -> Iterator[None]:
    """Raise MissingError where torch.compile fails on this machine; it does so only when the net first runs."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            told = str(error).strip().partition("\n")[0]
            raise MissingError(f"--compile: torch cannot compile the net here ({told}); leave it out.") from None
        raise


@contextmanager
def _surroundings(seed: int, device: torch.device) -> Iterator[None]:
    """One thread and repeatable kernels, so that the same bytes come out; torch's own random numbers from this seed on.

    All is as it was afterwards. Random numbers of torch are those of dropout and stochastic depth.
    """
    threads = torch.get_num_threads()
    repeatable = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.random.fork_rng([device] if device.type == "cuda" else []), repeatable:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def _set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
