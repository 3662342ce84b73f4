"""Executed notebooks as parts of pages: text, code, and what each cell gave out, as stored in the file."""

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from making import formulas, sources
from making.sources import Heading

TAGS = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li", "p", "b", "i"}
"""Of rich output that is shown as it is, without attributes; what has others is shown as text."""


def rendered(file: Path, link: Callable[[str], str]) -> tuple[str, list[Heading]]:
    """The cells in their order as HTML, and the headings. link: what a relative link becomes."""
    kept: list[str] = []  # what Markdown must not touch, each with a word in its place

    def mark(markup: str) -> str:
        kept.append(markup)
        return f"kept-{len(kept) - 1}-here"

    def formula(match: re.Match[str]) -> str:
        kind = "formula display" if match[1] else "formula"
        return mark(f'<span class="{kind}">{formulas.as_html(match[1] or match[2])}</span>')

    parts = []
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        text = _joined(cell["source"])
        of_code = cell["cell_type"] == "code"
        parts.append(mark("\n".join(_code(cell))) if of_code else formulas.FORMULA.sub(formula, text))
    body, headings = sources.rendered("\n\n".join(parts), file, link)
    put = re.compile(r"<p>kept-(\d+)-here</p>|kept-(\d+)-here")
    headings = [replace(one, text=put.sub(lambda m: kept[int(m[1] or m[2])], one.text)) for one in headings]
    return put.sub(lambda match: kept[int(match[1] or match[2])], body), headings


def title(file: Path) -> str:
    """The first heading of a notebook."""
    first = _joined(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"])
    return first.partition("\n")[0].lstrip("# ")


def _code(cell: dict[str, Any]) -> Iterator[str]:
    yield f'<pre class="cell"><code>{html.escape(_joined(cell["source"]))}</code></pre>'
    for output in cell["outputs"]:
        yield _output(output)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    plain, table = _joined(data.get("text/plain", "")), _joined(data.get("text/html", ""))
    if "image/png" in data:
        picture = re.sub(r"\s", "", _joined(data["image/png"]))
        return f'<figure class="paper"><img alt="{html.escape(plain)}" src="data:image/png;base64,{picture}"></figure>'
    bare = re.sub(r"<style\b.*?</style>|(?<=<)(\w+) [^>]*(?=>)", lambda match: match[1] or "", table, flags=re.DOTALL)
    if table and set(re.findall(r"</?(\w+)", bare)) <= TAGS:
        return f'<div class="scroll">{bare}</div>'
    return f'<pre class="output">{html.escape(plain)}</pre>'


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
