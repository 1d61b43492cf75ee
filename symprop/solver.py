"""The index solver: equality guards on reduced loops become index substitutions.

In: the reduced loops and the guards of a node. Out: the loops and guards that remain and the
substitution steps to apply to its reads; None when no point satisfies the guards.

Rules, in the order they are tried (v a reduced loop, e, R, a, b free of v):

    re-pair      floor(L/n) == a,  L mod n == b    ->  L == n*a + b          (undoes a reshape)
    mixed radix  c*v + small == R, 0 <= small < c  ->  v := floor(R/c), small == R mod c
    unit         v + e == 0                        ->  v := -e, range guards on v
    stride       k*v == e                          ->  v := floor(e/k), e mod k == 0, k*v := e
    floor        floor((v + e)/n) == a             ->  v := n*a + r - e, a new loop r < n
    mod          (v + e) mod n == b                ->  v := n*q + b - e, a new loop q

Among unit and stride candidates the loop of largest extent goes. What no rule covers stays an
equality guard and executes as a scatter: an incomplete solver costs speed, never correctness.

Guarantee: the set of points, and the operands read at each, is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from codegen.index import (
    Atom,
    Dim,
    Floor,
    Guard,
    Ix,
    Loop,
    Mod,
    bounds,
    constant,
    floordiv,
    guard,
    loop,
    mod,
    nonneg,
    transform,
)
from symprop.graph import At, IndexOf, Reading


@dataclass(frozen=True)
class Step:
    """v := value; where ``k`` > 1, exactly k*v = ``exact`` as well."""

    v: Loop
    value: Ix
    k: int = 1
    exact: Ix | None = None

    def ix(self, ix: Ix) -> Ix:
        """Apply to an index."""
        if self.v not in ix.loops:
            return ix
        if self.exact is not None:
            c = ix.coefficient(self.v)
            if c and c % self.k == 0:
                ix = ix - self.v.ix() * c + self.exact * (c // self.k)
                if self.v not in ix.loops:
                    return ix
            ix = transform(ix, self._inside)
        return transform(ix, lambda a: self.value if a is self.v else None)

    def _inside(self, atom: Atom) -> Ix | None:
        if isinstance(atom, Floor) and self.v in atom.loops:
            return floordiv(self.ix(atom.of), atom.n)
        if isinstance(atom, Mod) and self.v in atom.loops:
            return mod(self.ix(atom.of), atom.n)
        return None

    def read(self, r: Reading) -> Reading:
        """Apply to a read; a read guard that became False makes it the constant 0."""
        if isinstance(r, IndexOf):
            return IndexOf(self.ix(r.ix))
        guards = self.guards(r.guards)
        if guards is None:
            return IndexOf(constant(0))
        return At(r.node, tuple(map(self.ix, r.index)), tuple(guards))

    def guards(self, guards: Sequence[Guard]) -> list[Guard] | None:
        """Apply to guards; None when one became False."""
        kept = []
        for g in guards:
            new = guard(self.ix(g.ix), g.kind)
            if new is False:
                return None
            if isinstance(new, Guard):
                kept.append(new)
        return kept


@dataclass
class Solved:
    """What remains: loops, guards, and the steps to apply to reads in order."""

    loops: list[Loop]
    guards: list[Guard]
    steps: list[Step] = field(default_factory=list)


def solve(inner: Sequence[Loop], guards: Sequence[Guard]) -> Solved | None:
    """Eliminate what equality guards determine; None when they contradict."""
    state = Solved(list(inner), list(guards))
    used = 1 + max((item.position for g in guards for item in g.ix.loops), default=0)
    serial = max(used, 1 + max((item.position for item in inner), default=0), 500)
    while True:
        if _repair(state) is False:
            return None
        found = _choose(state, serial)
        if found is None:
            return state
        serial += 1
        done, step, extra, new_loop = found
        state.guards.remove(done)
        kept = step.guards(state.guards)
        if kept is None:
            return None
        state.loops.remove(step.v)
        if new_loop is not None:
            state.loops.append(new_loop)
        state.steps.append(step)
        inside = step.value if step.exact is None else step.exact
        top = guard((step.v.extent - 1) * step.k - inside, ">=")
        for g in (*extra, guard(inside, ">="), top):
            if g is False:
                return None
            if isinstance(g, Guard):
                kept.append(g)
        state.guards = list(dict.fromkeys(kept))


def _size(ix: Ix) -> int:
    """A typical value of an extent, to rank candidates."""
    return ix.const + sum(k * (a.nominal if isinstance(a, Dim) else 16) for a, k in ix.terms)


def _parted(ix: Ix, kind: type[Floor] | type[Mod]) -> list[tuple[Floor | Mod, Ix]]:
    """ix == 0 read as atom == rest, for each floor (or mod) atom of coefficient +-1."""
    found = []
    for a, k in ix.terms:
        if isinstance(a, kind) and abs(k) == 1:
            found.append((a, (a.ix() * k - ix) * k))
    return found


def _repair(state: Solved) -> bool:
    """floor(L/n) == a with L mod n == b, as long as there are such pairs."""
    changed = True
    while changed:
        changed = False
        equal = [g for g in state.guards if g.kind == "=="]
        for ge in equal:
            for m, b in _parted(ge.ix, Mod):
                if not _has(m, state.loops):
                    continue
                whole = floordiv(m.of, m.n).atom
                for gf in equal:
                    if gf is ge or whole is None:
                        continue
                    for f, a in _parted(gf.ix, Floor):
                        if f is whole and not changed:
                            new = [g for g in state.guards if g is not ge and g is not gf]
                            extra = (
                                guard(m.of - a * m.n - b, "=="),
                                guard(b, ">="),
                                guard(m.n - 1 - b, ">="),
                            )
                            if any(g is False for g in extra):
                                return False
                            new += [g for g in extra if isinstance(g, Guard)]
                            state.guards = list(dict.fromkeys(new))
                            changed = True
            if changed:
                break
    return True


def _has(atom: Atom, loops: Sequence[Loop]) -> bool:
    return any(item in atom.loops for item in loops)


_Choice = tuple[Guard, Step, tuple[Guard | bool, ...], Loop | None]


def _choose(state: Solved, serial: int) -> _Choice | None:
    best: tuple[int, int] | None = None
    choice: _Choice | None = None
    for g in state.guards:
        if g.kind != "==":
            continue
        for v in state.loops:
            k = g.ix.coefficient(v)
            if not k or any(a is not v and v in a.loops for a, _ in g.ix.terms):
                continue
            radix = _mixed_radix(g, v, k, state.loops)
            if radix is not None:
                return radix
            rank = (_size(v.extent), -abs(k))
            if best is None or rank > best:
                best, choice = rank, _linear(g, v, k)
    if choice is not None:
        return choice
    for g in state.guards:
        if g.kind == "==":
            found = _floor_or_mod(g, state.loops, serial)
            if found is not None:
                return found
    return None


def _mixed_radix(g: Guard, v: Loop, k: int, inner: Sequence[Loop]) -> _Choice | None:
    ix = g.ix if k > 0 else -g.ix
    c = abs(k)
    if c == 1:
        return None
    small = constant(0)
    for a, n in ix.terms:
        if a is not v and _has(a, inner):
            small = small + a.ix() * n
    if not small.terms:
        return None
    low, high = bounds(small)
    if low is None or high is None or not (nonneg(low) and nonneg(c - 1 - high)):
        return None
    right = v.ix() * c + small - ix
    return g, Step(v, floordiv(right, c)), (guard(small - mod(right, c), "=="),), None


def _linear(g: Guard, v: Loop, k: int) -> _Choice:
    ix = g.ix if k > 0 else -g.ix
    c = abs(k)
    right = v.ix() * c - ix
    if c == 1:
        return g, Step(v, right), (), None
    return g, Step(v, floordiv(right, c), c, right), (guard(mod(right, c), "=="),), None


def _floor_or_mod(g: Guard, inner: Sequence[Loop], serial: int) -> _Choice | None:
    for kind in (Floor, Mod):
        for atom, right in _parted(g.ix, kind):
            for v in inner:
                k = atom.of.coefficient(v)
                rest = atom.of - v.ix() * k
                if k != 1 or v in rest.loops or v in right.loops:
                    continue
                if kind is Floor:
                    new = loop(serial, atom.n)
                    return g, Step(v, right * atom.n + new.ix() - rest), (), new
                low, high = bounds(rest)
                if low is None or high is None or low.terms or high.terms:
                    continue
                first = low.const // atom.n
                turns = floordiv(v.extent - 1 + high.const, atom.n) + 1 - first
                new = loop(serial, turns)
                value = (new.ix() + first) * atom.n + right - rest
                extra = (guard(right, ">="), guard(atom.n - 1 - right, ">="))
                return g, Step(v, value), extra, new
    return None
