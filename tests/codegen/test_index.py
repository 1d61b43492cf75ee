"""The index algebra against plain integer arithmetic: every rewrite keeps every value."""

from __future__ import annotations

import ast
import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.index import (
    Atom,
    Dim,
    Floor,
    Gather,
    Guard,
    Ix,
    Loop,
    Mod,
    Source,
    as_ix,
    bounds,
    constant,
    dim,
    evaluate,
    floordiv,
    gather,
    guard,
    loop,
    lower,
    mod,
    nonneg,
    render,
    substitute,
    transform,
    upper,
)

Spec: TypeAlias = Any  # ("int", c) | ("loop", n) | ("dim", n) | ("add", a, b) | ("mul", k, a) | ...
Env: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # dimensions, loops

DIMS = (dim("batch"), dim("time", lower=0, capacity=9), dim("width", lower=3))
BATCH, TIME, WIDTH = (d.ix() for d in DIMS)
LOOPS = (
    loop(0, BATCH),
    loop(1, 7),
    loop(2, TIME + 1),
    loop(3, 2 * WIDTH - 1),
    loop(4, 12),
    loop(5, 1),
)


@dataclass(frozen=True)
class Table:
    """A source of integers, any function of its place within its bounds."""

    name: str
    low: Ix
    high: Ix

    @property
    def digest(self) -> bytes:
        return blake2b(self.name.encode(), digest_size=12).digest()

    def at(self, dims: Mapping[str, int], place: tuple[int, ...]) -> int:
        low, high = evaluate(self.low, {}, dims), evaluate(self.high, {}, dims)
        return low + random.Random(f"{self.name}{place}").randrange(high - low + 1)


TABLES = (
    Table("ids", constant(0), constant(4)),
    Table("rows", constant(-2), BATCH - 1),
    Table("cuts", constant(0), 2 * TIME),
)

coefficients = st.integers(-13, 13)
divisors = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 24])
leaves = st.one_of(
    st.tuples(st.just("int"), st.integers(-30, 30)),
    st.tuples(st.just("loop"), st.integers(0, len(LOOPS) - 1)),
    st.tuples(st.just("loop"), st.integers(0, len(LOOPS) - 1)),
    st.tuples(st.just("dim"), st.integers(0, len(DIMS) - 1)),
)


