"""A figure as part of a page: SVG whose text and axes take the page's colour, in daylight and in the dark."""

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resexp.core.experiment import Experiment, Pictures, Plot, Surface
from resexp.core.result import Value
from resexp.report.figure import figure_of, style
from resexp.runs.cell import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
TURNING = (INK, "#444444", "#000000")
"""Colours of axes and text, of theory and of a seventh curve, which become the page's own: black would be lost in the
dark."""
LARGEST_SVG = 400_000
"""Characters; a larger figure, such as a surface of thousands of facets, becomes pixels."""
PAGE_STYLE: Any = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Picture:
    """HTML of a figure, and what it shows in words. on_paper: whether it needs a white ground."""

    markup: str
    alternative: str
    on_paper: bool


def can_be_drawn(experiment: type[Experiment]) -> bool:
    """Whether results of the experiment have a figure."""
    return experiment.plot is not None or experiment.sketched


def picture_of(outcomes: Sequence[Outcome], name: str) -> Picture:
    """The figure of `--plot` for a page. name: begins the ids in it, which a page must have once only."""
    import matplotlib as mpl

    kind = type(outcomes[0].cell.experiment)
    on_paper = kind.sketched or type(kind.plot) is not Plot
    words = alternative_of(outcomes)
    with mpl.rc_context(None if on_paper else PAGE_STYLE):
        figure = figure_of(outcomes, widest=2)
    return drawn(figure, name, words, on_paper=on_paper)


def drawn(figure: "Figure", name: str, words: str, *, on_paper: bool = False) -> Picture:
    """A figure for a page. words: what it shows, for those who do not see it."""
    import matplotlib as mpl

    with style(), mpl.rc_context(None if on_paper else PAGE_STYLE):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=not on_paper)
        if len(buffer.getvalue()) <= LARGEST_SVG:
            markup = _inline(buffer.getvalue(), name, words)
            if not on_paper:
                markup = re.sub("|".join(TURNING), "currentColor", markup)
            return Picture(markup, words, on_paper)
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=130, facecolor="white")
    data = base64.b64encode(pixels.getvalue()).decode()
    return Picture(f'<img alt="{html.escape(words)}" src="data:image/png;base64,{data}">', words, True)


def alternative_of(outcomes: Sequence[Outcome]) -> str:
    """What a figure shows, in a sentence; the numbers themselves are in the table beside it."""
    experiment = outcomes[0].cell.experiment
    plot = type(experiment).plot
    settings = f", {len(outcomes)} settings" if len(outcomes) > 1 else ""
    if type(experiment).sketched or plot is None:
        return f"Drawing by {experiment.name()}{settings}."
    if isinstance(plot, Pictures):
        return f"Pictures of {', '.join(plot.quantities)}, a line for each {plot.series}{settings}."
    if isinstance(plot, Surface):
        return f"Surface of {plot.quantity.replace('_', ' ')} over {plot.x} and {plot.y}{settings}."
    rows: list[dict[str, Value]] = [row for outcome in outcomes for row in outcome.result.rows]
    quantities = dict.fromkeys(str(row["quantity"]).replace("_", " ") for row in rows if row.get("quantity"))
    shown = ", ".join(quantities) or plot.y.replace("_", " ")
    theory = ", theory as dashed lines" if any(row.get("theory") is not None for row in rows) else ""
    return f"{shown[:1].upper()}{shown[1:]} against {plot.x}{settings}{theory}."


def _inline(svg: str, name: str, words: str) -> str:
    """SVG without its prologue, sized by the page, its ids made the page's own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", svg)
    svg = re.sub(r'\b(d|x|y|transform)="([^"]+)"', _rounded, svg)
    label = f'<svg role="img" aria-label="{html.escape(words)}"'
    return re.sub(r"\s*\n\s*", "\n", svg.replace("<svg", label, 1))


def _rounded(attribute: "re.Match[str]") -> str:
    """Coordinates to a hundredth of a point, which halves a figure."""
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute.group())
