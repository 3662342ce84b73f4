"""A training that is killed, again and again, ends as if it had not been; what is damaged is refused."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from resexp.core.errors import ResexpError
from resexp.core.lab import Lab
from resexp.experiments.degradation import Degradation
from resexp.nets import zoo
from resexp.nets.tensor_file import from_bytes, to_bytes
from resexp.training import checkpoint as checkpoints
from resexp.training.checkpoint import Checkpoint, DamagedCheckpointError
from resexp.training.data.load import load
from resexp.training.fit import Moment, fit
from resexp.training.history import History
from resexp.training.initial import initialised
from resexp.training.plan import Plan

LAB = Lab("checkpoint", seed=2)
PLAN = Plan(epochs=3, batch=32, rate=(0.1, 0.05, 0.02), augment=True, warm_up=1.0, schedule="cosine", side_by_side=2)


class KilledError(Exception):
    """What stands for a kill."""


def gammas(moment: Moment) -> dict[str, Tensor]:
    """First gamma of each net."""
    (link,) = (link for link in moment.net.links if link.name == "stem.1.weight")
    return {"gamma": torch.stack([link.of(number) for number in range(moment.net.count)])}


def train(checkpoint: Checkpoint | None, kill_after: int | None = None) -> tuple[History, list[dict[str, Tensor]]]:
    """Three nets with dropout, two of them side by side; killed after so many steps."""
    nets = initialised(zoo.factory("cifar-resnet:8,width=4,channels=1,drop=dropout:0.3"), LAB, 3)
    done = 0

    def progress(_: Moment) -> None:
        nonlocal done
        done += 1
        if done == kill_after:
            raise KilledError

    history = fit(nets, load("digits", 128), PLAN, LAB, watch=gammas, progress=progress, checkpoint=checkpoint)
    return history, [net.state_dict() for net in nets]


def test_a_training_killed_every_few_steps_ends_as_the_undisturbed_one(tmp_path: Path) -> None:
    """Bit for bit: curves, what was watched, weights and statistics; kills fall within epochs and between them."""
    whole, states = train(None)
    kills = 0
    while True:
        try:
            history, found = train(Checkpoint(tmp_path / "kept", seldom=0.0), kill_after=(3, 5, 4)[kills % 3])
            break
        except KilledError:
            kills += 1
    assert 5 <= kills <= 24  # of 24 steps: each life gets on
    for name in ("step_loss", "step_error", "train_loss", "train_error", "test_loss", "test_error"):
        assert torch.equal(getattr(history, name), getattr(whole, name)), name
    assert whole.watched["gamma"].shape == (4, 3, 4)
    assert torch.equal(history.watched["gamma"], whole.watched["gamma"])
    for one, other in zip(found, states, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_seldom_is_respected_and_a_finished_training_is_read_back(tmp_path: Path) -> None:
    rare = Checkpoint(tmp_path / "rare", seldom=1e6)
    train(rare)
    assert not rare.folder.exists()
    often = Checkpoint(tmp_path / "often", seldom=0.0)
    whole, _ = train(often)
    again, _ = train(often, kill_after=1)  # no step is taken, so nothing kills it
    assert torch.equal(again.step_loss, whole.step_loss)
    often.discard()
    assert not often.folder.exists()


def test_damage_is_refused_with_the_folder_named(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept", seldom=0.0)
    kept.save({"x": torch.arange(5.0)}, {"step": 3})
    (tensors,) = kept.folder.glob("tensors-*.safetensors")
    content = tensors.read_bytes()
    state = (kept.folder / "state.json").read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b""):
        tensors.write_bytes(damaged)
        with pytest.raises(DamagedCheckpointError, match=str(kept.folder)):
            kept.load()
    tensors.unlink()
    with pytest.raises(DamagedCheckpointError, match="missing"):
        kept.load()
    tensors.write_bytes(content)
    for text in (b"", b"{}", state[: len(state) // 2], b"[1]"):
        (kept.folder / "state.json").write_bytes(text)
        with pytest.raises(DamagedCheckpointError):
            kept.load()


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoint(tmp_path / "kept", seldom=0.0)
    kept.save({"x": torch.zeros(3)}, {"step": 1})

    def full_disk(path: Path, content: bytes) -> None:
        if path.name == "state.json":
            raise OSError(28, "No space left on device")
        write(path, content)

    write = checkpoints._write
    monkeypatch.setattr(checkpoints, "_write", full_disk)
    with pytest.raises(ResexpError, match="No space left"):
        kept.save({"x": torch.ones(3)}, {"step": 2})
    found = kept.load()
    assert found is not None
    tensors, facts = found
    assert facts["step"] == 1
    assert torch.equal(tensors["x"], torch.zeros(3))


def test_tensors_come_back_as_they_were_and_pieces_of_a_file_are_refused() -> None:
    tensors = {
        "a": torch.randn(3, 2, 2).to(memory_format=torch.contiguous_format),
        "b": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "c": torch.tensor(7),
        "d": torch.tensor([True, False]),
        "e": torch.randn(5).bfloat16(),
        "f": torch.empty(0, 3),
        "g": torch.tensor([float("nan"), float("inf")], dtype=torch.float64),
    }
    content = to_bytes(tensors)
    found = from_bytes(content)
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].nan_to_num(3.0), tensor.nan_to_num(3.0))
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert head["b"] == {"dtype": "F32", "shape": [2, 3, 4, 4], "data_offsets": [48, 432]}
    for length in range(0, len(content), 7):
        with pytest.raises(ValueError, match=r"file|shape|Expecting"):
            from_bytes(content[:length])


def test_only_what_nobody_took_up_again_for_long_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEXP_CHECKPOINTS", str(tmp_path))
    experiment = Degradation.parse({})
    kept = checkpoints.checkpoint_of(experiment, LAB).part("plain")
    kept.save({"x": torch.ones(1)}, {})
    foreign = tmp_path / "mine" / ("0" * 16) / "thesis.tex"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("years of work")

    def age(days: float) -> None:
        when = time.time() - days * 24 * 3600
        for path in tmp_path.rglob("*"):
            os.utime(path, (when, when))

    age(59)
    checkpoints.checkpoint_of(experiment, LAB)
    assert kept.load() is not None
    age(61)
    checkpoints.checkpoint_of(experiment, LAB)
    assert kept.load() is None
    assert foreign.exists()
