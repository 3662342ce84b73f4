"""Printed text against text that was stored: words as they are, numbers to a relative part, spaces left alone."""

import math
import re

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w])")


def differences(fresh: str, stored: str, relative: float = 2e-3, absolute: float = 2e-3) -> list[str]:
    """Lines that say otherwise; numbers may differ in digits that depend on the processor's arithmetic.

    Text may differ in its spaces, which follow the width of numbers.
    """
    lines = fresh.strip().splitlines(), stored.strip().splitlines()
    if len(lines[0]) != len(lines[1]):
        return [f"{len(lines[0])} lines instead of {len(lines[1])}:\n{fresh}"]
    return [
        f"{new!r} instead of {old!r}"
        for new, old in zip(*lines, strict=True)
        if _words(new) != _words(old) or not _near(new, old, relative, absolute)
    ]


def _words(line: str) -> list[str]:
    return NUMBER.sub(" # ", line).split()


def _near(fresh: str, stored: str, relative: float, absolute: float) -> bool:
    pairs = zip(NUMBER.findall(fresh), NUMBER.findall(stored), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=relative, abs_tol=absolute) for a, b in pairs)
