"""A page as HTML: one file that needs nothing from anywhere."""

import errno
import os
import re
import uuid
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from resexp.core.errors import MissingError, ResexpError, UsageError
from resexp.report.page.content import Page

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

SUFFIXES = (".html", ".htm")


def check_renderable() -> None:
    """Raise MissingError where a page could not be made here."""
    from importlib.util import find_spec

    if not all(find_spec(name) for name in ("jinja2", "markdown_it", "matplotlib")):
        raise MissingError("A page needs jinja2, markdown-it-py and matplotlib: pip install 'resexp[report]'.")


def render(page: Page) -> str:
    """The whole page. Raises MissingError."""
    check_renderable()
    return _environment().get_template("page.html.jinja").render(page=page)


def check_page(path: Path) -> None:
    """Raise UsageError or ResexpError where no page of that name can be written; makes its folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--page '{path}': needs the name of a file that ends in .html, such as report.html.")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise UsageError or ResexpError where no file of that name can be written; makes its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UsageError(f"{path} is a folder; --page needs the name of a file in it.")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ResexpError(f"{path} could not be written: {error.strerror or error}.") from None


def write(text: str, path: Path) -> None:
    """Write beside and rename, so that a full disk leaves an earlier page whole. Raises ResexpError."""
    check_writable(path)
    beside = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace")
        beside.rename(path)
    except OSError as error:
        raise ResexpError(f"{path} could not be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("resexp.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = markdown
    environment.filters["slug"] = slug
    environment.globals["part"] = lambda name: Markup(_part(name))
    return environment


def markdown(text: str) -> "Markup":
    """Markdown as HTML; HTML in it is shown as text."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def slug(text: str) -> str:
    """The text as a name for a class or an id."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _part(name: str) -> str:
    """A file that the page holds as it is: styles, script."""
    return files("resexp.report.page").joinpath("templates", name).read_text(encoding="utf-8")
