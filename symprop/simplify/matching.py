"""Finding a formula inside another: patterns are terms whose reads stand for anything.

In: a pattern, a subject, the window that opens what the subject reads. Out: what each read of the
pattern stands for.

    read k          anything; met again, the same thing
    c*pattern       a subject scaled by 1/c: exp(-x) is found in exp(u) with x = -u
    sum, product    terms and factors in any order; a read alone takes all that is left
    call            the same function of arguments that are found

Guarantees: deterministic, the first way in the order of the terms; a read of the subject is opened
only where the pattern asks for more than it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from symprop import term as t
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = ["Found", "factors_of", "found", "found_in_product", "found_in_sum", "terms_of"]

Found = dict[int, Term]
Terms = list[tuple[Term, Fraction]]
Factors = list[tuple[Term, int]]


def terms_of(x: Term, window: Window) -> Iterator[tuple[Fraction, Terms]]:
    """The constant and the terms of a sum: as it stands, then with sums of its own opened."""
    if not isinstance(x, t.Sum):
        yield t.ZERO, [(x, t.ONE)]
        return
    yield x.const, list(x.terms)
    seen = [(window.look(y), k) for y, k in x.terms]
    if any(isinstance(y, t.Sum) for y, _ in seen):
        parts = [(y if isinstance(y, t.Sum) else old, k)
                 for (y, k), (old, _) in zip(seen, x.terms, strict=True)]  # fmt: skip
        flat = t.add(t.num(x.const), *(_spread(y, k) for y, k in parts))
        if isinstance(flat, t.Sum):
            yield flat.const, list(flat.terms)


def _spread(x: Term, k: Fraction) -> Term:
    """k*x, the number inside a sum."""
    if not isinstance(x, t.Sum):
        return t.scale(k, x)
    return t.add(t.num(x.const * k), *(t.scale(c * k, y) for y, c in x.terms))


def factors_of(x: Term, window: Window) -> Iterator[tuple[Fraction, Factors]]:
    """The number and the factors of a product: as it stands, then with products opened."""
    k, rest = t.coefficient(x)
    given = list(rest.factors) if isinstance(rest, t.Prod) else [(rest, 1)]
    yield k, given
    parts: list[Term] = []
    for b, n in given:
        c, inner = t.coefficient(window.look(b))
        opened = isinstance(inner, t.Prod) or (c != 1 and not isinstance(inner, t.Num))
        parts.append(t.power(t.scale(c, inner) if opened else b, n))
    c, whole = t.coefficient(t.mul(t.num(k), *parts))
    if whole is not rest and not isinstance(whole, t.Num):
        yield c, list(whole.factors) if isinstance(whole, t.Prod) else [(whole, 1)]


def found(pattern: Term, x: Term, window: Window, so_far: Found) -> Iterator[Found]:
    """Every way in which all of x is the pattern."""
    if isinstance(pattern, t.Read):
        known = so_far.get(pattern.k)
        if known is None:
            yield so_far | {pattern.k: x}
        elif window.same(known, x):
            yield so_far
        return
    if isinstance(pattern, t.Num):
        if x is pattern:
            yield so_far
        return
    k, rest = t.coefficient(pattern)
    if k is not t.ONE and k != 1:
        yield from found(rest, t.scale(1 / k, x), window, so_far)
        return
    if isinstance(pattern, t.Call):
        seen = _called(pattern, x, window)
        if seen is not None:
            yield from _arguments(pattern.args, seen.args, window, so_far)
    elif isinstance(pattern, t.Sum):
        for const, terms in terms_of(window.look(x), window):
            for ways, left in _terms(pattern, pattern.const == const, terms, window, so_far):
                if not left:
                    yield ways
    else:
        assert isinstance(pattern, t.Prod)
        for c, factors in factors_of(window.look(x), window):
            if c == 1:
                for ways, rest_ in _factors(list(pattern.factors), factors, window, so_far):
                    if not rest_:
                        yield ways


def _called(pattern: t.Call, x: Term, window: Window) -> t.Call | None:
    """x as a call of the pattern's function, what hides it opened."""
    for y in (x, window.look(x)):
        if isinstance(y, t.Call) and y.fn is pattern.fn:
            return y
    return None


