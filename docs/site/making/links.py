"""Whether every link of a built site leads somewhere: to a file that is there, and to an anchor in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Links(HTMLParser):
    """Anchors of a page, and where its links lead."""

    anchors: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the id of an element and what it links to."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.append(value)
            if name == "src" or (name == "href" and tag in {"a", "link"}):
                self.targets.append(value or "")


def read(page: Path) -> Links:
    """The links of a page."""
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def broken(folder: Path) -> Iterator[str]:
    """A sentence for each link within the site that leads nowhere, and for each anchor that is there twice."""
    pages = {page.resolve(): read(page) for page in sorted(folder.rglob("*.html"))}
    for page, links in pages.items():
        for anchor in sorted({a for a in links.anchors if links.anchors.count(a) > 1}):
            yield f"{page.name}: the anchor #{anchor} is there more than once."
        for target in dict.fromkeys(links.targets):
            address = urlsplit(target)
            if address.scheme or address.netloc:
                continue
            file = (page.parent / unquote(address.path)).resolve() if address.path else page
            if not file.is_file():
                yield f"{page.name}: {target or 'an empty link'} leads to no file."
            elif address.fragment and (file not in pages or unquote(address.fragment) not in pages[file].anchors):
                yield f"{page.name}: {target} leads to no anchor of {file.name}."
