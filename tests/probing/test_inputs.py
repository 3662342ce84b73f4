"""What a net is shown: noise, tokens, files and images, each read without running code in it."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from resexp.core import images
from resexp.core.errors import UsageError
from resexp.probing.inputs import Examples, digest, parse
from tests.probing.nets import Convolutional

NET = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 4))


def made(text: str, batch: int = 5, net: nn.Module = NET, seed: int = 0) -> tuple[torch.Tensor, ...]:
    found = Examples(parse(text), batch).make(net, torch.Generator().manual_seed(seed))
    return (*found.positional, *found.named.values())


def test_noise_and_tokens() -> None:
    (x,) = made("3x8x8")
    assert x.shape == (5, 3, 8, 8)
    assert abs(float(x.mean())) < 0.2
    (ids,) = made("tokens:200")
    assert ids.shape == (5, 200)
    assert (int(ids.min()), int(ids.max())) == (0, 6)
    assert int(made("tokens:200/3")[0].max()) == 2
    assert torch.equal(made("8")[0], made("8")[0])
    assert not torch.equal(made("8")[0], made("8", seed=1)[0])
    with pytest.raises(UsageError, match="no embedding"):
        made("tokens:3", net=nn.Linear(2, 2))


def test_several_inputs_and_names() -> None:
    found = Examples(parse("8+mask=2x3"), 4).make(NET, torch.Generator())
    assert [tuple(x.shape) for x in found.positional] == [(4, 8)]
    assert tuple(found.named["mask"].shape) == (4, 2, 3)


def test_the_type_of_the_net_is_taken() -> None:
    (x,) = made("8", net=nn.Linear(8, 8).double())
    assert x.dtype == torch.float64


def test_files(tmp_path: Path) -> None:
    array = np.arange(40.0).reshape(10, 4)
    np.save(tmp_path / "x.npy", array)
    torch.save(torch.from_numpy(array), tmp_path / "x.pt")
    for name in ("x.npy", "x.pt"):
        (x,) = made(str(tmp_path / name))
        assert x.shape == (5, 4)
        assert {tuple(row) for row in x.tolist()} <= {tuple(row) for row in array.tolist()}
        assert len({tuple(row) for row in x.tolist()}) == 5
    assert made(str(tmp_path / "x.npy"), batch=99)[0].shape == (10, 4)
    before = digest(str(tmp_path / "x.npy"))
    np.save(tmp_path / "x.npy", array + 1)
    assert digest(str(tmp_path / "x.npy")) != before
    assert digest("3x8x8") == ""


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("trapped"),)


@pytest.mark.parametrize("name", ["x.npy", "x.pt"])
def test_code_in_a_file_is_not_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name.endswith("npy"):
        np.save(tmp_path / name, np.array([Trap()], dtype=object), allow_pickle=True)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UsageError, match="plain numbers"):
        made(str(tmp_path / name))
    assert not Path("trapped").exists()


def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    for number in range(3):
        image.new("RGB", (20, 10), (255, 0, 20 * number)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (x,) = made(f"{tmp_path}@3x8x6", batch=2)
    assert x.shape == (2, 3, 8, 6)
    assert x[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229, rel=1e-4)
    assert made(str(tmp_path), batch=1)[0].shape == (1, 3, 224, 224)
    assert made(f"{tmp_path}@1x4x4", batch=1)[0].shape == (1, 1, 4, 4)
    monkeypatch.setattr(images, "MOST_PIXELS", 199)
    with pytest.raises(UsageError, match="unpacks to 200 pixels, and 199 are the most"):
        made(f"{tmp_path}@3x8x8")
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    with pytest.raises(UsageError, match="larger than"):
        made(f"{tmp_path}@3x8x8")


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 9) + b"IDAT")
    with pytest.raises(UsageError, match=r"pixels|bomb"):
        made(f"{tmp_path}@3x8x8", batch=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3xx", "'3xx' is no input"),
        ("", "'' is no input"),
        ("0x3", "holds 0 numbers"),
        ("999999x999999", "1 to 1,000,000,000"),
        ("x.gif", "'x.gif' is no input"),
        ("photos@3y", "'3y' is no shape"),
    ],
)
def test_nonsense_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [("no.npy", "no such file"), ("nowhere@3x8x8", "no such folder"), (".@2x8x8", "3xHEIGHTxWIDTH")],
)
def test_what_is_not_there_is_told(text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        made(text, net=Convolutional(lambda c: nn.BatchNorm2d(c)))
