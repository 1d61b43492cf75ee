"""Affine index algebra with bounds: what every loop, read and guard of symprop is written in.

    ix    := c + sum of k * atom                       -- integers c, k
    atom  := loop | dimension | floor(ix / n) | ix mod n | source[ix, ...]   -- the last is a gather
    guard := ix >= 0 | ix == 0

In: integers, loops (a position and an extent), dimensions (a name, a lower bound, perhaps a
capacity), and gather sources (any object with ``digest``, ``low``, ``high``: a graph node above,
a buffer below).

Out: interned, immutable linear combinations in normal form; their interval bounds as
combinations of dimensions alone; guards in normal form.

Guarantees: two combinations built from equal parts by the constructors here are one object.
Every rewrite is exact over the integers for every value of the loops within their extents and of
the dimensions from their lower bounds up. Order is structural (digests), never by creation.

It does not decide integer arithmetic in general: a bound or a proof that is not found is
reported as unknown, and callers keep the guard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = [
    "Atom",
    "Dim",
    "Floor",
    "Gather",
    "Guard",
    "GuardKind",
    "Ix",
    "Loop",
    "Mod",
    "Source",
    "as_ix",
    "bounds",
    "constant",
    "dim",
    "evaluate",
    "floordiv",
    "gather",
    "guard",
    "loop",
    "lower",
    "mod",
    "nonneg",
    "render",
    "substitute",
    "transform",
    "upper",
]


class Source(Protocol):
    """What a gather reads: integers between ``low`` and ``high``, known by a structural digest."""

    @property
    def digest(self) -> bytes: ...
    @property
    def low(self) -> Ix: ...
    @property
    def high(self) -> Ix: ...


def _hash(*parts: bytes) -> bytes:
    h = blake2b(digest_size=12)
    for part in parts:
        h.update(len(part).to_bytes(4, "little"))
        h.update(part)
    return h.digest()


class Atom:
    """One interned unknown of a linear combination; compared by identity, ordered by ``key``."""

    __slots__ = ("__weakref__", "_ix", "digest", "gathers", "key", "loops")
    digest: bytes
    gathers: bool
    key: tuple[int, int, bytes]
    loops: tuple[Loop, ...]
    _ix: Ix | None

    def ix(self) -> Ix:
        """This atom as a linear combination."""
        if self._ix is None:
            self._ix = _intern(0, ((self, 1),))
        return self._ix


class Loop(Atom):
    """Loop variable at a position of a node's loop list, running over 0 .. extent-1."""

    __slots__ = ("extent", "position")
    position: int
    extent: Ix

    def __repr__(self) -> str:
        return f"i{self.position}<{self.extent!r}"


class Dim(Atom):
    """A named size, fixed when a compiled function is called.

    ``lower`` is the least value it may take, ``capacity`` the greatest (None: unbounded), and
    ``nominal`` a typical value that only cost estimates use.
    """

    __slots__ = ("capacity", "lower", "name", "nominal")
    name: str
    lower: int
    nominal: int
    capacity: int | None

    def __repr__(self) -> str:
        return self.name


class Floor(Atom):
    """floor(ix / n), n a positive integer."""

    __slots__ = ("n", "of")
    of: Ix
    n: int

    def __repr__(self) -> str:
        return f"({self.of!r})//{self.n}"


class Mod(Atom):
    """ix mod n in 0 .. n-1, n a positive integer."""

    __slots__ = ("n", "of")
    of: Ix
    n: int

    def __repr__(self) -> str:
        return f"({self.of!r})%{self.n}"


class Gather(Atom):
    """The integer that ``source`` holds at ``indices``."""

    __slots__ = ("indices", "source")
    source: Source
    indices: tuple[Ix, ...]

    def __repr__(self) -> str:
        return f"{getattr(self.source, 'name', 'source')}[{', '.join(map(repr, self.indices))}]"


