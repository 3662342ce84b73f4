"""How far a run has got, said now and then in plain lines where stderr is no terminal: in a pipe, a log, a CI job."""

import time
from collections.abc import Callable

EVERY_SHARE = 0.1
LEAST_SECONDS = 10.0  # between two lines
MOST_SECONDS = 60.0  # after which there is a line whatever the share


class PlainProgress:
    """At most a line every ten seconds, and one at least every tenth of the work or every minute.

    say: takes a line; clock: seconds, from any origin.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._started = self._last = clock()
        self._share = 0.0

    def step(self, share: float, what: str) -> None:
        """The work has got so far. share: of the whole; what: what is said of it."""
        now = self._clock()
        waited = now - self._last
        if waited < LEAST_SECONDS or (share - self._share < EVERY_SHARE and waited < MOST_SECONDS):
            return
        self._last, self._share = now, share
        self._say(f"{what}, {share:.0%} after {_told(now - self._started)}")


def _told(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
