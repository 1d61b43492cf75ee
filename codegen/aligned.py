"""Memory for arrays that begins at a cache line.

In: a number of bytes, or an array. Out: fresh bytes (``aligned``), or a copy of the array
(``aligned_copy``), whose address is a multiple of ``ALIGNMENT``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "aligned", "aligned_copy"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector there is

Array = np.ndarray[Any, Any]


def aligned(size: int) -> Array:
    """Fresh bytes, all 0, and as many as a vector has behind them.

    Both are for speed, as lanes that nothing comes of are computed as well: a page that was never
    written to makes a read of the lanes before it take 113 ns in place of 1.7, and what was left in
    memory may be numbers below 1e-38, of which each costs some hundred cycles (Sapphire Rapids).
    """
    room = np.empty(size + 2 * ALIGNMENT, np.uint8)
    room[:] = 0
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


def aligned_copy(array: Array) -> Array:
    """The same values, row-major."""
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
