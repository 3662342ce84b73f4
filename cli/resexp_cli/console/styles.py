"""Colours that can be read on a light background and on a dark one.

They are of the fixed part of the 256 colours: the first sixteen are whatever the terminal's owner made of them. Each
has a contrast of at least 3 (WCAG 2.1, 1.4.11) with white, black, and the backgrounds that terminals commonly have.
"""

GREEN, RED, ORANGE, GREY = "color(28)", "color(196)", "color(166)", "color(243)"
BLUE, MAGENTA = "color(31)", "color(164)"

ERROR = f"bold {RED}"
WARNING, FAINT, ADVICE = ORANGE, GREY, f"bold {ORANGE}"
VERDICTS = {
    "agree": GREEN,
    "growth agrees": GREEN,
    "disagree": ERROR,
    "underpowered": ORANGE,
    "not judged": FAINT,
    "no theory": FAINT,
}
CHART = {"measured": BLUE, "theory": MAGENTA, "both": "bold", "": ""}
BAR, TRACK = BLUE, GREY
PROGRESS = {"progress.percentage": "none", "progress.elapsed": FAINT, "progress.remaining": FAINT}
"""Names of the theme of rich."""