def _arguments(
    patterns: Sequence[Term], args: Sequence[Term], window: Window, so_far: Found
) -> Iterator[Found]:
    if not patterns:
        yield so_far
        return
    for ways in found(patterns[0], args[0], window, so_far):
        yield from _arguments(patterns[1:], args[1:], window, ways)


def _terms(
    pattern: t.Sum, fits: bool, terms: Terms, window: Window, so_far: Found, scale: Fraction = t.ONE
) -> Iterator[tuple[Found, Terms]]:
    """Ways to find the pattern's terms, times ``scale``, among these, and the terms left over."""
    if not fits:
        return
    asked = [p for p in pattern.terms if not isinstance(p[0], t.Read)]
    open_ = [p for p in pattern.terms if isinstance(p[0], t.Read)]

    def go(k: int, left: Terms, ways: Found) -> Iterator[tuple[Found, Terms]]:
        if k == len(asked):
            yield from _rest(open_, left, window, ways, scale)
            return
        p, c = asked[k]
        for i, (y, own) in enumerate(left):
            if own == c * scale:
                for more in found(p, y, window, ways):
                    yield from go(k + 1, left[:i] + left[i + 1 :], more)

    yield from go(0, terms, so_far)


def _rest(
    open_: Sequence[tuple[Term, Fraction]], left: Terms, window: Window, ways: Found,
    scale: Fraction,
) -> Iterator[tuple[Found, Terms]]:  # fmt: skip
    """The reads that stand alone in a sum take what they are known to be, the last one the rest."""
    unknown = []
    for p, c in open_:
        assert isinstance(p, t.Read)
        known = ways.get(p.k)
        if known is None:
            unknown.append((p.k, c))
            continue
        places = [i for i, (y, own) in enumerate(left)
                  if own == c * scale and window.same(y, known)]  # fmt: skip
        if not places:
            return
        left = [y for i, y in enumerate(left) if i != places[0]]
    if not unknown:
        yield ways, left
    elif len(unknown) == 1 and left and scale == 1:
        k, c = unknown[0]
        yield ways | {k: t.scale(1 / c, t.add(*(t.scale(own, y) for y, own in left)))}, []


def _factors(
    asked: Factors, left: Factors, window: Window, ways: Found
) -> Iterator[tuple[Found, Factors]]:
    """Ways to find these factors, and the factors left over."""
    if not asked:
        yield ways, left
        return
    p, n = asked[0]
    if isinstance(p, t.Read) and p.k in ways:
        p = ways[p.k]
        places: Iterator[tuple[int, Found]] = (
            (i, ways) for i, (b, _) in enumerate(left) if window.same(b, p)
        )
    else:
        pattern = p
        places = ((i, more) for i, (b, _) in enumerate(left)
                  for more in found(pattern, b, window, ways))  # fmt: skip
    for i, more in places:
        b, m = left[i]
        if (m > 0) == (n > 0) and abs(m) >= abs(n):
            rest = [(b, m - n)] if m != n else []
            yield from _factors(asked[1:], left[:i] + rest + left[i + 1 :], window, more)


def found_in_sum(
    pattern: t.Sum, x: t.Sum, window: Window
) -> Iterator[tuple[Found, Fraction, Term]]:
    """Ways, the factor of the pattern in the sum, and the sum without it."""
    first = next((p for p in pattern.terms if not isinstance(p[0], t.Read)), None)
    if first is None:
        return
    for const, terms in terms_of(x, window):
        for scale in dict.fromkeys(own / first[1] for _, own in terms):
            fits = pattern.const == 0 or const == scale * pattern.const
            over = const - scale * pattern.const
            for ways, left in _terms(pattern, fits, terms, window, {}, scale):
                yield ways, scale, t.add(t.num(over), *(t.scale(k, y) for y, k in left))


def found_in_product(pattern: t.Prod, x: Term, window: Window) -> Iterator[tuple[Found, Term]]:
    """Ways, and the product without the pattern."""
    for c, factors in factors_of(x, window):
        for ways, left in _factors(list(pattern.factors), factors, window, {}):
            rest = t.mul(*(t.power(b, n) for b, n in left)) if left else t.num(1)
            yield ways, t.scale(c, rest)
