"""Data sets: what is shipped and made, against published statistics; files, whole, missing, damaged and hostile."""

import gzip
import hashlib
import pickle
import struct
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.training.data import cifar10, mnist1d
from resexp.training.data.dataset import stratified
from resexp.training.data.load import load
from resexp.training.data.source import digest, parse
from resexp.training.data.synthetic import regression, with_random_labels
from resexp_cli.main import main

Bytes = NDArray[np.uint8]
RECORDS = 20


def test_digits_are_the_published_ones_in_a_stratified_split() -> None:
    """The checksum stands beside the file; the class counts are those of the repository's description."""
    folder = files("resexp.training.data")
    with folder.joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        images, labels = stored["images"], stored["labels"]
    said = folder.joinpath("digits.txt").read_text()
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() in said
    assert "CC BY 4.0" in said
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert folder.joinpath("digits.npz").read_bytes().__len__() < 50_000
    data = load("digits")
    assert (len(data.train), len(data.test), data.shape, data.classes) == (1437, 360, (1, 8, 8), 10)
    assert set(data.test.targets.bincount().tolist()) <= {35, 36, 37}
    assert abs(float(data.train.inputs.mean())) < 1e-5
    assert abs(float(data.train.inputs.std()) - 1) < 1e-3


def test_no_digit_is_in_both_parts() -> None:
    labels = np.repeat(np.arange(3), 50)
    train, test = stratified(labels)
    assert sorted([*train, *test]) == list(range(150))
    assert np.bincount(labels[test]).tolist() == [10, 10, 10]


def test_mnist1d_is_the_published_set_number_for_number() -> None:
    """Six numbers and ten labels that the published code, run once, gave."""
    sequences, labels = mnist1d.generate()
    expected = [-0.33200567, -0.47191037, -0.77869708, -1.00974083, -0.88235257]
    np.testing.assert_allclose(sequences[0, :5], expected, atol=1e-8)
    np.testing.assert_allclose(sequences[4321, 10:13], [2.63001364, 2.94375487, 1.26993364], atol=1e-8)
    assert labels[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    data = load("mnist1d")
    assert (len(data.train), len(data.test), data.shape, data.classes) == (4000, 1000, (1, 40), 10)
    assert data.as_images().shape == (1, 1, 40)
    assert data.as_vectors().shape == (40,)


def test_smoothing_is_that_of_the_published_code() -> None:
    noise = np.random.default_rng(0).standard_normal(72)
    np.testing.assert_allclose(mnist1d._smooth(noise), gaussian_filter(noise, 2), atol=1e-12)


def test_logistic_regression_is_as_bad_on_mnist1d_as_published() -> None:
    """Published: 32 %."""
    data = load("mnist1d").as_vectors()
    x, test = (torch.nn.functional.pad(p.inputs.double(), (0, 1), value=1.0) for p in (data.train, data.test))
    weights = torch.zeros(41, 10, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights, data.train.targets)
        value.backward()
        return value

    optimiser.step(loss)
    assert abs(float(((test @ weights).argmax(1) == data.test.targets).double().mean()) - 0.32) < 0.02


def test_limits_take_the_same_examples_always() -> None:
    some, fewer = load("digits", 100), load("digits", 40)
    assert (len(some.train), len(some.test)) == (100, 100)
    assert torch.equal(some.train.inputs[:40], fewer.train.inputs)
    assert len(some.train.targets.unique()) == 10


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the six binary files, of 20 records each."""
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    folder = tmp_path / "cifar" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate((*cifar10.TRAIN, *cifar10.TEST)):
        records = np.concatenate([labels(number)[:, None], pixels(number)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder.parent


def labels(seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 10, RECORDS, dtype=np.uint8)


def pixels(seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, (RECORDS, 3072), dtype=np.uint8)


def test_cifar10_in_both_versions(cifar: Path, tmp_path: Path) -> None:
    """The version for Python holds the same, whether Python 2 wrote it, as the published files, or Python 3."""
    binary = load(f"cifar10:{cifar}")
    assert (len(binary.train), len(binary.test), binary.shape, binary.mirrors) == (100, 20, (3, 32, 32), True)
    raw = pixels(1).reshape(RECORDS, 3, 32, 32).astype(np.float64)
    shown = binary.train.inputs[RECORDS : 2 * RECORDS].double().numpy()
    assert np.corrcoef(raw[:, 1].ravel(), shown[:, 1].ravel())[0, 1] > 1 - 1e-9  # records, channels, rows and columns
    assert binary.train.targets[RECORDS : 2 * RECORDS].tolist() == labels(1).tolist()
    folder = tmp_path / "python"
    folder.mkdir()
    for number, name in enumerate((*cifar10.TRAIN, *cifar10.TEST)):
        (folder / name).write_bytes(pickled(number, protocol=number % 5))
    found = load(f"cifar10:{folder}")
    assert torch.equal(found.train.inputs, binary.train.inputs)
    assert torch.equal(found.test.targets, binary.test.targets)


def pickled(number: int, protocol: int) -> bytes:
    """A file of CIFAR-10; protocol 0: in the opcodes that Python 2 wrote, where texts are bytes."""
    if protocol:
        return pickle.dumps({b"data": pixels(number), b"labels": labels(number).tolist()}, protocol=protocol)
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R"
    byte = b"cnumpy\ndtype\nU\2u1K\0K\1\x87R(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    shape, content = struct.pack("<BBBH", ord("K"), RECORDS, ord("M"), 3072), pixels(number).tobytes()
    state = b"(K\1" + shape + b"\x86" + byte + b"\x89T" + struct.pack("<I", len(content)) + content + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels(number)) + b"e"
    return b"\x80\2}(U\4data" + array + state + b"U\6labels" + listed + b"u."


class Hostile:
    """Unpickled by `pickle.load`, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    trap = tmp_path / "trap"
    contents = [
        pickle.dumps({b"data": Hostile(trap)}),
        pickle.dumps({b"data": np.zeros((RECORDS, 3072), dtype=object), b"labels": [0] * RECORDS}),
        pickle.dumps(7),
        b"\x80\x02cos\nsystem\nU\x04exit\x85R.",
        b"not a pickle",
        b"",
    ]
    for content in contents:
        (tmp_path / "data_batch_1").write_bytes(content)
        with pytest.raises(UsageError, match=r"data_batch_1 is damaged: .* expected"):
            load(f"cifar10:{tmp_path}")
    assert not trap.exists()


def test_what_is_missing_or_damaged_is_named_with_sizes(cifar: Path, tmp_path: Path) -> None:
    file = cifar / "cifar-10-batches-bin" / "data_batch_3.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    with pytest.raises(UsageError, match=r"data_batch_3\.bin is damaged: 61,460 bytes expected, 61,455 found"):
        load(f"cifar10:{cifar}")
    file.write_bytes(bytes([10]) + content[1:])
    with pytest.raises(UsageError, match="labels 0 to 9 expected, label 10 found"):
        load(f"cifar10:{cifar}")
    file.unlink()
    with pytest.raises(UsageError, match=r"data_batch_3\.bin is missing \(61,460 bytes expected"):
        load(f"cifar10:{cifar}")
    with pytest.raises(UsageError, match=r"no such folder"):
        load(f"cifar10:{tmp_path / 'nowhere'}")


def idx(array: Bytes) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def test_idx_files_packed_and_not(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 5, 4), dtype=np.uint8)
    classes = (np.arange(30) % 3).astype(np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images))
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(classes)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[:6])))
    labels_path = tmp_path / "t10k-labels-idx1-ubyte"
    labels_path.write_bytes(idx(classes[:6]))
    data = load(f"mnist:{tmp_path}")
    assert (len(data.train), len(data.test), data.shape, data.classes) == (30, 6, (1, 5, 4), 3)
    assert torch.equal(data.train.inputs[:6], data.test.inputs)
    for damaged, what in (
        (idx(classes[:6])[:-1], "14 bytes expected, 13 found"),
        (idx(classes[:6]) + b"1", "14 bytes expected, more found"),
        (idx(classes[:5]), "a label for each of 6 images"),
        (b"\0\0\x09\1" + idx(classes[:6])[4:], "the head 00000801 expected, 00000901 found"),
        (b"", "nothing found"),
    ):
        labels_path.write_bytes(damaged)
        with pytest.raises(UsageError, match=what):
            load(f"mnist:{tmp_path}")
    labels_path.write_bytes(bytes([0, 0, 8, 1]) + b"\xff" * 4)
    with pytest.raises(UsageError, match="4,294,967,295 bytes"):
        load(f"mnist:{tmp_path}")
    labels_path.unlink()
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(classes[:6]))[:-9])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        load(f"mnist:{tmp_path}")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match="t10k-labels-idx1-ubyte is missing"):
        load(f"mnist:{tmp_path}")


