"""A few lines of sugar to write nests by hand in tests, and one nest that shows everything."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from codegen.index import Guard, Ix, as_ix, constant, dim, guard, loop
from codegen.loops.directives import Split, Vectorise
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.program import Binary, Buffer, Dtype, IndexValue, Load, Number, Role, Scalar

BATCH = dim("batch")


def array(name: str, axes: str = "", role: Role = "scratch", dtype: Dtype = "float32",
          **more: Any) -> Buffer:  # fmt: skip
    """axes: ``"batch pixel=4"``; a bare word is a symbolic dimension."""
    words = [w.partition("=") for w in axes.split()]
    sizes = tuple(constant(int(n)) if n else dim(w).ix() for w, _, n in words)
    return Buffer(name, sizes, tuple(w for w, _, _ in words), dtype, role, **more)


def at(name: str, *index: Ix | int, where: tuple[Guard, ...] = ()) -> Load:
    """A read."""
    return Load(name, tuple(map(as_ix, index)), where)


def num(value: float | str) -> Number:
    return Number(Fraction(str(value)))


def put(target: str, index: tuple[Ix | int, ...], op: str, value: Scalar) -> Store:
    """A store."""
    return Store(target, tuple(map(as_ix, index)), op, value)  # type: ignore[arg-type]


def each(position: int, name: str, extent: Ix | int, *body: Stmt, **more: Any) -> For:
    """A loop over ``extent``, at a position of its own."""
    return For(loop(position, as_ix(extent)), name, body, **more)


def ix(position: int, extent: Ix | int) -> Ix:
    """The variable of ``each`` with the same position and extent."""
    return loop(position, as_ix(extent)).ix()


def when(ix_: Ix, kind: str = ">=") -> Guard:
    found = guard(ix_, kind)  # type: ignore[arg-type]
    assert isinstance(found, Guard)
    return found


def nest(*body: Stmt, arrays: tuple[Buffer, ...] = (), outputs: tuple[str, ...] = (),
         kernels: tuple[Kernel, ...] = ()) -> Loops:  # fmt: skip
    """Nests named ``f`` over ``batch``; ``x``, an input of (batch, 4), stands first."""
    first = array("x", "batch pixel=4", "input")
    return Loops("f", "", (BATCH,), (first, *arrays), body, outputs, kernels)


def product() -> Scalar:
    """``x[batch, pixel] * w[unit, pixel]`` of the loops of ``everything``."""
    b, u, p = ix(0, BATCH.ix()), ix(1, 3), ix(2, 4)
    return Binary("*", at("x", b, p), at("w", u, p))


def everything() -> Loops:
    """Every statement once: a product in a register, a table in lanes, a kernel that narrows."""
    b, u, lane, n, i, j = (
        ix(0, BATCH.ix()), ix(1, 3), ix(4, 4), ix(5, BATCH.ix()), ix(6, 3), ix(7, 3),
    )  # fmt: skip
    matmul = each(
        0, "batch", BATCH.ix(),
        each(
            1, "unit", 3,
            Declare(array("acc")),
            put("acc", (), "=", at("b", u)),
            each(2, "pixel", 4, put("acc", (), "+=", product())),
            put("h", (b, u), "=", Binary("/", at("acc"), IndexValue(BATCH.ix()))),
        ),
    )  # fmt: skip
    lanes = each(
        3, "row", BATCH.ix(),
        Declare(array("tile", "lane=4")),
        each(4, "lane", 4, put("tile", (lane,), "=", at("x", ix(3, BATCH.ix()), lane)),
             kind="vector"),
        each(8, "copy", 4, put("xs", (ix(3, BATCH.ix()), ix(8, 4)), "=", at("tile", ix(8, 4))),
             kind="unroll"),
        kind="parallel",
    )  # fmt: skip
    kernel = Kernel(
        "below", (BATCH,),
        (array("h", "batch unit=3", "input"), array("total", "unit=3")), ("total",),
        (
            When((when(n - 1),), (put("total", (0,), "max=", at("h", n - 1, 0)),)),
            each(6, "i", 3, each(7, "j", 3, put("total", (i,), "+=", at("h", n, j)),
                                 low=(i - 1,), high=(i + 1,))),
        ),
        (), (loop(5, BATCH.ix()),), ("n",), "Sums below the diagonal.",
    )  # fmt: skip
    clear = each(9, "unit", 3, put("total", (ix(9, 3),), "=", num(0)))
    calls = each(10, "batch", BATCH.ix(), Call("below", ("h", "total"), (ix(10, BATCH.ix()),)))
    return Loops(
        "show", "Every statement once.", (BATCH,),
        (
            array("x", "batch pixel=4", "input"),
            array("w", "unit=3 pixel=4", "parameter", label="dense.weight"),
            array("b", "unit=3", "constant", data=(1.0, 2.0, 3.0)),
            array("h", "batch unit=3"), array("xs", "batch pixel=4"), array("total", "unit=3"),
        ),
        (
            Part("h", (matmul,), "h = (x Wᵀ + b) / size of batch"),
            Part("xs", (lanes,), "xs = x"),
            Part("total", (clear, calls)),
        ),
        ("h", "xs", "total"), (kernel,),
        (Split("xs", "pixel", size=4), Vectorise("xs", "pixel_inner")),
    )  # fmt: skip
