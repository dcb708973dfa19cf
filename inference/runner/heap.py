"""The process's own memory: what is freed goes back to the system only when it is asked to."""

import ctypes
import sys


def trim() -> None:
    """Give back what is free. Only glibc holds on to so much of it that there is a call for that."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
