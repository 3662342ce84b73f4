"""Experiments that misbehave, as the source of a third party's plugin."""

EXPERIMENTS = {
    "counted": '''
"""Squares, told of to the file that TALLY names each time one is computed."""

import os
import time

from resexp.core.experiment import param
from resexp.core.table import Table


class Counted(Table):
    """A square."""

    number: int = param(1, "what is squared")
    seconds: float = param(0.0, "how long that takes")

    axes = ("number",)
    columns = ("number", "square")

    def table(self):
        with open(os.environ["TALLY"], "a") as tally:
            tally.write(f"{self.number}\\n")
        time.sleep(self.seconds)
        yield {"number": self.number, "square": self.number**2}
''',
    "moody": '''
"""What can go wrong in an experiment."""

import os
import sys
import time
from typing import Literal

from resexp.core.experiment import Experiment, param
from resexp.core.result import Result

Mood = Literal[
    "well", "raises", "hangs", "nan", "prints", "exits", "aborts", "nothing", "numpy", "nests", "mute", "closes"
]


class MuteError(Exception):
    def __str__(self):
        raise ValueError("no words")


class Moody(Experiment):
    """An experiment in a mood."""

    random = False
    axes = ("x",)

    mood: Mood = param("well", "its mood")

    def compute(self, lab):
        return getattr(self, f"_{self.mood}")()

    def _well(self):
        return Result(("x",), [{"x": 1}])

    def _raises(self):
        raise ValueError("a bug\\nof two lines")

    def _hangs(self):
        while True:
            pass

    def _nan(self):
        return Result(("x",), [{"x": float("nan")}], headline=[{"quantity": "x", "mean": float("nan")}])

    def _prints(self):
        for _ in range(20_000):
            print("x" * 999)
        raise ValueError("hoarse")

    def _exits(self):
        sys.exit(3)

    def _aborts(self):
        os.abort()

    def _nothing(self):
        return None

    def _numpy(self):
        import numpy

        return Result(("x",), [{"x": numpy.int64(1)}], headline=[{"quantity": "x", "mean": numpy.int64(1)}])

    def _nests(self):
        return self._nests()

    def _mute(self):
        raise MuteError

    def _closes(self):
        os.closerange(3, 100)
        time.sleep(0.1)
''',
}
"""Experiments of a third party, by name."""
