"""Markdown files as parts of pages: headings get anchors, links between files become links between pages."""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from resexp.core.errors import ResexpError
from resexp.report.page.render import markdown

HEADING = re.compile(r"<h([1-4])>(.*?)</h\1>", re.DOTALL)
LINK = re.compile(r'(<(?:a href|img src))="([^":]*)"')
COMMAND = re.compile(r"<code>resexp ([a-z][a-z-]*)(?=[ <])(.*?)</code>")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LEFT_OUT = "…"
"""A line of shown output that stands for lines left out."""


@dataclass(frozen=True)
class Heading:
    """A heading of a page, as HTML, and the anchor that leads to it."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Shown:
    """A command in a ```console block and what it printed, in pieces where lines were left out."""

    command: str
    output: tuple[str, ...]


def slug(text: str) -> str:
    """The anchor of a heading, the same that GitHub makes. text: HTML."""
    plain = html.unescape(re.sub(r"<[^>]+>", "", text)).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def page_name(file: str) -> str:
    """Name of the page of a Markdown file."""
    return Path(file).stem.lower() + ".html"


def rendered(text: str, file: Path, link: Callable[[str], str]) -> tuple[str, list[Heading]]:
    """The text as HTML, and its headings.

    file: where the text is, for messages; link: what a relative link of it becomes, raises KeyError where nothing.
    """
    headings: list[Heading] = []

    def anchored(match: re.Match[str]) -> str:
        base = slug(match[2])
        taken = sum(1 for heading in headings if re.fullmatch(re.escape(base) + r"(-\d+)?", heading.anchor))
        anchor = f"{base}-{taken}" if taken else base
        headings.append(Heading(int(match[1]), match[2], anchor))
        mark = f' <a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{match[1]} id="{anchor}">{match[2]}{mark if match[1] != "1" else ""}</h{match[1]}>'

    def linked(match: re.Match[str]) -> str:
        try:
            return f'{match[1]}="{link(html.unescape(match[2]))}"'
        except KeyError:
            raise ResexpError(f"{file}: the link {match[2]} leads to no page of the documentation.") from None

    body = HEADING.sub(anchored, str(markdown(text)))
    body = LINK.sub(linked, body)
    return body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"), headings


def with_commands_linked(body: str, pages: Mapping[str, str], here: str) -> str:
    """`resexp NAME ...` in a line of text leads to the page of that command. pages: by name; here: page at hand."""

    def linked(match: re.Match[str]) -> str:
        page = pages.get(match[1])
        return match[0] if page in {None, here} else f'<a class="run-by" href="{page}">{match[0]}</a>'

    parts = re.split(r"(<pre\b.*?</pre>|<a .*?</a>)", body, flags=re.DOTALL)
    return "".join(part if part.startswith(("<pre", "<a ")) else COMMAND.sub(linked, part) for part in parts)


def commands_of(text: str) -> Iterator[str]:
    """Every `resexp ...` command in the blocks of a Markdown text."""
    for language, block in FENCE.findall(text):
        if language in {"sh", "console", "yaml"}:
            lines = block.replace("\\\n", " ").splitlines()
            yield from filter(None, (_command(line) for line in lines if language != "console" or line[:2] == "$ "))


def commands_spoken_of(text: str) -> Iterator[str]:
    """Every `resexp ...` command in the lines of a Markdown text."""
    for code in re.findall(r"(?<!`)`(resexp [^`\n]+)`(?!`)", FENCE.sub("", text)):
        yield from filter(None, [_command(code)])


def _command(line: str) -> str | None:
    """The command of a line of a shell: without prompt, variables before it, comment, redirection and pipe after it."""
    found = re.search(r"(?:^|[\s=(/])resexp (?!\*)[^|>#\n;&]*", line.split("  #")[0])
    return found[0].lstrip(" \t=(/").strip().removesuffix('")') if found and not line.lstrip().startswith("#") else None


def shown(text: str) -> list[Shown]:
    """Commands with their output."""
    found = []
    for language, block in FENCE.findall(text):
        if language != "console":
            continue
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = piece.partition("\n")
            parts = re.split(rf"^{LEFT_OUT}\n", output, flags=re.MULTILINE)
            found.append(Shown(command, tuple(part.strip("\n") for part in parts if part.strip())))
    return found
