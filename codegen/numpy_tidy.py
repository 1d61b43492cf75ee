"""Expressions made simpler after a value was written where it is read.

    (a @ b).T            b.T @ a.T
    x[:, None][:, 0]     x

In: an expression. Out: an equal one; the operands of sums and products keep their order.
"""

from __future__ import annotations

from codegen.printer import ALL, NONE, Attr, Bin, CallE, Expr, Item, Name, Num, Seq, SliceE, mapped

__all__ = ["tidied"]


def tidied(e: Expr) -> Expr:
    """The transpose of a product of matrices as the product of their transposes."""

    def change(x: Expr) -> Expr:
        match x:
            case Attr(Bin("@", a, b), "T"):
                return Bin("@", flipped(b), flipped(a))
            case Attr(
                CallE(Name("np.tensordot") as f, (a, b), (("axes", Seq("(", (left, right))),)), "T"
            ):
                return CallE(f, (b, a), (("axes", Seq("(", (right, left))),))
            case Item(Item(base, inner), outer) if all(i in (ALL, NONE) for i in inner):
                items = _composed(list(inner), list(outer))
                if items is None:
                    return x
                return Item(base, items) if items else base
            case _:
                return x

    def flipped(x: Expr) -> Expr:
        return x.base if isinstance(x, Attr) and x.name == "T" else Attr(x, "T")

    return mapped(e, change)


def _composed(inner: list[Expr], outer: list[Expr]) -> tuple[Expr, ...] | None:
    """The items of x[inner][outer] as one indexing; ``inner`` only inserts new axes."""
    out: list[Expr] = []
    while outer:
        item = outer.pop(0)
        if item == NONE:
            out.append(NONE)
            continue
        under = inner.pop(0) if inner else ALL
        if under == ALL:
            out.append(item)
        elif item == ALL:
            out.append(NONE)
        elif item != Num("0"):
            return None
    out += inner
    while out and out[-1] == ALL:
        out.pop()
    return None if any(not isinstance(i, SliceE | Num) and i != NONE for i in out) else tuple(out)
