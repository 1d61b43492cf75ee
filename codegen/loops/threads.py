"""A nest as threads: which of its loops may all run at once, and what one thread does.

In: a ``For`` or a ``When`` of a nest, and the scope it stands in. Out: ``threads``: the loops whose
turns are threads, from outside in, and the body that each of them runs.

    for batch:                                     threads (batch, unit):
      for unit<16:                                   acc = 0
        acc = 0; for pixel<64: acc += ...            for pixel<64: acc += ...
        y[batch, unit] = acc                         y[batch, unit] = acc

    for n:                                         threads (column), as rows[n] may repeat:
      for column<8:                                  for n:
        table[rows[n], column] += g[n, column]         table[rows[n], column] += g[n, column]

Guarantees: of the loops that stand one in another, a loop is taken where ``check_race`` proves that
its turns leave each other alone whatever the loops inside it do; so it may be moved out of those
that are not. Each element is written by one thread, which runs the loops that are left in their
order: values are those of the nest, bit for bit. What narrows a taken loop becomes a condition
inside. Nothing is taken of a nest that calls a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.index import Guard
from codegen.loops.nest import Call, For, Kernel, Stmt, When
from codegen.loops.scope import InvalidLoops, Scope, narrowed
from codegen.loops.verify_races import check_race
from codegen.loops.walk import inside

__all__ = ["Threads", "threads"]

_Link = For | When


@dataclass(frozen=True)
class Threads:
    """A thread for each turn of all ``loops`` together runs ``body``; no loops: one thread."""

    loops: tuple[For, ...]
    body: tuple[Stmt, ...]


def threads(nest: _Link, scope: Scope, kernels: Mapping[str, Kernel]) -> Threads:
    """The independent loops of a nest, and what is left to each thread."""
    links, body = _chain(nest)
    taken: list[For] = []
    if any(isinstance(s, Call) for s in inside((nest,))):
        return Threads((), (nest,))
    for link in list(links):
        if not isinstance(link, For) or not all(narrowed(link)):
            continue  # a condition; or a loop without turns
        rest = _without(links, link)
        outermost = replace(link, body=_nested(rest, body), low=(), high=())
        try:
            check_race(outermost, scope, kernels)
        except InvalidLoops:
            continue
        taken.append(link)
        scope, links = scope.inside(outermost), rest
    return Threads(tuple(taken), _nested(links, body))


def _chain(nest: _Link) -> tuple[list[_Link], tuple[Stmt, ...]]:
    """The loops and conditions that hold nothing but the next one, and the body of the last."""
    links = [nest]
    while len(nest.body) == 1 and isinstance(nest.body[0], For | When):
        nest = nest.body[0]
        links.append(nest)
    return links, nest.body


def _without(links: Sequence[_Link], link: For) -> list[_Link]:
    """The chain without one loop; what narrows it is a condition in its place."""
    guards = tuple(g for g in narrowed(link) if isinstance(g, Guard))
    instead: list[_Link] = [When(guards, link.body)] if guards else []
    n = links.index(link)
    return [*links[:n], *instead, *links[n + 1 :]]


def _nested(links: Sequence[_Link], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The chain around a body."""
    for link in reversed(links):
        body = (replace(link, body=body),)
    return body
