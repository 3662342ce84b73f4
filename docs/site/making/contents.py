"""What pages there are, by group, in their order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from making import notebooks, reference, sources
from resexp.runs import registry

SITE = Path(__file__).parent.parent
DOCS = SITE.parent
ROOT = DOCS.parent
MORE, NOTEBOOKS, REFERENCE = "More", "Notebooks", "Reference"


@dataclass(frozen=True)
class Entry:
    """A line of the contents. file: its Markdown or notebook, None where the page is generated."""

    title: str
    page: str
    file: Path | None = None
    children: Sequence["Entry"] = ()


def contents(docs: Path = DOCS) -> dict[str, list[Entry]]:
    """The pages by group: the files that contents.yaml names, others of the folder, and the reference."""
    named = yaml.safe_load((SITE / "contents.yaml").read_text(encoding="utf-8"))
    groups: dict[str, list[Entry]] = {}
    for group, files in named.items():
        groups[group] = [
            Entry(title, sources.page_name(file), (docs / file).resolve())
            for one in files
            for file, title in one.items()
        ]
    listed = {one.file for entries in groups.values() for one in entries}
    for file in sorted(docs.glob("*.md")):
        if file.resolve() not in listed:
            groups.setdefault(MORE, []).append(Entry(_title(file), sources.page_name(file.name), file.resolve()))
    if MORE in groups:
        groups[MORE] = groups.pop(MORE)
    found = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if found:
        pages = [Entry(notebooks.title(file), f"notebook-{file.stem}.html", file) for file in found]
        groups = {**{group: groups[group] for group in groups if group != REFERENCE}, NOTEBOOKS: pages} | groups
    groups[REFERENCE] += [
        Entry("Experiments", "experiments.html", None, _children("experiment", registry.experiments())),
        Entry("Commands", "commands.html", None, _children("command", reference.verbs())),
        Entry("Options of every experiment", "common-options.html"),
        Entry("experiments.yaml", "experiments-yaml.html"),
        Entry("Exit codes, columns, environment", "output.html"),
    ]
    return groups


def _children(kind: str, names: Iterable[str]) -> list[Entry]:
    return [Entry(name, f"{kind}-{name}.html") for name in names]


def _title(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