def test_a_folder_of_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for name, level in (("dark", 30), ("light", 200)):
        (tmp_path / name).mkdir()
        for number in range(10):
            noise = random.integers(0, 40, (9, 12, 3), dtype=np.uint8)
            image.fromarray(noise + np.uint8(level)).save(tmp_path / name / f"{number}.png")
    data = load(f"folder:{tmp_path}@1x8x8")
    assert (len(data.train), len(data.test), data.shape, data.classes) == (16, 4, (1, 8, 8), 2)
    assert torch.equal((data.test.inputs.mean((1, 2, 3)) > 0).long(), data.test.targets)
    assert load(f"folder:{tmp_path}").shape == (3, 32, 32)
    before = digest(f"folder:{tmp_path}")
    (tmp_path / "light" / "0.png").write_bytes(b"no image")
    assert digest(f"folder:{tmp_path}") != before
    with pytest.raises(UsageError, match=r"0\.png cannot be read as an image"):
        load(f"folder:{tmp_path}")
    with pytest.raises(UsageError, match="two classes or more"):
        load(f"folder:{tmp_path / 'dark'}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("digit", "did you mean 'digits'"),
        ("digits:x", "takes no path"),
        ("mnist", "--data mnist:PATH"),
        ("folder:x@3x4", "CHANNELSxHEIGHTxWIDTH"),
        ("folder:x@3x0x9", "from 1 to 4,096"),
    ],
)
def test_what_names_no_data_set_is_told(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse(text)


def test_missing_data_end_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in ("cifar10:/nowhere", f"mnist:{tmp_path}", "letters"):
        with pytest.raises(SystemExit) as ended:
            main(["degradation", "--quick", "--data", data, "--no-save", "-q"])
        assert ended.value.code == 2
        told = capsys.readouterr().err
        assert data in told
        assert "Traceback" not in told


def test_synthetic_sets_are_what_they_say() -> None:
    lab = Lab("synthetic", seed=1)
    data = regression(lab, examples=4096, test=64, noise=0.5)
    assert torch.equal(regression(lab, examples=4096, test=64, noise=0.5).test.targets, data.test.targets)
    assert 0.5 < float(data.train.targets.square().mean()) < 3.0
    digits = load("digits")
    shuffled = with_random_labels(digits, lab)
    same = float((shuffled.train.targets == digits.train.targets).double().mean())
    assert abs(same - 0.1) < 4 * (0.09 / 1437) ** 0.5
    assert torch.equal(shuffled.train.inputs, digits.train.inputs)