def _grow(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    return st.one_of(
        st.tuples(st.just("add"), inner, inner),
        st.tuples(st.just("sub"), inner, inner),
        st.tuples(st.just("mul"), coefficients, inner),
        st.tuples(st.just("floor"), divisors, inner),
        st.tuples(st.just("mod"), divisors, inner),
        st.tuples(st.just("gather"), st.integers(0, len(TABLES) - 1), inner),
    )


specs: st.SearchStrategy[Spec] = st.recursive(leaves, _grow, max_leaves=9)


@st.composite
def _environments(draw: st.DrawFn) -> Env:
    dims = (draw(st.integers(1, 40)), draw(st.integers(0, 9)), draw(st.integers(3, 20)))
    sizes = _sizes(dims)
    extents = [evaluate(item.extent, {}, sizes) for item in LOOPS]
    return dims, tuple(draw(st.integers(0, n - 1)) for n in extents)


environments = _environments()


def _sizes(dims: tuple[int, ...]) -> dict[str, int]:
    return {d.name: n for d, n in zip(DIMS, dims, strict=True)}


def _build(spec: Spec) -> Ix:
    match spec:
        case ("int", c):
            return constant(c)
        case ("loop", n):
            return as_ix(LOOPS[n])
        case ("dim", n):
            return (BATCH, TIME, WIDTH)[n]
        case ("add", a, b):
            return _build(a) + _build(b)
        case ("sub", a, b):
            return _build(a) - _build(b)
        case ("mul", k, a):
            return _build(a) * int(k)
        case ("floor", n, a):
            return floordiv(_build(a), n)
        case ("mod", n, a):
            return mod(_build(a), n)
        case ("gather", n, a):
            source: Source = TABLES[n]
            return gather(source, (_build(a),))
    raise AssertionError(spec)


def _value(spec: Spec, env: Env) -> int:
    """What the expression means, by Python's integers alone."""
    match spec:
        case ("int", c):
            return int(c)
        case ("loop", n):
            return int(env[1][n])
        case ("dim", n):
            return int(env[0][n])
        case ("add", a, b):
            return _value(a, env) + _value(b, env)
        case ("sub", a, b):
            return _value(a, env) - _value(b, env)
        case ("mul", k, a):
            return int(k) * _value(a, env)
        case ("floor", n, a):
            return int(_value(a, env) // n)
        case ("mod", n, a):
            return int(_value(a, env) % n)
        case ("gather", n, a):
            return TABLES[n].at(_sizes(env[0]), (_value(a, env),))
    raise AssertionError(spec)


def _reader(sizes: Mapping[str, int]) -> Callable[[Source, tuple[int, ...]], int]:
    def read(source: Source, place: tuple[int, ...]) -> int:
        assert isinstance(source, Table)
        return source.at(sizes, place)

    return read


def _evaluate(ix: Ix, env: Env) -> int:
    sizes = _sizes(env[0])
    return evaluate(ix, dict(zip(LOOPS, env[1], strict=True)), sizes, _reader(sizes))


@given(specs, environments)
def test_constructors_keep_the_value(spec: Spec, env: Env) -> None:
    assert _evaluate(_build(spec), env) == _value(spec, env)


@given(specs, environments, divisors)
def test_quotient_and_remainder(spec: Spec, env: Env, n: int) -> None:
    ix = _build(spec)
    whole, rest = floordiv(ix, n), mod(ix, n)
    assert _evaluate(whole, env) == _value(spec, env) // n
    assert _evaluate(rest, env) == _value(spec, env) % n
    assert _evaluate(whole * n + rest, env) == _value(spec, env)


@given(specs, specs, coefficients, environments)
def test_linear_combinations(a: Spec, b: Spec, k: int, env: Env) -> None:
    x, y = _build(a), _build(b)
    expected = _value(a, env) - k * _value(b, env)
    assert _evaluate(x - y * k, env) == expected
    assert _evaluate(-(k * y - x), env) == expected
    assert _evaluate(5 - x, env) == 5 - _value(a, env)
    assert x - x is constant(0)
    assert x + y is y + x


@given(specs, environments)
def test_bounds_enclose(spec: Spec, env: Env) -> None:
    ix, value, sizes = _build(spec), _value(spec, env), _sizes(env[0])
    low, high = bounds(ix)
    for end, least in ((low, True), (high, False)):
        if end is not None:
            assert not end.loops
            at = evaluate(end, {}, sizes, _reader(sizes))
            assert at <= value if least else at >= value
    least_, most = lower(ix), upper(ix)
    assert least_ is None or least_ <= value
    assert most is None or value <= most
    assert not nonneg(ix) or value >= 0


@given(specs, st.sampled_from([">=", "=="]), environments)
def test_guards_keep_the_truth(spec: Spec, kind: Any, env: Env) -> None:
    value = _value(spec, env)
    expected = value >= 0 if kind == ">=" else value == 0
    found = guard(_build(spec), kind)
    if isinstance(found, bool):
        assert found == expected
    else:
        at = _evaluate(found.ix, env)
        assert (at >= 0 if found.kind == ">=" else at == 0) == expected
        assert guard(found.ix, found.kind) is found, "a normal form is a fixed point"


REPLACEMENTS: tuple[tuple[int, Callable[[Ix], Ix]], ...] = (
    (1, lambda e: mod(e, 7)),
    (1, lambda e: 6 - mod(e, 7)),
    (1, lambda e: mod(e, 3) + mod(e, 4)),
    (4, lambda e: mod(e, 4) + 8),
    (4, lambda e: LOOPS[1].ix() + mod(e, 5)),
    (4, lambda e: 4 * mod(e, 3) + mod(floordiv(e, 3), 4)),
    (0, lambda e: BATCH - 1 - LOOPS[0].ix()),
    (2, lambda e: TIME - LOOPS[2].ix()),
    (3, lambda e: 2 * mod(e, 2) + mod(e, 3)),
    (5, lambda e: constant(0)),
)


@given(specs, specs, st.sampled_from(REPLACEMENTS), environments)
def test_substitute_keeps_the_value(
    spec: Spec, inner: Spec, how: tuple[int, Callable[[Ix], Ix]], env: Env
) -> None:
    """The replacement stays within the loop's extent: what the callers promise."""
    n, make = how
    ix, new = _build(spec), make(_build(inner))
    at = list(env[1])
    at[n] = _evaluate(new, env)
    assert 0 <= at[n] < evaluate(LOOPS[n].extent, {}, _sizes(env[0]))
    got = substitute(ix, {LOOPS[n]: new})
    assert _evaluate(got, env) == _value(spec, (env[0], tuple(at)))


@given(specs, environments)
def test_simultaneous_substitution(spec: Spec, env: Env) -> None:
    """Two loops of one extent, swapped."""
    a, b = loop(8, 12), LOOPS[4]
    ix = substitute(_build(spec), {b: a.ix()})
    both = ix + 3 * b.ix()
    swapped = substitute(both, {a: b.ix(), b: a.ix()})
    loops = {**dict(zip(LOOPS, env[1], strict=True)), a: 5}
    sizes = _sizes(env[0])
    turned = {**loops, a: loops[b], b: 5}
    read = _reader(sizes)
    assert evaluate(swapped, loops, sizes, read) == evaluate(both, turned, sizes, read)


@given(specs, environments)
def test_transform_of_dimensions(spec: Spec, env: Env) -> None:
    """A dimension replaced by a size that it may have."""
    fixed = constant(env[0][2])

    def change(atom: Atom) -> Ix | None:
        return fixed if atom is DIMS[2] else None

    assert _evaluate(transform(_build(spec), change), env) == _value(spec, env)


@given(st.lists(specs, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_order_of_construction_does_not_matter(parts: list[Spec], rng: random.Random) -> None:
    """Where no floor meets its remainder on the way: those do not cancel back when subtracted."""
    terms = [t for t in map(_build, parts) if not any(isinstance(a, Mod) for a in t.atoms())]
    total = sum(terms, constant(0))
    rng.shuffle(terms)
    assert sum(terms, constant(0)) is total


@given(specs, divisors, st.integers(1, 4), st.integers(1, 4), st.permutations(range(4)))
def test_floors_and_remainders_add_in_any_order(
    spec: Spec, n: int, k: int, m: int, order: list[int]
) -> None:
    e = _build(spec)
    terms = [floordiv(e, n) * n * k, mod(e, n), mod(e, n) * m, floordiv(e, n) * n]
    total = sum(terms, constant(0))
    assert sum((terms[i] for i in order), constant(0)) is total


@given(specs)
def test_interned_and_normal(spec: Spec) -> None:
    ix = _build(spec)
    assert _build(spec) is ix
    assert ix.digest == _build(spec).digest
    keys = [a.key for a, _ in ix.terms]
    assert keys == sorted(keys)
    assert all(k for _, k in ix.terms)
    assert len({a for a, _ in ix.terms}) == len(ix.terms)
    assert ix + 0 is ix
    assert as_ix(ix) is ix
    for atom in ix.atoms():
        if isinstance(atom, Floor | Mod):
            assert atom.n > 1
            assert atom.of.terms


@given(specs)
def test_loops_are_those_inside(spec: Spec) -> None:
    ix = _build(spec)
    inside = {a for a in ix.atoms() if isinstance(a, Loop)}
    assert set(ix.loops) == inside
    assert [a.position for a in ix.loops] == sorted(a.position for a in inside)


@given(specs, environments)
def test_render_reads_back(spec: Spec, env: Env) -> None:
    def name(atom: Atom) -> str:
        if isinstance(atom, Floor):
            return f"(({render(atom.of, name)})//{atom.n})"
        if isinstance(atom, Mod):
            return f"(({render(atom.of, name)})%{atom.n})"
        if isinstance(atom, Gather):
            at = tuple(_evaluate(i, env) for i in atom.indices)
            assert isinstance(atom.source, Table)
            return f"({atom.source.at(_sizes(env[0]), at)})"
        if isinstance(atom, Loop):
            return f"({env[1][LOOPS.index(atom)]})"
        assert isinstance(atom, Dim)
        return f"({env[0][DIMS.index(atom)]})"

    text = render(_build(spec), name)
    assert _read_back(ast.parse(text, mode="eval").body) == _value(spec, env)


def _read_back(tree: ast.expr) -> int:
    match tree:
        case ast.Constant(value):
            assert isinstance(value, int)
            return value
        case ast.UnaryOp(ast.USub(), x):
            return -_read_back(x)
        case ast.BinOp(a, op, b):
            left, right = _read_back(a), _read_back(b)
            results: dict[type, Callable[[int, int], int]] = {
                ast.Add: operator.add,
                ast.Sub: operator.sub,
                ast.Mult: operator.mul,
                ast.FloorDiv: operator.floordiv,
                ast.Mod: operator.mod,
            }
            return results[type(op)](left, right)
    raise AssertionError(ast.dump(tree))


def test_reshape_round_trips() -> None:
    """floor and mod of a flat offset give the loops back: what makes a reshape a view."""
    i, j, k = loop(0, 5), loop(1, 6), loop(2, 8)
    flat = 48 * i.ix() + 8 * j.ix() + k.ix()
    assert floordiv(flat, 48) is i.ix()
    assert mod(floordiv(flat, 8), 6) is j.ix()
    assert mod(flat, 8) is k.ix()
    assert floordiv(mod(flat, 48), 8) is j.ix()
    assert floordiv(flat, 8) * 8 + mod(flat, 8) is flat


def test_symbolic_batch_divides_exactly() -> None:
    b, j = loop(0, BATCH), loop(1, 10)
    assert floordiv(10 * b.ix() + j.ix(), 10) is b.ix()
    assert mod(10 * b.ix() + j.ix(), 10) is j.ix()


def test_floor_and_remainder_meet_again() -> None:
    e = 3 * LOOPS[0].ix() + LOOPS[1].ix()
    assert 4 * floordiv(e, 4) + mod(e, 4) is e
    assert mod(e, 4) * 2 + 8 * floordiv(e, 4) + 1 is 2 * e + 1


def test_guards_that_need_no_check() -> None:
    i, j = LOOPS[0].ix(), LOOPS[1].ix()
    assert guard(i, ">=") is True
    assert guard(BATCH - 1 - i, ">=") is True
    assert guard(-1 - i, ">=") is False
    assert guard(2 * i - 2 * j + 1, "==") is False
    assert guard(j - 7, "==") is False
    assert guard(3 * i - 3 * j, "==") is guard(j - i, "==")
    found = guard(2 * i - 2 * j - 1, ">=")
    assert isinstance(found, Guard)
    assert found.ix is i - j - 1


@pytest.mark.parametrize("n", [0, -1])
def test_a_divisor_is_positive(n: int) -> None:
    for f in (floordiv, mod):
        with pytest.raises(ValueError, match="must be a positive integer"):
            f(LOOPS[0].ix(), n)


def test_unused_combinations_are_forgotten() -> None:
    import gc
    import weakref

    seen = weakref.ref(loop(91, 1234567).ix() * 97 + 13)
    gc.collect()
    assert seen() is None
