"""A page in a real browser without a window: no errors, the filter filters, columns sort, figures suit the page."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from resexp.experiments.variance import Variance
from resexp.report.page.overview import overview
from resexp.report.page.render import render
from resexp.runs.cell import Cell
from resexp.runs.execute import execute
from resexp.runs.settings import Settings
from resexp.runs.store import Store

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs chromium: apt-get install chromium")

DRIVER = """
<script>
const seen = {};
const shown = () => [...document.querySelectorAll("article:not([hidden])")].map((article) => article.id);
const type = (text) => {
  const box = document.getElementById("words");
  box.value = text;
  box.dispatchEvent(new Event("input"));
};
seen.atFirst = shown();
type("rescaled");
seen.filtered = shown();
seen.told = document.getElementById("found").textContent;
seen.contents = [...document.querySelectorAll("nav li:not([hidden])")].map((entry) => entry.dataset.of);
type("no such words");
seen.nothing = shown();
seen.groups = document.querySelectorAll(".group:not([hidden])").length;
type("");
const rows = (verdict) => document.querySelectorAll(`tr[data-verdict="${verdict}"]:not([hidden])`).length;
const box = [...document.querySelectorAll('#filter input[name="verdict"]')].find((one) => rows(one.value) > 0);
box.click();
seen.without = rows(box.value);
box.click();
seen.with = rows(box.value);
const table = document.querySelector("table.sortable");
const column = [...table.tHead.rows[0].cells].findIndex((head) => head.textContent === "measured");
const numbers = () => [...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim());
const button = table.tHead.rows[0].cells[column].querySelector("button");
button.click();
seen.ascending = numbers();
seen.sort = table.tHead.rows[0].cells[column].getAttribute("aria-sort");
button.click();
seen.descending = numbers();
seen.wide = document.documentElement.scrollWidth <= window.innerWidth;
const reached = [...document.querySelectorAll("a[href], button, input, summary, [tabindex]")];
seen.focusable = reached.every((one) => one.tabIndex >= 0);
const colour = (element) => getComputedStyle(element).color;
seen.figure = colour(document.querySelector("figure svg"));
seen.text = colour(document.body);
document.body.innerHTML = "";
document.body.append(Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) }));
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    store, chosen = Store(folder / "results"), []
    for scheme in ("plain", "rescaled"):
        for depth in (2, 3, 4):
            cell = Cell(Variance(depth=depth, width=8, batch=4, draws=64, scheme=scheme), Settings())
            execute(cell, store)
            chosen.append((scheme, str(store.folder(cell))))
    file = folder / "page.html"
    file.write_text(render(overview(chosen, "Page", lambda error: pytest.fail(str(error)))), encoding="utf-8")
    return file


def in_browser(page: Path, *flags: str) -> tuple[dict[str, object], str]:
    """What the driver saw, and what the browser said of the page."""
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text().replace("</body>", f"{DRIVER}</body>"), encoding="utf-8")
    assert BROWSER is not None
    profile = f"--user-data-dir={page.parent / 'profile'}"
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", profile)
    command = [BROWSER, *quiet, "--enable-logging=stderr", "--dump-dom", "--window-size=1280,900", *flags]
    done = subprocess.run([*command, driven.as_uri()], capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(found.group(1).replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")), done.stderr


@needs_browser
def test_filter_and_sort_work_and_nothing_is_complained_of(page: Path) -> None:
    seen, said = in_browser(page)
    assert "CONSOLE" not in said
    assert seen["atFirst"] == ["variance-plain", "variance-rescaled"]
    assert seen["filtered"] == seen["contents"] == ["variance-rescaled"]
    assert seen["told"] == "1 of 2 shown"
    assert (seen["nothing"], seen["groups"]) == ([], 0)
    assert seen["without"] == 0
    assert seen["with"] != 0
    assert isinstance(seen["ascending"], list)
    numbers = [float(text.replace(",", "")) for text in seen["ascending"] if text]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 3
    assert isinstance(seen["descending"], list)
    assert [float(text.replace(",", "")) for text in seen["descending"] if text] == numbers[::-1]
    assert seen["sort"] == "ascending"
    assert seen["wide"]
    assert seen["focusable"]


@needs_browser
@pytest.mark.parametrize(("scheme", "dark"), [("1", False), ("0", True)], ids=["light", "dark"])
def test_figures_take_the_colour_of_the_page(page: Path, scheme: str, dark: bool) -> None:
    seen, _ = in_browser(page, f"--blink-settings=preferredColorScheme={scheme}")
    assert seen["figure"] == seen["text"]
    red, green, blue = map(int, re.findall(r"\d+", str(seen["text"])))
    assert (red + green + blue > 3 * 128) == dark
