"""Do index arrays hold what their bounds promise? Every other proof of a range rests on that.

In: the bodies of nests whose names, shapes and dtypes are known to be right. Out: nothing, or
``InvalidLoops`` that names the array, the part and what is stored.

Guarantees: in accepted nests, what is stored to an array that positions are gathered from is proved
to lie within its declared bounds, and so is what that value is made of, through registers, copies
and kernels; the data of constants lies within theirs. A proof follows integers through loads,
``+ - *``, choices, maxima and minima, with the guards that hold; what it does not know (a float
made an integer, a sum over loops) is refused. An array without bounds is gathered from with those
of its dtype.

Of inputs, and of what parameters and states hold at first, the caller has to see to the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from codegen.dtypes import WIDTH, infer_dtype, is_float, is_unsigned
from codegen.index import Guard, Ix, bounds, constant, gather, guard, lower, nonneg, upper
from codegen.loops.nest import Call, Declare, Kernel, Stmt, Store
from codegen.loops.scope import InvalidLoops, Scope, visited
from codegen.loops.walk import gathered, inside
from codegen.program import (
    Binary,
    Buffer,
    BufferSource,
    Cast,
    Compare,
    Dtype,
    IndexValue,
    Load,
    Number,
    Scalar,
    Select,
    Unary,
)
from codegen.program import Call as Function
from codegen.ranges import implied

__all__ = ["Body", "bounds_of_values", "check_values"]

Case = tuple[tuple[Guard, ...], Ix]  # a value, and what holds where it is this one
Owned = tuple[str, str]  # a body ("" or a kernel) and an array in it
_STORES = {"+=": "+", "max=": "maximum", "min=": "minimum"}
_MOST = 64  # cases followed for one value


@dataclass(frozen=True)
class Body:
    """The statements of the program ("") or of a kernel, and the scope they stand in."""

    owner: str
    stmts: tuple[Stmt, ...]
    scope: Scope


def bounds_of_values(b: Buffer) -> tuple[Ix, Ix]:
    """The least and the greatest value of an integer array: as declared, or of its dtype."""
    low, high = _limits(b.dtype)
    return (
        constant(low) if b.low is None else b.low,
        constant(high) if b.high is None else b.high,
    )


def _limits(dtype: Dtype) -> tuple[int, int]:
    if dtype == "bool":
        return 0, 1
    low = 0 if is_unsigned(dtype) else -(1 << (WIDTH[dtype] - 1))
    return low, low + (1 << WIDTH[dtype]) - 1


def check_values(bodies: Sequence[Body], kernels: Mapping[str, Kernel]) -> None:
    """Accept the whole, or raise InvalidLoops."""
    _Values(bodies, kernels).check()


class _Values:
    """The arrays whose bounds a proof rests on: ``todo`` grows as proofs are made."""

    def __init__(self, bodies: Sequence[Body], kernels: Mapping[str, Kernel]) -> None:
        self.bodies = bodies
        self.kernels = kernels
        self.arrays = {(body.owner, b.name): b for body in bodies for b in _arrays(body)}
        self.stores: dict[Owned, list[tuple[Store, Scope]]] = {}
        self.calls: list[tuple[str, Call, Scope]] = []
        self.todo: dict[Owned, None] = {}
        for body in bodies:
            for stmt, scope in visited(body.stmts, body.scope):
                if isinstance(stmt, Store):
                    self.stores.setdefault((body.owner, stmt.target), []).append((stmt, scope))
                elif isinstance(stmt, Call):
                    self.calls.append((body.owner, stmt, scope))
                for g in gathered(stmt):
                    assert isinstance(g.source, BufferSource)
                    self.todo[body.owner, g.source.buffer] = None

    def check(self) -> None:
        done: set[Owned] = set()
        while left := [key for key in self.todo if key not in done]:
            done.add(left[0])
            self.array(left[0])

    def array(self, key: Owned) -> None:
        """What is stored to an array, here and by the kernels that get it."""
        b = self.arrays[key]
        if b.low is not None or b.high is not None:
            self.constant(b)
            for stmt, scope in self.stores.get(key, ()):
                if not scope.dead and not self.within(key[0], stmt, scope, b):
                    raise scope.fail(
                        f"{scope.element(b.name, stmt.index)} is gathered from, and what is "
                        f"stored there is not proved to be in {_spelled(b)}"
                    )
        for owner, call, scope in self.calls:
            self.handed(key, owner, call, scope)

    def handed(self, key: Owned, owner: str, call: Call, scope: Scope) -> None:
        """A call that gets an array, or that is of the kernel whose argument it is."""
        kernel = self.kernels[call.kernel]
        for inner, name in zip(kernel.arrays, call.arguments, strict=True):
            if key not in ((owner, name), (kernel.name, inner.name)):
                continue
            outer = self.arrays[owner, name]
            written = inner.name in kernel.writes
            if written and (inner.low, inner.high) != (outer.low, outer.high):
                raise scope.fail(
                    f"{name}, in {_spelled(outer)}, is gathered from, but {kernel.name} writes it "
                    f"as {inner.name}, in {_spelled(inner)}"
                )
            self.todo[owner, name] = None
            if written:
                self.todo[kernel.name, inner.name] = None

    def constant(self, b: Buffer) -> None:
        """The data of a constant is within its bounds, whatever the sizes."""
        low, high = bounds_of_values(b)
        for value in b.data or ():
            if not nonneg(constant(int(value)) - low) or not nonneg(high - int(value)):
                raise InvalidLoops(f"the constant {b.name} holds {value}, not in {_spelled(b)}")

    def within(self, owner: str, stmt: Store, scope: Scope, b: Buffer) -> bool:
        """Whether what the element holds after a store is proved to be within the bounds."""
        value = stmt.value
        if stmt.op != "=":
            old = Load(b.name, stmt.index)
            value = (
                Binary("+", old, value)
                if stmt.op == "+="
                else Function(_STORES[stmt.op], (old, value))
            )
        cases = _Cases(scope)
        found = cases.of(value, b.dtype)
        low, high = bounds_of_values(b)
        if found is None or not _held(low, high, b.dtype):
            return False
        for name in cases.read:
            self.todo[owner, name] = None
        return all(
            implied(ix - low, (*scope.guards, *guards))
            and implied(high - ix, (*scope.guards, *guards))
            for guards, ix in found
        )


def _arrays(body: Body) -> Iterator[Buffer]:
    yield from body.scope.arrays.values()
    yield from (s.array for s in inside(body.stmts) if isinstance(s, Declare))


def _spelled(b: Buffer) -> str:
    low, high = bounds_of_values(b)
    return f"{low!r}..{high!r}"


def _held(low: Ix, high: Ix, dtype: Dtype) -> bool:
    """Whether a dtype holds such numbers; those made of sizes fit wherever the sizes do."""
    first, last = _limits(dtype)
    least, most = lower(low), upper(high)
    return (least is None or first <= least) and (most is None or most <= last)


class _Cases:
    """The values an integer scalar may have, case by case; ``read`` are the arrays it rests on."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.read: dict[str, None] = {}

    def of(self, s: Scalar, context: Dtype) -> list[Case] | None:
        """Every case; None where nothing is known."""
        dtype = infer_dtype(s, self.scope.arrays, context)
        if is_float(dtype):
            return None
        if dtype == "bool":
            return [((), constant(0)), ((), constant(1))]
        match s:
            case Number(Fraction() as value):
                first, last = _limits(dtype)
                whole = value.denominator == 1 and first <= value <= last
                return [((), constant(int(value)))] if whole else None
            case IndexValue(ix):
                return [((), ix)]
            case Load():
                return self.load(s)
            case Unary("-", x):
                found = self.both(Number(Fraction(0)), x, dtype)
                return self.exact([(g, a - b) for g, a, b in found or ()], dtype)
            case Binary("+" | "-" | "*" as op, a, b):
                return self.arithmetic(op, a, b, dtype)
            case Select(c, a, b):
                return self.chosen(c, a, b, dtype)
            case Function("maximum" | "minimum" as name, (a, b)):
                sign = 1 if name == "maximum" else -1
                found = self.both(a, b, dtype)
                if found is None:
                    return None
                left = [_given(g, guard((x - y) * sign, ">="), x) for g, x, y in found]
                right = [_given(g, guard((y - x) * sign, ">="), y) for g, x, y in found]
                return [case for case in (*left, *right) if case is not None]
            case Cast(_, x):
                return self.exact(self.of(x, dtype), dtype)
            case _:
                return None

    def load(self, s: Load) -> list[Case]:
        array = self.scope.arrays[s.buffer]
        self.read[s.buffer] = None
        element = gather(BufferSource(s.buffer, *bounds_of_values(array)), s.indices)
        return [(s.guards, element), *([((), constant(0))] if s.guards else [])]

    def both(
        self, a: Scalar, b: Scalar, dtype: Dtype
    ) -> list[tuple[tuple[Guard, ...], Ix, Ix]] | None:
        """The cases of two scalars together, in one dtype."""
        left, right = (self.exact(self.of(x, dtype), dtype) for x in (a, b))
        if left is None or right is None or len(left) * len(right) > _MOST:
            return None
        return [((*g, *h), x, y) for (g, x), (h, y) in product(left, right)]

    def arithmetic(self, op: str, a: Scalar, b: Scalar, dtype: Dtype) -> list[Case] | None:
        out: list[Case] = []
        for g, x, y in self.both(a, b, dtype) or ():
            if op == "+":
                out.append((g, x + y))
            elif op == "-":
                out.append((g, x - y))
            elif y.value is not None:
                out.append((g, x * y.value))
            elif x.value is not None:
                out.append((g, y * x.value))
            else:
                return None
        return self.exact(out, dtype)

    def exact(self, cases: list[Case] | None, dtype: Dtype) -> list[Case] | None:
        """The cases where none of them wraps in a dtype."""
        for _, ix in cases or ():
            low, high = bounds(ix)
            if low is None or high is None or not _held(low, high, dtype):
                return None
        return cases or None

    def chosen(self, c: Scalar, a: Scalar, b: Scalar, dtype: Dtype) -> list[Case] | None:
        then, other = (self.exact(self.of(x, dtype), dtype) for x in (a, b))
        if then is None or other is None or len(then) + len(other) > _MOST:
            return None
        yes, no = self.known(c)
        both = [_given(g, yes, ix) for g, ix in then] + [_given(g, no, ix) for g, ix in other]
        return [case for case in both if case is not None]

    def known(self, c: Scalar) -> tuple[Guard | bool, Guard | bool]:
        """What a condition says where it holds and where it does not; True says nothing."""
        if not isinstance(c, Compare):
            return True, True
        both = infer_dtype(Binary("+", c.left, c.right), self.scope.arrays)
        found = None if is_float(both) else self.both(c.left, c.right, both)
        if found is None or len(found) != 1 or found[0][0]:
            return True, True
        _, x, y = found[0]
        less, most = guard(y - x - 1, ">="), guard(y - x, ">=")
        more, least = guard(x - y - 1, ">="), guard(x - y, ">=")
        equal = guard(x - y, "==")
        facts: dict[str, tuple[Guard | bool, Guard | bool]] = {
            "<": (less, least), "<=": (most, more), ">": (more, most), ">=": (least, less),
            "==": (equal, True), "!=": (True, equal),
        }  # fmt: skip
        return facts[c.op]


def _given(guards: tuple[Guard, ...], more: Guard | bool, ix: Ix) -> Case | None:
    """The case where one thing more holds; None where it cannot."""
    if isinstance(more, Guard):
        return (*guards, more), ix
    return (guards, ix) if more else None
