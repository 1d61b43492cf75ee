"""Expressions as text backends write them: a small tree, its constructors, and walks over it.

    Expr := Name | Num | Un | Bin | Cmp | IfE | CallE | Attr | Item | Seq | SliceE

Immutable and compared by structure. ``codegen.printer`` turns them into text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Name:
    """A name, perhaps dotted."""

    text: str


@dataclass(frozen=True, slots=True)
class Num:
    """A literal that is not negative, or a quoted word."""

    text: str


@dataclass(frozen=True, slots=True)
class Un:
    op: Literal["-", "~", "not ", "*"]
    x: Expr


@dataclass(frozen=True, slots=True)
class Bin:
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Cmp:
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class IfE:
    """then if condition else other"""

    condition: Expr
    then: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class CallE:
    function: Expr
    args: tuple[Expr, ...]
    keywords: tuple[tuple[str, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class Attr:
    base: Expr
    name: str


@dataclass(frozen=True, slots=True)
class SliceE:
    """start:stop:step inside an Item; None for an omitted part."""

    start: Expr | None = None
    stop: Expr | None = None
    step: Expr | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """base[items]; ``Name("None")`` and ``Name("...")`` are ordinary items."""

    base: Expr
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Seq:
    """A tuple or a list."""

    kind: Literal["(", "["]
    items: tuple[Expr, ...]


Expr: TypeAlias = Name | Num | Un | Bin | Cmp | IfE | CallE | Attr | Item | Seq | SliceE

NONE = Name("None")
ALL = SliceE()


def integer(value: int) -> Expr:
    """An integer literal."""
    return Num(str(value)) if value >= 0 else Un("-", Num(str(-value)))


def call(function: str | Expr, *args: Expr, **keywords: Expr | None) -> CallE:
    """A call; keywords given as None are left out."""
    name = Name(function) if isinstance(function, str) else function
    return CallE(name, args, tuple((k, v) for k, v in keywords.items() if v is not None))


def method(base: Expr, name: str, *args: Expr, **keywords: Expr | None) -> CallE:
    """A call of a method of ``base``."""
    return call(Attr(base, name), *args, **keywords)


def sequence(items: tuple[Expr, ...]) -> Seq:
    return Seq("(", items)


def parts(e: Expr) -> Iterator[Expr]:
    """An expression and everything inside it, outer first."""
    yield e
    match e:
        case Un(_, x) | Attr(x, _):
            inner: tuple[Expr | None, ...] = (x,)
        case Bin(_, a, b) | Cmp(_, a, b):
            inner = (a, b)
        case IfE(a, b, c):
            inner = (a, b, c)
        case CallE(function, args, keywords):
            inner = (function, *args, *(v for _, v in keywords))
        case Item(base, items):
            inner = (base, *items)
        case Seq(_, items):
            inner = items
        case SliceE(start, stop, step):
            inner = (start, stop, step)
        case _:
            inner = ()
    for each in inner:
        if each is not None:
            yield from parts(each)


def mapped(e: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """``e`` with ``change`` applied to every part, innermost first."""

    def go(x: Expr) -> Expr:
        return mapped(x, change)

    match e:
        case Un(op, x):
            e = Un(op, go(x))
        case Bin(op, a, b):
            e = Bin(op, go(a), go(b))
        case Cmp(op, a, b):
            e = Cmp(op, go(a), go(b))
        case IfE(a, b, c):
            e = IfE(go(a), go(b), go(c))
        case CallE(function, args, keywords):
            e = CallE(go(function), tuple(map(go, args)), tuple((k, go(v)) for k, v in keywords))
        case Attr(base, name):
            e = Attr(go(base), name)
        case Item(base, items):
            e = Item(go(base), tuple(map(go, items)))
        case Seq(kind, items):
            e = Seq(kind, tuple(map(go, items)))
        case SliceE(start, stop, step):
            e = SliceE(*(None if p is None else go(p) for p in (start, stop, step)))
        case _:
            pass
    return change(e)


def substituted(e: Expr, old: Expr, new: Expr) -> Expr:
    """``e`` with every occurrence of ``old`` replaced."""
    return mapped(e, lambda x: new if x == old else x)
