"""Measure how far the mean judged increments lie from what theory states, for many settings: `make bias`.

The declared bias bounds in resexp/theory/residual_stack.py come from this table. `headline` and `worst row` are
|measured - stated|, three standard errors taken off; `declared` is the declared bound of the worst row. All three are
times the width. A line is marked where a measurement exceeds what is declared.
"""

import argparse
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from resexp.core.lab import Lab
from resexp.core.measured import by_quantity, measure_against_theory
from resexp.core.statistics import Array
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
    *({"activation": "linear", "batch": b, "scheme": s} for b, s in itertools.product((1, 16), ("plain", "residual"))),
    *(
        {"activation": a, "batch": 16, "scheme": s, "order": o}
        for a, s, o in itertools.product(
            ("tanh", "gelu"),
            ("plain", "residual", "rescaled", "stable"),
            ("relu-linear", "linear-relu", "two-layer"),
        )
    ),
    *(
        {"activation": a, "batch": 1, "scheme": s, "init": i}
        for a, s, i in itertools.product(("tanh", "gelu"), ("plain", "rescaled"), ("he", "glorot", "orthogonal"))
    ),
    {"activation": "tanh", "alpha": 10.0, "batch": 1},
    *({"alpha": a, "scheme": "batchnorm", "batch": 64} for a in (0.1, 3.0)),
    *({"scheme": "residual", "batch": 16, "cotangent": c} for c in ("independent", "sum")),
]
NORM_SETTINGS: list[dict[str, Any]] = [
    {"scheme": "batchnorm", "batch": b, "cotangent": c, "order": o}
    for b, c, o in itertools.product(
        (4, 16, 100), ("loss", "independent", "sum"), ("relu-linear", "two-layer", "linear-relu")
    )
]


def gaps(experiment: Variance, seed: int) -> Iterator[tuple[str, float, float, float]]:
    """Yield (quantity, headline gap, worst row's gap, its declared bound) of one setting, each times the width."""
    rows = by_quantity(experiment.measure(Lab("variance", seed=seed, threads=2)))
    for measured in measure_against_theory(experiment, rows):
        family = measured.family()
        if family is None:
            continue
        over = beyond_chance(family.statistic, family.theory)
        worst = int(np.argmax(over - family.bias))
        body = family.statistic[:, family.leading :].mean(axis=1, keepdims=True)
        headline = beyond_chance(body, family.theory[family.leading :].mean(keepdims=True))
        numbers = (float(headline[0]), float(over[worst]), float(family.bias[worst]))
        yield measured.quantity.name, *(x * experiment.width for x in numbers)


def beyond_chance(statistic: Array, theory: Array) -> Array:
    """|mean - theory| less three standard errors, of each row; statistic: (draws, rows)."""
    stderr = statistic.std(axis=0, ddof=1) / np.sqrt(len(statistic))
    return np.maximum(np.abs(statistic.mean(axis=0) - theory) - 3 * stderr, 0.0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--draws", type=int, default=1024)
    arguments.add_argument("--depth", type=int, nargs="*", default=[24, 100])
    arguments.add_argument("--width", type=int, nargs="*", default=[32, 100])
    arguments.add_argument("--activation", nargs="*", help="settings of these activations alone")
    asked = arguments.parse_args()
    print(f"{'setting':78} {'quantity':28} headline  worst row  declared   (all times the width)")
    settings = [
        setting
        for setting in [*PLAIN_SETTINGS, *NORM_SETTINGS]
        if not asked.activation or setting.get("activation", "relu") in asked.activation
    ]
    for setting, width, depth in itertools.product(settings, asked.width, asked.depth):
        experiment = Variance.parse({"depth": depth, "width": width, "draws": asked.draws, **setting})
        label = " ".join(f"{k} {v}" for k, v in {"width": width, "depth": depth, **setting}.items())
        for name, headline, worst, declared in gaps(experiment, seed=11):
            mark = "  <--" if worst > declared else ""
            print(f"{label:78} {name:28} {headline:8.3f}  {worst:9.3f} {declared:9.3f}{mark}", flush=True)


if __name__ == "__main__":
    main()
