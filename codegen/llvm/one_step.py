"""One step of a bound program as a C function without arguments that returns the loss.

In: a ``Bound`` program whose first output is the loss, a float. Out: ``one_step``: a function that
runs it and returns the loss. Calling it from Python costs the call of a C function and no more:
nothing is converted on the way in, and the number is made by the call.

The machine code is the same for all programs, and is loaded anew for each: what it calls stands in
a table of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from codegen.llvm import build
from codegen.llvm.calling import Bound
from codegen.llvm.kept import compiled
from codegen.llvm.target import host

__all__ = ["one_step"]

_TEXT = """\
; what a step calls: the step, its context, its loss, the bytes of that
@table = global [4 x i64] zeroinitializer, align 8

define double @call() nounwind {
entry:
  %step = load ptr, ptr @table
  %context.at = getelementptr i64, ptr @table, i64 1
  %context = load ptr, ptr %context.at
  call void %step(ptr %context)
  %loss.at = getelementptr i64, ptr @table, i64 2
  %loss = load ptr, ptr %loss.at
  %bytes.at = getelementptr i64, ptr @table, i64 3
  %bytes = load i64, ptr %bytes.at
  %wide = icmp eq i64 %bytes, 8
  br i1 %wide, label %double, label %single
double:
  %loss.double = load double, ptr %loss
  ret double %loss.double
single:
  %loss.single = load float, ptr %loss
  %loss.widened = fpext float %loss.single to double
  ret double %loss.widened
}
"""


def one_step(bound: Bound) -> Callable[[], float]:
    """The function; it keeps what it runs on alive, and releases Python's lock while it runs."""
    assert bound.in_a_row(1)
    code, _, _ = compiled(_TEXT, b"", host())
    library = build.load(code, ("table", "call"))
    loss = bound.outputs[0]
    words = (ctypes.c_int64 * 4).from_address(library.address("table"))
    words[:] = [bound.code, bound.address, loss.ctypes.data, loss.itemsize]
    function = ctypes.CFUNCTYPE(ctypes.c_double)(library.address("call"))
    function.held = (library, bound)  # type: ignore[attr-defined]
    return function