class Ix:
    """An interned linear combination; compare by identity, build with + - * and the functions.

    ``gathers``: one of its atoms, at some depth, is a gather.
    """

    __slots__ = ("__weakref__", "_bounds", "_digest", "const", "gathers", "loops", "terms")
    const: int
    gathers: bool
    terms: tuple[tuple[Atom, int], ...]
    loops: tuple[Loop, ...]
    _bounds: tuple[Ix | None, Ix | None] | None
    _digest: bytes

    @property
    def digest(self) -> bytes:
        """Structural digest; most combinations are passing and are never asked for it."""
        if not self._digest:
            text = [str(self.const).encode()]
            for atom, k in self.terms:
                text += (atom.digest, str(k).encode())
            self._digest = _hash(*text)
        return self._digest

    def __repr__(self) -> str:
        return render(self, repr)

    def __add__(self, other: Ix | int) -> Ix:
        if isinstance(other, int):
            return _intern(self.const + other, self.terms)
        if not other.terms:
            return _intern(self.const + other.const, self.terms)
        return _linear(self.const + other.const, (*self.terms, *other.terms))

    __radd__ = __add__

    def __neg__(self) -> Ix:
        return self * -1

    def __sub__(self, other: Ix | int) -> Ix:
        if isinstance(other, int):
            return _intern(self.const - other, self.terms)
        if not other.terms:
            return _intern(self.const - other.const, self.terms)
        negated = tuple((a, -k) for a, k in other.terms)
        return _linear(self.const - other.const, (*self.terms, *negated))

    def __rsub__(self, other: int) -> Ix:
        return (self * -1) + other

    def __mul__(self, k: int) -> Ix:
        if k == 1:
            return self
        if k == 0:
            return constant(0)
        return _intern(self.const * k, tuple((a, c * k) for a, c in self.terms))

    __rmul__ = __mul__

    @property
    def value(self) -> int | None:
        """The integer this is, when it holds no atom."""
        return None if self.terms else self.const

    @property
    def atom(self) -> Atom | None:
        """The atom this is, when it is exactly one atom with coefficient 1."""
        if self.const == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            return self.terms[0][0]
        return None

    def coefficient(self, atom: Atom) -> int:
        """The coefficient of an atom at the top level (0 when absent)."""
        for a, c in self.terms:
            if a is atom:
                return c
        return 0

    def atoms(self) -> Iterable[Atom]:
        """Every atom, at any depth, outer before inner."""
        for a, _ in self.terms:
            yield a
            if isinstance(a, Floor | Mod):
                yield from a.of.atoms()
            elif isinstance(a, Gather):
                for i in a.indices:
                    yield from i.atoms()


_IXS: WeakValueDictionary[tuple[object, ...], Ix] = WeakValueDictionary()
_ATOMS: WeakValueDictionary[tuple[object, ...], Atom] = WeakValueDictionary()
_CONSTANTS: dict[int, Ix] = {}
_A = TypeVar("_A", bound=Atom)


def _union(groups: Iterable[tuple[Loop, ...]]) -> tuple[Loop, ...]:
    seen: dict[Loop, None] = {}
    for group in groups:
        for item in group:
            seen[item] = None
    return tuple(seen) if len(seen) < 2 else tuple(sorted(seen, key=lambda a: a.key))


def _intern(const: int, terms: tuple[tuple[Atom, int], ...]) -> Ix:
    key = (const, *terms)
    found = _IXS.get(key)
    if found is not None:
        return found
    ix = Ix()
    ix.const = const
    ix.terms = terms
    ix._bounds = None
    ix._digest = b""
    if len(terms) == 1:
        ix.loops, ix.gathers = terms[0][0].loops, terms[0][0].gathers
    else:
        ix.loops = _union(a.loops for a, _ in terms)
        ix.gathers = any(a.gathers for a, _ in terms)
    _IXS[key] = ix
    return ix


def constant(c: int) -> Ix:
    """An integer as a linear combination."""
    found = _CONSTANTS.get(c)
    if found is None:
        found = _intern(c, ())
        if -64 <= c <= 4096:
            _CONSTANTS[c] = found
    return found


def as_ix(x: Ix | int | Atom) -> Ix:
    """An integer, an atom or a linear combination, as the last."""
    if isinstance(x, Ix):
        return x
    if isinstance(x, Atom):
        return x.ix()
    return constant(x)


