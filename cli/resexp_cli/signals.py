"""Ctrl-C and SIGTERM: the first ends the run in order, within a moment; the second ends the process where it stands."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

BY_SIGNAL = 128
"""What is added to the number of a signal, as in a shell."""
ENDING = (signal.SIGINT, signal.SIGTERM)


def listen() -> None:
    """Raise KeyboardInterrupt at the first signal, which holds its number; what was ignored stays ignored (nohup)."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    for one in ENDING:
        if signal.getsignal(one) is _interrupt:
            signal.signal(one, signal.SIG_DFL)
    raise KeyboardInterrupt(number)


def exit_code(interrupt: BaseException) -> int:
    """130 after Ctrl-C, 143 after SIGTERM. interrupt: a KeyboardInterrupt, or what was raised from one."""
    told = (interrupt.__cause__ or interrupt).args
    return BY_SIGNAL + (told[0] if told else signal.SIGINT)


def leave(code: int) -> NoReturn:
    """End the process with all that was printed, and without the second that Python takes to take torch apart."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
