"""An end to code that came with a model: a chat template is a program, and may loop for hours."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Overtime(BaseException):
    """It took longer than it may. No Exception, which what is interrupted may catch."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Overtime in the body when it runs for longer.

    The interpreter raises it between two steps of Python code, so one call into C is not interrupted;
    a template's loops are Python.
    """
    thread, over, turn = threading.get_ident(), False, threading.Lock()

    def interrupt() -> None:
        with turn:
            if not over:
                raising = ctypes.py_object(Overtime)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raising)

    clock = threading.Timer(seconds, interrupt)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        with turn:  # from here on nothing is raised, so it cannot hit what comes after
            over = True
        clock.cancel()
