"""Measure how far the mean judged increments lie from what theory states, for many settings: `make bias`.

The declared bias bounds in resexp/theory/residual_stack.py come from this table. `worst row` and `headline` are
|measured - stated| times the width, with three standard errors taken off; `declared` is the smallest declared bound
times the width. A line is marked where the measurement exceeds what is declared.
"""

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from resexp.core.assessment import Measured
from resexp.core.lab import Lab
from resexp.experiments.variance import Variance

PLAIN_SETTINGS: list[dict[str, Any]] = [
    *(
        {"scheme": s, "batch": b}
        for s, b in itertools.product(("plain", "residual", "rescaled", "stable"), (1, 16, 100))
    ),
    *({"alpha": a, "batch": 16} for a in (0.2, 0.5, 2.0)),
    *(
        {"order": o, "batch": b, "scheme": s}
        for o, b, s in itertools.product(("linear-relu", "two-layer"), (1, 16), ("plain", "residual"))
    ),
    *({"init": i, "batch": b} for i, b in itertools.product(("orthogonal", "glorot", "lecun"), (1, 16))),
    *(
        {"activation": a, "batch": b, "scheme": s}
        for a, b, s in itertools.product(("tanh", "gelu", "linear"), (1, 16), ("plain", "residual"))
    ),
    *({"scheme": "residual", "batch": 16, "cotangent": c} for c in ("independent", "sum")),
]
NORM_SETTINGS: list[dict[str, Any]] = [
    {"scheme": "batchnorm", "batch": b, "cotangent": c, "order": o}
    for b, c, o in itertools.product(
        (4, 16, 100), ("loss", "independent", "sum"), ("relu-linear", "two-layer", "linear-relu")
    )
]


def gaps(experiment: Variance, seed: int) -> Iterator[tuple[str, float, float, float]]:
    """Yield (quantity, headline gap, worst row gap, declared) of one setting, each times the width."""
    lab = Lab("variance", seed=seed, threads=2)
    grouped: dict[str, list] = {}
    for row in experiment.measure(lab):
        grouped.setdefault(row.quantity, []).append(row)
    for quantity in experiment.quantities_here():
        if quantity.name not in grouped:
            continue
        rows = grouped[quantity.name]
        family = Measured(quantity, rows, [experiment.theory(quantity.name, **row.axes) for row in rows]).family()
        if family is None:
            continue
        x = family.statistic
        stderr = x.std(axis=0, ddof=1) / np.sqrt(len(x))
        gap = np.maximum(np.abs(x.mean(axis=0) - family.theory) - 3 * stderr, 0)
        body = x[:, family.leading :].mean(axis=1)
        theory = family.theory[family.leading :].mean()
        over = max(abs(body.mean() - theory) - 3 * body.std(ddof=1) / np.sqrt(len(x)), 0.0)
        width = experiment.width
        excess = float((gap - family.bias).max() * width)
        yield quantity.name, float(over * width), float(gap.max() * width), excess


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--draws", type=int, default=2048)
    arguments.add_argument("--depth", type=int, default=24)
    arguments.add_argument("--width", type=int, nargs="*", default=[32, 100])
    asked = arguments.parse_args()
    print(f"{'setting':72} {'quantity':28} headline  worst row  beyond declared   (all times the width)")
    for setting, width in itertools.product([*PLAIN_SETTINGS, *NORM_SETTINGS], asked.width):
        experiment = Variance.parse({"depth": asked.depth, "width": width, "draws": asked.draws, **setting})
        label = " ".join(f"{k} {v}" for k, v in {"width": width, **setting}.items())
        for name, headline, worst, excess in gaps(experiment, seed=11):
            mark = "  <--" if excess > 0 else ""
            print(f"{label:72} {name:28} {headline:8.3f}  {worst:9.3f}  {max(excess, 0):9.3f}{mark}", flush=True)


if __name__ == "__main__":
    main()