def _linear(const: int, terms: Iterable[tuple[Atom, int]]) -> Ix:
    total: dict[Atom, int] = {}
    for atom, k in terms:
        total[atom] = total.get(atom, 0) + k
    kept = [(a, k) for a, k in total.items() if k]
    if len(kept) > 1:
        kept.sort(key=lambda t: t[0].key)
        for atom, k in kept:
            if isinstance(atom, Mod):
                whole = floordiv(atom.of, atom.n).atom  # n*(e//n) + e mod n = e
                sign = 1 if k > 0 else -1
                if whole is not None and (times := sign * total.get(whole, 0) // atom.n) > 0:
                    m = sign * min(times, abs(k))
                    extra = atom.of * m
                    change = [(atom, -m), (whole, -m * atom.n), *extra.terms]
                    return _linear(const + extra.const, [*kept, *change])
    return _intern(const, tuple(kept))


def _atom(
    cls: type[_A], rank: int, order: int, key: tuple[object, ...], parts: Iterable[bytes]
) -> _A:
    """A new atom, interned under its key."""
    atom = cls()
    atom._ix = None
    atom.gathers = False
    atom.digest = _hash(bytes([rank]), *parts)
    atom.key = (rank, order, atom.digest)
    _ATOMS[key] = atom
    return atom


def loop(position: int, extent: Ix | int) -> Loop:
    """The loop variable at ``position``, running over 0 .. extent-1."""
    extent = as_ix(extent)
    key = (Loop, position, extent)
    found = _ATOMS.get(key)
    if found is None:
        found = atom = _atom(Loop, 1, position, key, (str(position).encode(), extent.digest))
        atom.position, atom.extent, atom.loops = position, extent, (atom,)
    return found  # type: ignore[return-value]


def dim(name: str, lower: int = 1, nominal: int = 32, capacity: int | None = None) -> Dim:
    """The named dimension; one object for one declaration."""
    parts = (name, lower, nominal, capacity)
    found = _ATOMS.get((Dim, *parts))
    if found is None:
        found = atom = _atom(Dim, 0, 0, (Dim, *parts), (str(k).encode() for k in parts))
        atom.name, atom.lower, atom.nominal, atom.capacity = parts
        atom.loops = ()
    return found  # type: ignore[return-value]


def gather(source: Source, indices: Sequence[Ix | int]) -> Ix:
    """The integer held by ``source`` at ``indices``."""
    ixs = tuple(as_ix(i) for i in indices)
    key = (Gather, source, *ixs)
    found = _ATOMS.get(key)
    if found is None:
        found = atom = _atom(Gather, 4, 0, key, (source.digest, *(i.digest for i in ixs)))
        atom.source, atom.indices, atom.gathers = source, ixs, True
        atom.loops = _union(i.loops for i in ixs)
    return found.ix()


def _divided(cls: type[Floor] | type[Mod], rank: int, of: Ix, n: int) -> Ix:
    key = (cls, of, n)
    found = _ATOMS.get(key)
    if found is None:
        found = atom = _atom(cls, rank, n, key, (of.digest, str(n).encode()))
        atom.of, atom.n, atom.loops, atom.gathers = of, n, of.loops, of.gathers
    return found.ix()


def _split(ix: Ix, n: int) -> tuple[Ix, Ix]:
    """ix = n*whole + rest; coefficients of rest are smaller than n, its constant in 0..n-1."""
    if not ix.terms:
        return constant(ix.const // n), constant(ix.const % n)
    whole, rest = [], []
    for atom, k in ix.terms:
        q = int(k / n) if abs(k) < 1 << 50 else k // n  # toward zero: -1 stays -1
        if q:
            whole.append((atom, q))
        if k - q * n:
            rest.append((atom, k - q * n))
    return (
        _linear(ix.const // n, whole),
        _linear(ix.const % n, rest) if whole else _intern(ix.const % n, ix.terms),
    )


def _common(rest: Ix, n: int) -> tuple[int, Ix, Ix] | None:
    """rest = g*e + small with g dividing n, g > 1 and 0 <= small < g; None when there is none."""
    for g in sorted({math.gcd(k, n) for _, k in rest.terms} - {1}, reverse=True):
        small = _linear(rest.const % g, [(a, k) for a, k in rest.terms if k % g])
        if small.value is None:
            low, high = bounds(small)
            if low is None or high is None or not (nonneg(low) and nonneg(g - 1 - high)):
                continue
        e = _linear(rest.const // g, [(a, k // g) for a, k in rest.terms if k % g == 0])
        return g, e, small
    return None


def floordiv(ix: Ix | int, n: int) -> Ix:
    """floor(ix / n) for a positive integer n, in normal form."""
    ix = as_ix(ix)
    if n < 1:
        raise ValueError(f"the divisor of an index must be a positive integer, not {n}")
    if n == 1:
        return ix
    whole, rest = _split(ix, n)
    if not rest.terms:
        return whole
    low, high = lower(rest), upper(rest)
    if low is not None and high is not None and low // n == high // n:
        return whole + low // n
    common = _common(rest, n)
    if common is not None:
        g, e, _ = common
        return whole + floordiv(e, n // g)
    if len(rest.terms) == 1 and rest.terms[0][1] == 1 and isinstance(rest.terms[0][0], Floor):
        inner = rest.terms[0][0]
        return whole + floordiv(inner.of + inner.n * rest.const, inner.n * n)
    return whole + _divided(Floor, 2, rest, n)


def mod(ix: Ix | int, n: int) -> Ix:
    """ix mod n (in 0 .. n-1) for a positive integer n, in normal form."""
    ix = as_ix(ix)
    if n < 1:
        raise ValueError(f"the divisor of an index must be a positive integer, not {n}")
    if n == 1:
        return constant(0)
    _, rest = _split(ix, n)
    inner = []
    extra = constant(0)
    for atom, k in rest.terms:  # (x mod a) mod n = x mod n when n divides a
        if isinstance(atom, Mod) and atom.n % n == 0:
            extra = extra + atom.of * k
        else:
            inner.append((atom, k))
    if extra.terms or extra.const:
        return mod(_linear(rest.const, inner) + extra, n)
    if not rest.terms:
        return rest
    low, high = lower(rest), upper(rest)
    if low is not None and high is not None and low // n == high // n:
        return rest - n * (low // n)
    common = _common(rest, n)
    if common is not None:
        g, e, small = common
        return mod(e, n // g) * g + small
    return _divided(Mod, 3, rest, n)


def _atom_bounds(atom: Atom) -> tuple[Ix | None, Ix | None]:
    if isinstance(atom, Loop):
        return constant(0), atom.extent - 1
    if isinstance(atom, Gather):
        return atom.source.low, atom.source.high
    if isinstance(atom, Floor):
        low, high = bounds(atom.of)
        return (
            None if low is None else floordiv(low, atom.n),
            None if high is None else floordiv(high, atom.n),
        )
    if isinstance(atom, Mod):
        return constant(0), constant(atom.n - 1)
    return atom.ix(), atom.ix()


def bounds(ix: Ix) -> tuple[Ix | None, Ix | None]:
    """Least and greatest value over all loops, as combinations of dimensions; None: unknown."""
    if not ix.loops and not any(isinstance(a, Gather) for a, _ in ix.terms):
        return ix, ix
    if ix._bounds is None:
        low: Ix | None = constant(ix.const)
        high: Ix | None = low
        for atom, k in ix.terms:
            a, b = _atom_bounds(atom)
            if k < 0:
                a, b = b, a
            low = None if low is None or a is None else low + a * k
            high = None if high is None or b is None else high + b * k
        ix._bounds = (low, high)
    return ix._bounds


def _least(ix: Ix) -> int | None:
    """Least value of a combination of dimensions alone."""
    total = ix.const
    for atom, k in ix.terms:
        if isinstance(atom, Dim):
            end = atom.lower if k > 0 else atom.capacity
        elif isinstance(atom, Floor):
            inner = _least(atom.of) if k > 0 else _greatest(atom.of)
            end = None if inner is None else inner // atom.n
        elif isinstance(atom, Mod):
            end = 0 if k > 0 else atom.n - 1
        else:
            end = None
        if end is None:
            return None
        total += k * end
    return total


def _greatest(ix: Ix) -> int | None:
    least = _least(-ix)
    return None if least is None else -least


def lower(ix: Ix) -> int | None:
    """A number that ix never falls below, or None when none is known."""
    low = bounds(ix)[0]
    return None if low is None else _least(low)


def upper(ix: Ix) -> int | None:
    """A number that ix never exceeds, or None when none is known."""
    high = bounds(ix)[1]
    return None if high is None else _greatest(high)


def nonneg(ix: Ix) -> bool:
    """True when ix >= 0 is proved for all loops and dimensions."""
    low = lower(ix)
    return low is not None and low >= 0


def transform(ix: Ix, change: Callable[[Atom], Ix | None]) -> Ix:
    """Replace atoms: ``change`` gives an atom's replacement, or None to look inside it."""
    const = ix.const
    terms: list[tuple[Atom, int]] = []
    same = True
    for atom, k in ix.terms:
        new = change(atom)
        if new is None:
            if isinstance(atom, Floor):
                inner = transform(atom.of, change)
                new = None if inner is atom.of else floordiv(inner, atom.n)
            elif isinstance(atom, Mod):
                inner = transform(atom.of, change)
                new = None if inner is atom.of else mod(inner, atom.n)
            elif isinstance(atom, Gather):
                ixs = tuple(transform(i, change) for i in atom.indices)
                moved = any(a is not b for a, b in zip(ixs, atom.indices, strict=True))
                new = gather(atom.source, ixs) if moved else None
        if new is None:
            terms.append((atom, k))
        else:
            same = False
            const += new.const * k
            terms.extend((a, c * k) for a, c in new.terms)
    return ix if same else _linear(const, terms)


def substitute(ix: Ix, mapping: Mapping[Loop, Ix]) -> Ix:
    """ix with loops replaced (simultaneously)."""
    for item in ix.loops:
        if item in mapping:
            break
    else:
        return ix
    if ix.atom is item:
        return mapping[item]
    return transform(ix, lambda atom: mapping.get(atom) if isinstance(atom, Loop) else None)


def evaluate(
    ix: Ix,
    loops: Mapping[Loop, int],
    dims: Mapping[str, int],
    read: Callable[[Source, tuple[int, ...]], int] | None = None,
) -> int:
    """The integer value for given loops, dimensions and gather reader: what the algebra means."""
    total = ix.const
    for atom, k in ix.terms:
        if isinstance(atom, Loop):
            value = loops[atom]
        elif isinstance(atom, Dim):
            value = dims[atom.name]
        elif isinstance(atom, Floor):
            value = evaluate(atom.of, loops, dims, read) // atom.n
        elif isinstance(atom, Mod):
            value = evaluate(atom.of, loops, dims, read) % atom.n
        else:
            assert isinstance(atom, Gather)
            assert read is not None
            at = tuple(evaluate(i, loops, dims, read) for i in atom.indices)
            value = read(atom.source, at)
        total += k * value
    return total


def render(ix: Ix, name: Callable[[Atom], str]) -> str:
    """Readable text; ``name`` spells loops, dimensions, floors, mods and gathers.

    What is added stands before what is taken away where that spares a sign: ``3 - i``.
    """
    parts = [
        (k < 0, name(atom) if abs(k) == 1 else f"{abs(k)}*{name(atom)}") for atom, k in ix.terms
    ]
    if ix.const or not parts:
        parts.append((ix.const < 0, str(abs(ix.const))))
    first = next((n for n, (taken, _) in enumerate(parts) if not taken), 0)
    parts.insert(0, parts.pop(first))
    text = f"-{parts[0][1]}" if parts[0][0] else parts[0][1]
    return text + "".join(f" {'-' if taken else '+'} {part}" for taken, part in parts[1:])


GuardKind = Literal[">=", "=="]


class Guard:
    """``ix >= 0`` or ``ix == 0``; interned, in normal form."""

    __slots__ = ("__weakref__", "digest", "ix", "kind")
    ix: Ix
    kind: GuardKind
    digest: bytes

    def __repr__(self) -> str:
        return f"{self.ix!r} {self.kind} 0"


_GUARDS: WeakValueDictionary[tuple[Ix, str], Guard] = WeakValueDictionary()


def guard(ix: Ix, kind: GuardKind) -> Guard | bool:
    """The guard in normal form; True when it always holds, False when it never does."""
    g = math.gcd(*(k for _, k in ix.terms)) if ix.terms else 1
    if kind == ">=":
        if g > 1:  # g*e + c >= 0  <=>  e + floor(c/g) >= 0
            ix = _intern(ix.const // g, tuple((a, k // g) for a, k in ix.terms))
        low, high = lower(ix), upper(ix)
        if low is not None and low >= 0:
            return True
        if high is not None and high < 0:
            return False
    else:
        if ix.const % g:
            return False
        if g > 1:
            ix = _intern(ix.const // g, tuple((a, k // g) for a, k in ix.terms))
        if not ix.terms:
            return ix.const == 0
        if ix.terms[0][1] < 0:
            ix = -ix
        low, high = lower(ix), upper(ix)
        if (low is not None and low > 0) or (high is not None and high < 0):
            return False
    key = (ix, kind)
    found = _GUARDS.get(key)
    if found is None:
        found = Guard()
        found.ix, found.kind = ix, kind
        found.digest = _hash(kind.encode(), ix.digest)
        _GUARDS[key] = found
    return found
