"""Build the documentation as a folder of HTML pages that opens offline: `make docs`.

The front page is the chapter as the program tells it: `resexp chapter` runs first, which takes about ten minutes where
nothing is stored, and goes on where it stood; --no-run takes what is stored. Tutorial, guides and explanations are the
Markdown files of docs/, the reference is made from the declarations and from the commands. A link that leads nowhere, a
parameter without an example or a module of theory without an explanation ends it with a sentence and exit code 1.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from making import links, meanings, notebooks, reference, sources
from making.contents import DOCS, REFERENCE, ROOT, Entry, contents
from making.sources import Heading

from resexp import __version__
from resexp.chapter import book
from resexp.chapter.statements import Chapter
from resexp.core.errors import MissingError, ResexpError
from resexp.report.page.render import check_renderable, render, slug
from resexp.runs import config, entry, registry, schema, sweep, yaml_entry, yaml_sweep
from resexp.runs.settings import Settings
from resexp.runs.store import Store
from resexp.scaffold import create

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


@dataclass
class Site:
    """The pages in the making. commands: page of each command by its name."""

    folder: Path
    groups: Mapping[str, Sequence[Entry]]
    templates: "Environment"
    commands: Mapping[str, str]

    @property
    def written(self) -> list[Entry]:
        """The pages that have a file: of Markdown, or a notebook."""
        return [one for entries in self.groups.values() for one in entries if one.file is not None]

    def put(self, page: str, title: str, body: str, headings: Sequence[Heading] = ()) -> None:
        """Write a page."""
        body = sources.with_commands_linked(body, self.commands, page)
        shown = [heading for heading in headings if heading.level == 2]
        text = self.templates.get_template("layout.html.jinja").render(
            title=title, body=body, here=page, headings=shown, contents=self.groups, version=__version__
        )
        (self.folder / page).write_text(text, encoding="utf-8")

    def fill(self, page: str, template: str, title: str, **values: Any) -> None:
        """Write a page of the reference."""
        self.put(page, title, self.templates.get_template(f"{template}.html.jinja").render(**values))

    def link(self, file: Path, target: str) -> str:
        """What a link in a Markdown file becomes: a page, or a copy of a file. Raises KeyError where there is none."""
        path, mark, anchor = target.partition("#")
        if not path:
            return target
        aim = (file.parent / path).resolve()
        pages = {one.file: one.page for one in self.written}
        if aim in pages:
            return pages[aim] + mark + anchor
        if aim.is_file() and aim.is_relative_to(ROOT):
            copy = self.folder / "files" / aim.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(aim, copy)
            return copy.relative_to(self.folder).as_posix()
        raise KeyError(target)


def explained(physics: str) -> dict[str, str]:
    """Heading that explains each module of resexp.theory. Raises ResexpError where one has none."""
    found: dict[str, str] = {}
    for section in physics.split("\n## ")[1:]:
        for module in re.findall(r"`theory/(\w+)\.py`", section):
            found.setdefault(module, section.partition("\n")[0])
    for module in sorted((ROOT / "resexp/theory").glob("[!_]*.py")):
        if module.stem not in found:
            raise ResexpError(f"docs/physics.md has no section that names `theory/{module.name}`.")
    return found


def build(folder: Path, results: Path) -> None:
    """Write all pages. Raises ResexpError, MissingError."""
    check_renderable()
    _clear(folder)
    groups = contents()
    pages = {one.title: one.page for e in groups[REFERENCE] for one in e.children}
    site = Site(folder, groups, _templates(), pages)
    (folder / "site.css").write_text(_part("page.css") + (HERE / "templates/site.css").read_text(encoding="utf-8"))
    (folder / "experiments.schema.json").write_text(json.dumps(schema.experiments_schema(), indent=1))
    _front(site, results)
    texts = {}
    for one in site.written:
        assert one.file is not None
        link = partial(site.link, one.file)
        if one.file.suffix == ".ipynb":
            body, headings = notebooks.rendered(one.file, link)
        else:
            texts[one] = one.file.read_text(encoding="utf-8")
            body, headings = sources.rendered(texts[one], one.file, link)
        site.put(one.page, one.title, body, headings)
    _reference(site, {(one.page, one.title): text for one, text in texts.items()})
    wrong = list(links.broken(folder))
    if wrong:
        raise ResexpError("Links of the documentation are broken.\n" + "\n".join(wrong))


def _front(site: Site, results: Path) -> None:
    """The chapter as `resexp chapter` tells it, with a line that leads to the other pages."""
    chapter = Chapter.load()
    found = book.kept(chapter.planned(chapter.statements, full=False), Store(results))
    page = book.page_of(chapter, chapter.statements, found, full=False)
    lines = [
        f"- {group}: " + " · ".join(f"[{one.title}]({one.page})" for one in entries)
        for group, entries in site.groups.items()
    ]
    data = "The same for programs: [chapter.json](chapter.json)."
    page = replace(page, introduction="\n".join([page.introduction, data, "", "Documentation of resexp:", "", *lines]))
    (site.folder / "index.html").write_text(render(page), encoding="utf-8")
    told = book.data_of(chapter.statements, found, full=False)
    (site.folder / "chapter.json").write_text(book.as_json(told), encoding="utf-8")


def _reference(site: Site, texts: Mapping[tuple[str, str], str]) -> None:
    all_experiments = [reference.experiment_reference(name) for name in registry.experiments()]
    all_verbs = [reference.verb_reference(name) for name in reference.verbs()]
    sections = explained((DOCS / "physics.md").read_text(encoding="utf-8"))
    site.fill("experiments.html", "experiments", "Experiments", all=all_experiments)
    for it in all_experiments:
        page = f"experiment-{it.name}.html"
        derivations = {sources.slug(sections[module]): sections[module] for module in it.theory}
        site.fill(page, "experiment", it.name, it=it, judged=meanings.judged(), derivations=derivations)
    site.fill("commands.html", "commands", "Commands", all=all_verbs, help=reference.help_of())
    for verb in all_verbs:
        used = [
            where for where, text in texts.items() if verb.name in {c.split()[1] for c in sources.commands_of(text)}
        ]
        site.fill(f"command-{verb.name}.html", "command", f"resexp {verb.name}", it=verb, mentions=used)
    settings, output = reference.common_options()
    site.fill(
        "common-options.html",
        "common-options",
        "Options of every experiment",
        settings=settings,
        output=output,
        settings_examples=reference.SETTINGS_EXAMPLES,
        output_examples=reference.OUTPUT_EXAMPLES,
        sweeps=[(text, sweep.spread("--width", text)) for text in ("10,20,50", "10:50:10", "1:64:x2", "2:5,100")],
    )
    site.fill(
        "experiments-yaml.html",
        "experiments-yaml",
        "experiments.yaml",
        top=config.TOP_KEYS,
        entry=yaml_entry.ENTRY_KEYS,
        settings={name: field.description for name, field in Settings.model_fields.items()},
        swept=yaml_sweep.SWEPT_SETTINGS,
        experiments=registry.experiments(),
        name_pattern=yaml_entry.NAME_PATTERN,
        plot_pattern=yaml_entry.PLOT_PATTERN,
        most_cells=entry.MOST_CELLS,
        deepest=config.DEEPEST_INCLUDE,
        example=(Path(create.__file__).parent / "templates/experiments.yaml").read_text(encoding="utf-8"),
    )
    site.fill(
        "output.html",
        "output",
        "Exit codes, columns, environment",
        exit_codes=meanings.exit_codes(),
        columns=meanings.columns(),
        kinds=meanings.kinds(),
        variables=meanings.variables(),
        all_variables=meanings.every_variable(),
    )


def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    def ticked(text: str) -> Markup:
        """The text with `code` as code."""
        parts = str(escape(text)).split("`")
        pairs = [part if place % 2 == 0 else f"<code>{part}</code>" for place, part in enumerate(parts)]
        return Markup("".join(pairs)) if len(parts) % 2 else escape(text)

    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["slug"] = slug
    templates.filters["ticked"] = ticked
    return templates


def _part(name: str) -> str:
    from importlib.resources import files

    return files("resexp.report.page").joinpath("templates", name).read_text(encoding="utf-8")


def _clear(folder: Path) -> None:
    """Empty the folder of what an earlier build left; refuse one that something else wrote to."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "site.css").is_file():
        raise ResexpError(f"{folder} is not empty and holds no documentation; choose another --out.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, and say where it is; the exit code."""
    parser = argparse.ArgumentParser(description="Build the documentation as HTML pages.")
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder to write [default: site]")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="stored results [default: results]")
    parser.add_argument("--no-run", action="store_true", help="make the front page of what is stored; run nothing")
    asked = parser.parse_args(arguments)
    code = 0
    if not asked.no_run:
        command = [sys.executable, "-m", "resexp_cli", "chapter", "--out", str(asked.results)]
        code = subprocess.run(command, check=False).returncode
        if code not in {0, 3}:  # 3: some cells failed, which the page tells
            return code
    try:
        build(asked.out, asked.results)
    except (ResexpError, MissingError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    sys.stderr.write(f"documentation: {asked.out / 'index.html'}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
