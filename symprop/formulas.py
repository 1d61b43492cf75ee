"""The line of mathematics above a value.

In: a value and its assignment. Out: one short line, or "" where the code says it as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from codegen.program import Assign, Buffer
from symprop.graph import Reduce

__all__ = ["formula"]


def formula(node: Reduce, name: str, step: Assign, buffers: Mapping[str, Buffer]) -> str:
    """The formula of a value over the names of its operands."""
    return ""
