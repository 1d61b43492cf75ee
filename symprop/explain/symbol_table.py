"""symbol_table: the first section of a page: what each symbol is, and the notation of its lines.

In: a page whose lines are made, and those lines. Out: one section.

Guarantees: a row for every value with a symbol, in the order of the page; a notation is explained
only where a line uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codegen.index import Dim, Loop, constant
from symprop.arguments import arguments
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Say, Section, Shape
from symprop.explain.notation import Equation, Symbol
from symprop.explain.symbols import parameters
from symprop.graph import Leaf, Node, Output
from symprop.make import fresh

if TYPE_CHECKING:
    from symprop.explain.sections import Page

__all__ = ["SIGNS", "table"]

# The sign that a sentence explains, as text.
SIGNS = {"by_entry": "⊙", "by_quotient": "⊘", "by_power": "∘", "ones": "𝟏"}


def table(made: Page, shown: Sequence[Equation]) -> Section:
    """The table, and a sentence for each notation that these lines use."""
    net = made.net
    data = [n for n in arguments([net.loss]) if n in made.symbols.of and n.kind != "parameter"]
    shares = [n for n in net.share.values() if n not in net.stages]
    words: dict[Node, str] = {leaf: _leaf_word(leaf) for leaf in data}
    words.update(dict.fromkeys(parameters(net), "parameter"))
    words.update((n, net.roles[n]) for n in net.stages)
    words.update(dict.fromkeys(shares, "softmax"))
    for node in made.lines.extra:
        words[node] = "value" if isinstance(node, Output) else "positions"
    rows = [_row(made, made.symbols.of[n], word) for n, word in words.items()]
    rows += [_error_row(made, s) for s in made.symbols.cotangents.values() if s.of is None]
    rows += _size_rows(made)
    rows += _rate_rows(made)
    heads = ("symbol", "code", "shape", "meaning")
    return Section("symbols", (Grid(heads, tuple(rows)), *_signs(), *_explained(shown)))


def _signs() -> list[Block]:
    """What the signs between factors mean; the page drops those of ``SIGNS`` that it never uses."""
    ones = Say("ones", (("ones", nt.Ones(constant(2))),))
    return [
        Say("products"),
        *map(Say, ("by_entry", "by_quotient", "by_power")),
        ones,
        Say("condition"),
    ]


def _leaf_word(leaf: Leaf) -> str:
    return "labels" if leaf.kind == "input" and leaf.dtype.startswith("int") else leaf.kind


def _row(made: Page, symbol: Symbol, word: str) -> tuple[Cell, ...]:
    return _both(made, symbol), symbol.code, Shape(nt.Sym(symbol)), Say(word)


def _both(made: Page, symbol: Symbol) -> Cell:
    """z_1, Z_1: the letter of one sample and of the batch."""
    return Say("pair", (("one", nt.Sym(symbol, _sample(symbol))), ("all", nt.Sym(symbol))))


def _sample(symbol: Symbol) -> Loop | None:
    return fresh(symbol.node.dims)[symbol.batch] if symbol.batch is not None else None


def _error_row(made: Page, symbol: Symbol) -> tuple[Cell, ...]:
    value = next(v for v, s in made.symbols.cotangents.items() if s is symbol)
    loss, of = made.symbols.of[made.net.loss], made.symbols.of[value]
    left = nt.Partial(nt.Sym(loss), nt.Sym(of, _sample(of)))
    error = Say("error", (("formula", left),))
    return _both(made, symbol), "", Shape(nt.Sym(symbol)), error


def _size_rows(made: Page) -> list[tuple[Cell, ...]]:
    size = made.net.size
    atom = size.atom if size is not None else None
    if not isinstance(atom, Dim) or size is None:
        return []
    return [(nt.Size(size), atom.name, "", Say("size"))]


def _rate_rows(made: Page) -> list[tuple[Cell, ...]]:
    """The rate of the update, and whatever scalar an optimizer is handed."""
    if made.update is None:
        return []
    own = (*made.net.parameters, made.update.gradient)
    states = {s.node for s in made.update.states}
    found = {n: s for n, s in made.update.symbols.items() if isinstance(n, Leaf)
             and n not in own and n not in states and not n.dims}  # fmt: skip
    return [(nt.Sym(s), s.code, Shape(nt.Sym(s)), Say("rate")) for s in found.values()]


def _explained(shown: Sequence[Equation]) -> list[Block]:
    """A sentence for each notation that a reader may not know and that the lines use."""
    sides = [side for e in shown for side in (e.left, *e.middle, e.right)]
    every = [f for side in sides for f in nt.inside(side)]
    used = {type(f) for f in every}
    found: list[Block] = []
    sampled = next((f for f in every if isinstance(f, nt.Total) and _of_samples(f)), None)
    if sampled is not None:
        found.append(Say("sample_words"))
    if any(isinstance(f, nt.Ref) and f.symbol.capital and f.symbol.batch is None for f in every):
        found.append(Say("element_words"))
    if nt.OneHot in used:
        found.append(Say("onehot_words"))
    if nt.Flat in used:
        found.append(Say("flat_words"))
    return [*found, Say("softmax_words")] if used & {nt.Row, nt.Along} else found


def _of_samples(total: nt.Total) -> bool:
    """Whether a sum runs over samples of a batch: its letter is n."""
    for f in nt.inside(total.of):
        if isinstance(f, nt.Sym | nt.Flat) and f.symbol.step is None and f.at in total.loops:
            return True
        counted = isinstance(f, nt.Ref) and f.symbol.step is None and f.symbol.batch is not None
        if counted and f.index[f.symbol.batch].atom in total.loops:  # type: ignore[attr-defined]
            return True
    return False
