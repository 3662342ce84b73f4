"""The store: whole results or none, whatever fails, and a damaged one counts as none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from resexp.core.errors import ResexpError, UsageError
from resexp.experiments.paths import Paths
from resexp.report.text import as_csv, as_json
from resexp.runs import store as module
from resexp.runs.cell import Cell, Outcome, run_cell
from resexp.runs.execute import execute
from resexp.runs.settings import Settings
from resexp.runs.store import Store


@pytest.fixture
def cell() -> Cell:
    return Cell(Paths(blocks=4), Settings())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def names(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*")) if store.root.exists() else []


def test_a_stored_result_is_read_back_as_it_was(store: Store, cell: Cell) -> None:
    outcome = run_cell(cell)
    folder = store.save(outcome)
    assert names(store) == ["paths", f"paths/{cell.id}", f"paths/{cell.id}/result.csv", f"paths/{cell.id}/run.json"]
    loaded = store.load(cell)
    assert loaded is not None
    assert loaded.read_back
    assert (as_csv([loaded]), as_json([loaded])) == (as_csv([outcome]), as_json([outcome]))
    run = json.loads((folder / "run.json").read_text())["run"]
    assert {"parameters", "sources", "seed", "versions", "device", "dtype", "seconds", "argv", "git_commit"} <= set(run)


def test_the_id_follows_parameters_seed_and_version_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from resexp.experiments.variance import Variance

    def id_of(settings: Settings | None = None, **parameters: int) -> str:
        return Cell(Variance.parse(parameters), settings or Settings(device="cpu")).id

    first = id_of()
    assert id_of(Settings(device="cpu", threads=2, memory="2GB")) == first
    different = {
        first,
        id_of(depth=3),
        id_of(Settings(device="cpu", seed=1)),
        id_of(Settings(device="cpu", dtype="float64")),
    }
    monkeypatch.setattr(Variance, "version", Variance.version + 1)
    assert len(different | {id_of()}) == 5


@pytest.mark.parametrize("step", ["_write", "_put_in_place"])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "over an earlier one"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "kill"])
def test_a_failure_while_saving_leaves_what_was_there(
    store: Store, cell: Cell, monkeypatch: pytest.MonkeyPatch, step: str, earlier: bool, failure: BaseException
) -> None:
    outcome = run_cell(cell)
    if earlier:
        store.save(outcome)
    before, tables = names(store), [path.read_bytes() for path in store.root.rglob("*.*")]
    whole: Callable[..., None] = getattr(module, step)

    def fails(*arguments: Path) -> None:
        if arguments[0].name != "result.csv":
            raise failure
        whole(*arguments)

    monkeypatch.setattr(module, step, fails)
    with pytest.raises((ResexpError, KeyboardInterrupt)):
        store.save(outcome)
    assert [name for name in names(store) if name != "paths"] == [name for name in before if name != "paths"]
    assert [path.read_bytes() for path in store.root.rglob("*.*")] == tables
    assert (store.load(cell) is not None) == earlier


def test_nothing_is_visible_before_the_rename(store: Store, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    put_in_place = module._put_in_place

    def watched(temporary: Path, target: Path) -> None:
        seen.append((target.exists(), store.load(cell), {path.name for path in temporary.iterdir()}))
        put_in_place(temporary, target)

    monkeypatch.setattr(module, "_put_in_place", watched)
    store.save(run_cell(cell))
    assert seen == [(False, None, {"result.csv", "run.json"})]


def test_an_earlier_result_comes_back_where_the_rename_fails(
    store: Store, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(run_cell(cell))
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if target == store.folder(cell) and not self.name.endswith(".old"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(ResexpError, match="Input/output error"):
        store.save(run_cell(cell))
    assert store.load(cell) is not None


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no table": lambda folder: (folder / "result.csv").unlink(),
    "no run.json": lambda folder: (folder / "run.json").unlink(),
    "table cut at a line": lambda folder: cut(folder / "result.csv", b"\n"),
    "table cut in a number": lambda folder: cut(folder / "result.csv", b"0"),
    "empty table": lambda folder: (folder / "result.csv").write_text(""),
    "binary table": lambda folder: (folder / "result.csv").write_bytes(b"\xff\x00\xfe"),
    "run.json cut": lambda folder: cut(folder / "run.json", b","),
    "run.json empty": lambda folder: (folder / "run.json").write_text(""),
    "run.json of another kind": lambda folder: (folder / "run.json").write_text("[1]"),
    "run.json without its parts": lambda folder: (folder / "run.json").write_text('{"format": 1}'),
    "another format": lambda folder: change(folder, "format", 0),
    "another cell's": lambda folder: change(folder, "run", {"id": "0"}),
    "a file in its place": lambda folder: (folder.rename(folder.with_name("x")), folder.touch()),
}


def cut(path: Path, at: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content[:-1].rindex(at) + 1])


def change(folder: Path, key: str, value: object) -> None:
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(document | {key: value}))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_result_is_computed_again(store: Store, cell: Cell, damage: Callable[[Path], object]) -> None:
    first = execute(cell, store).outcome
    damage(store.folder(cell))
    again: Outcome = execute(cell, store).outcome
    assert not again.read_back
    assert as_csv([again]) == as_csv([first])
    assert execute(cell, store).outcome.read_back


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    Store(tmp_path / "a/b/c").check_writable()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--out"):
        Store(tmp_path / "file/results").check_writable()
