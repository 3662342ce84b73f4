"""Which stored cells an export takes: those of an experiments.yaml, or those that globs match."""

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from resexp.core.errors import MissingError, ResexpError
from resexp.runs import registry
from resexp.runs.batch import Planned
from resexp.runs.cell import Cell, Outcome
from resexp.runs.settings import Settings
from resexp.runs.store import Store, read_result
from resexp.runs.stored import CELL, Stored, read_stored

Chosen = tuple[str | None, str]
"""A cell to export: its entry, that of the file or else the one it was computed for, and its folder."""
MOST_TOLD = 5


@dataclass
class Selection:
    """Cells as they are found, each once for each entry.

    tell: takes sentences on the first few damaged results; left_out: how many cells are left out, by reason.
    """

    tell: Callable[[str], None] = lambda _: None
    left_out: Counter[str] = field(default_factory=Counter)
    _seen: set[tuple[str | None, str]] = field(default_factory=set)

    def of_batch(self, planned: Iterable[Planned], store: Store) -> Iterator[tuple[Chosen, Stored]]:
        """The cells of a file that have a result."""
        for entry, cell in planned:
            try:
                folder = store.folder(cell)
                found = read_stored(folder)
            except MissingError:
                self.left_out["for a device that is not here"] += 1
            except ResexpError as error:
                self.damaged(error)
            else:
                if found is not None:
                    yield from self._once(entry.name, found)
                else:
                    self.left_out["failed" if (folder / "error.json").is_file() else "missing"] += 1

    def of_glob(self, pattern: str, only: str | None = None) -> Iterator[tuple[Chosen, Stored]]:
        """The cells whose folders match, sorted. only: a glob for the entry they were computed for."""
        registry.experiments()  # where one cannot be loaded, that is no damage to any cell
        for name in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207  (the pattern may be absolute)
            folder = Path(name)
            if not CELL.fullmatch(folder.name):
                continue
            try:
                found = read_stored(folder)
            except ResexpError as error:
                self.damaged(error)
                continue
            if found is None:
                if (folder / "error.json").is_file():
                    self.left_out["failed"] += 1
            elif only is None or fnmatchcase(found.entry or "", only):
                yield from self._once(found.entry, found)

    def __str__(self) -> str:
        """What is left out, as `12 missing, 1 failed`; nothing where nothing is."""
        return ", ".join(f"{count} {reason}" for reason, count in self.left_out.most_common())

    def damaged(self, error: ResexpError) -> None:
        """Count a damaged result, and tell of the first few."""
        self.left_out["damaged"] += 1
        if self.left_out["damaged"] <= MOST_TOLD:
            self.tell(f"Left out: {error}")

    def _once(self, entry: str | None, found: Stored) -> Iterator[tuple[Chosen, Stored]]:
        key = (entry, found.folder.name)  # the same name is the same cell, in whichever folder
        if key not in self._seen:
            self._seen.add(key)
            yield (entry, str(found.folder)), found


def outcome_in(folder: Path) -> Outcome:
    """The outcome that a cell's folder keeps. Raises ResexpError where it is damaged or of a later version."""
    result, facts = read_result(folder)
    kind = registry.experiment(str(facts["experiment"]))
    settings = {name: facts[name] for name in Settings.model_fields if name in facts}
    return Outcome(Cell(kind.parse(facts["parameters"]), Settings.parse(settings)), result, facts, read_back=True)
