"""Which function of a model has a wrong derivative, at the arguments that it met.

In: a loss, a point. Out: `Slope`s: function, argument, where, what its derivative says and what the
values beside say.

A derivative is held against the two one-sided differences at 60 digits: at a kink it may be
anything between them, which is the convention's to choose.

Guarantees: a function is asked at arguments that occur in the model, so that what is found matters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symprop import term as t
from symprop.checks.point import Point
from symprop.checks.taylor import DIGITS
from symprop.graph import Node
from symprop.ops.reference import evaluate, reference, settled
from symprop.oracle import Oracle, context, run_with

__all__ = ["Slope", "wrong_slopes"]

ASKED = 24  # arguments a function is asked at
STEP = 1e-20
AGREED = 1e-12  # of a derivative's size


@dataclass(frozen=True)
class Slope:
    """A derivative that is wrong."""

    function: str
    argument: int
    point: tuple[float, ...]
    declared: float
    expected: float

    def __str__(self) -> str:
        at = ", ".join(f"{x:.6g}" for x in self.point)
        which = f" in argument {self.argument + 1}" if len(self.point) > 1 else ""
        return (
            f"the derivative of {self.function}{which} at {at} is declared as {self.declared:.6g}, "
            f"but its values there have the slope {self.expected:.6g}"
        )


class Watched(Oracle):
    """An oracle that records the arguments of functions."""

    def __init__(self, ctx: Any, seen: dict[t.Function, dict[tuple[Any, ...], None]]) -> None:
        super().__init__(ctx)
        self.seen = seen

    def fresh(self) -> Oracle:
        return Watched(self.ctx, self.seen)

    def function(self, fn: t.Function) -> Callable[..., Any]:
        plain = super().function(fn)
        if fn in t.STRUCTURAL or fn.name == "stop_gradient":
            return plain
        seen = self.seen.setdefault(fn, {})

        def watched(*args: Any) -> Any:
            if len(seen) < ASKED:
                seen[tuple(map(self.number, args))] = None
            return plain(*args)

        return watched


def wrong_slopes(loss: Node, point: Point) -> list[Slope]:
    """The first wrong derivative of each function that has one."""
    ctx = context(DIGITS)
    seen: dict[t.Function, dict[tuple[Any, ...], None]] = {}
    run_with(Watched(ctx, seen), [loss], point.given)
    found = []
    for fn, places in seen.items():
        wrong = next((s for args in places for s in _wrong(fn, args, ctx)), None)
        if wrong is not None:
            found.append(wrong)
    return found


def _wrong(fn: t.Function, args: tuple[Any, ...], ctx: Any) -> list[Slope]:
    """The wrong partial derivatives at one place."""
    value = reference(fn, ctx)
    found = []
    for i in range(fn.arity):
        partial = fn.partial(i)
        declared = ctx.mpf(0) if partial is None else _at(partial, args, ctx)
        step = ctx.mpf(STEP) * max(1, abs(args[i]))
        up, here, down = (value(*_moved(args, i, step * k)) for k in (1, 0, -1))
        sides = [(up - here) / step, (here - down) / step]
        if not all(map(ctx.isfinite, (*sides, declared))):
            continue
        room = AGREED * max(1, *map(abs, sides))
        if not min(sides) - room <= declared <= max(sides) + room:
            where = tuple(map(float, args))
            found.append(Slope(fn.given, i, where, float(declared), float(sides[0])))
    return found


def _at(partial: t.Term, args: Sequence[Any], ctx: Any) -> Any:
    return settled(lambda: evaluate(partial, args, ctx), ctx)


def _moved(args: tuple[Any, ...], i: int, step: Any) -> tuple[Any, ...]:
    return (*args[:i], args[i] + step, *args[i + 1 :])
