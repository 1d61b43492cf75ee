"""One LLVM function while it is written: blocks, values, loops.

In: operations as text. Out: ``lines``, the body of the function.

A value that depends on nothing but other values is written where the last of them is known, outside
of the loops that do not change it, and once: the text needs no pass that moves or merges anything.
``depth`` says in which scope a value is known: 0 is the function, each loop and each branch opens
the next. Lines added to an outer scope stand before the loop that is open in it.

Guarantees: every value is defined before it is used, on every way; names are unique; deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Builder", "Carried", "Scope"]


@dataclass
class Scope:
    """Lines of a loop's body, a branch or the function; ``label`` is the block they end in.

    ``certain``: it runs whenever the scope around it does. ``writes`` are the arrays in memory that
    are stored to anywhere in it. ``values`` are the texts of operations known here, ``loads`` those
    read from memory.
    """

    label: str
    certain: bool = True
    writes: frozenset[str] = frozenset()
    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    loads: dict[tuple[str, int], str] = field(default_factory=dict)


@dataclass
class Carried:
    """A value that a loop or a branch changes: its type, what it is called, and how to get and set
    what it is now."""

    type: str
    name: str
    get: Callable[[], str]
    set: Callable[[str], None]


class Builder:
    """Writes one function; ``names`` already in use are its parameters."""

    def __init__(self, parameters: Iterable[str] = ()) -> None:
        self.scopes = [Scope("entry")]
        self.depths: dict[str, int] = {}
        self.taken: dict[str, int] = dict.fromkeys(parameters, 0)
        self.versions: dict[str, int] = {}
        self.intrinsics: dict[str, None] = {}
        self.allocas: list[str] = []

    @property
    def scope(self) -> Scope:
        """The innermost scope."""
        return self.scopes[-1]

    def name(self, hint: str) -> str:
        """A fresh name: the hint, with a number where it is taken."""
        n = self.taken.get(hint)
        if n is None:
            self.taken[hint] = 0
            return hint
        while f"{hint}.{n + 1}" in self.taken:
            n += 1
        self.taken[hint] = n + 1
        self.taken[f"{hint}.{n + 1}"] = 0
        return f"{hint}.{n + 1}"

    def depth(self, *operands: str) -> int:
        """The scope in which all operands are known."""
        found = 0
        for o in operands:
            found = max(found, self.depths.get(o, 0))
        return min(found, len(self.scopes) - 1)

    # --- operations ------------------------------------------------------------------------------

    def value(self, operation: str, operands: Sequence[str], hint: str = "v") -> str:
        """An operation on values, where the last of them is known; the same one again is the same
        value."""
        for scope in reversed(self.scopes):
            found = scope.values.get(operation)
            if found is not None:
                return found
        return self._define(operation, self.depth(*operands), hint)

    def here(self, operation: str, hint: str = "v") -> str:
        """An operation on values, in the innermost scope: for what costs nothing there."""
        found = self.scope.values.get(operation)
        return found if found is not None else self._define(operation, len(self.scopes) - 1, hint)

    def _define(self, operation: str, depth: int, hint: str) -> str:
        name = f"%{self.name(hint)}"
        self.scopes[depth].lines.append(f"  {name} = {operation}")
        self.scopes[depth].values[operation] = name
        self.depths[name] = depth
        return name

    def call(self, result: str, function: str, arguments: Sequence[tuple[str, str]]) -> str:
        """An intrinsic that computes a value; ``arguments`` are (type, value)."""
        self.declare(result, function, [kind for kind, _ in arguments])
        listed = ", ".join(f"{kind} {value}" for kind, value in arguments)
        return self.value(f"call {result} @{function}({listed})", [v for _, v in arguments])

    def declare(self, result: str, function: str, kinds: Iterable[str]) -> None:
        """Makes an intrinsic known to the module."""
        plain = ", ".join(kind.split(" align ")[0] for kind in kinds)
        self.intrinsics[f"declare {result} @{function}({plain})"] = None

    def allocate(self, type_: str, hint: str) -> str:
        """Storage on the stack, for the whole function."""
        name = f"%{self.name(hint)}"
        self.allocas.append(f"  {name} = alloca {type_}, align 64")
        return name

    # --- memory ----------------------------------------------------------------------------------

    def load(self, array: str, operation: str, operands: Sequence[str], hint: str) -> str:
        """A read of an array, out of the loops that surely run, and do not store to it."""
        version = self.versions.get(array, 0)
        for scope in reversed(self.scopes):
            found = scope.loads.get((operation, version))
            if found is not None:
                return found
        known, depth = self.depth(*operands), len(self.scopes) - 1
        while depth > known and self.scope_passes(depth, array):
            depth -= 1
        name = f"%{self.name(hint)}"
        self.scopes[depth].lines.append(f"  {name} = {operation}")
        self.scopes[depth].loads[operation, version] = name
        self.depths[name] = depth
        return name

    def scope_passes(self, depth: int, array: str) -> bool:
        """Whether a read of an array may stand before a scope instead of in it."""
        scope = self.scopes[depth]
        return scope.certain and array not in scope.writes

    def store(self, array: str, operation: str, reading: str = "", value: str = "") -> None:
        """A write to an array; ``reading`` is the operation that would read this ``value`` back."""
        self.changed([array])
        self.line(operation)
        if reading:
            self.scope.loads[reading, self.versions[array]] = value

    def line(self, text: str) -> None:
        """A line of the innermost scope as it is."""
        self.scope.lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        self.scope.lines.append(f"  ; {text}")

    def changed(self, arrays: Iterable[str]) -> None:
        """What was read of these arrays is no longer what they hold."""
        for array in arrays:
            self.versions[array] = self.versions.get(array, 0) + 1

    # --- control ---------------------------------------------------------------------------------

    @contextmanager
    def loop(
        self,
        name: str,
        first: str,
        end: str,
        certain: bool,
        carried: Sequence[Carried],
        writes: frozenset[str],
    ) -> Iterator[str]:
        """A loop from ``first`` up to ``end``, tested after each turn; ``certain`` that it has one.

        Gives its counter. ``carried`` are the values that turns hand on.
        """
        outer, before = self.scope, [c.get() for c in carried]
        label, exit_ = self.name(name), self.name("done")
        counter = f"%{self.name(name)}"
        self.changed(writes)
        depth = len(self.scopes)
        self.scopes.append(Scope(label, certain, writes))
        self.depths[counter] = depth
        phis = [self._phi(c, depth) for c in carried]
        yield counter
        inner = self.scopes.pop()
        after = [c.get() for c in carried]
        following, again = f"%{self.name('next')}", f"%{self.name('again')}"
        inner.lines += [
            f"  {following} = add nuw nsw i64 {counter}, 1",
            f"  {again} = icmp slt i64 {following}, {end}",
            f"  br i1 {again}, label %{label}, label %{exit_}",
        ]
        entered = outer.label
        heads = [(counter, "i64", first, following)]
        heads += [
            (p, c.type, b, a) for p, c, b, a in zip(phis, carried, before, after, strict=True)
        ]
        if certain:
            outer.lines.append(f"  br label %{label}")
        else:
            some = self.value(f"icmp slt i64 {first}, {end}", [first, end])
            outer.lines.append(f"  br i1 {some}, label %{label}, label %{exit_}")
        outer.lines.append(f"{label}:")
        for phi, kind, start, turn in heads:
            ways = f"[ {start}, %{entered} ], [ {turn}, %{inner.label} ]"
            outer.lines.append(f"  {phi} = phi {kind} {ways}")
        outer.lines += [*inner.lines, f"{exit_}:"]
        outer.label = exit_
        for c, b, a in zip(carried, before, after, strict=True):
            left = (entered, b), (inner.label, a)
            c.set(self.moved(a) if certain else self._join(c, left))
        self.changed(writes)

    def _phi(self, c: Carried, depth: int) -> str:
        name = f"%{self.name(c.name)}"
        self.depths[name] = depth
        c.set(name)
        return name

    def _join(self, c: Carried, ways: Sequence[tuple[str, str]]) -> str:
        """The value at a block that is entered from several."""
        name = f"%{self.name(c.name)}"
        listed = ", ".join(f"[ {value}, %{label} ]" for label, value in ways)
        self.scope.lines.append(f"  {name} = phi {c.type} {listed}")
        self.depths[name] = len(self.scopes) - 1
        return name

    def moved(self, value: str) -> str:
        """A value of a loop that has run, which is known from now on."""
        if value in self.depths:
            self.depths[value] = min(self.depths[value], len(self.scopes) - 1)
        return value

    @contextmanager
    def branch(
        self, condition: str, carried: Sequence[Carried], writes: frozenset[str]
    ) -> Iterator[None]:
        """Lines that run where a condition holds."""
        outer, before = self.scope, [c.get() for c in carried]
        label, exit_ = self.name("if"), self.name("end")
        self.scopes.append(Scope(label, False, writes))
        yield
        inner = self.scopes.pop()
        inner.lines.append(f"  br label %{exit_}")
        entered = outer.label
        outer.lines.append(f"  br i1 {condition}, label %{label}, label %{exit_}")
        outer.lines += [f"{label}:", *inner.lines, f"{exit_}:"]
        outer.label = exit_
        for c, b in zip(carried, before, strict=True):
            a = c.get()
            c.set(b if a == b else self._join(c, [(entered, b), (inner.label, a)]))
        self.changed(writes)

    def lines(self) -> list[str]:
        """The finished body."""
        (function,) = self.scopes
        return ["entry:", *self.allocas, *function.lines, "  ret void"]
