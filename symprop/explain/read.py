"""read: a value of the graph in matrix notation.

In: a node, the symbols of the values that have one. Out: its definition in products of matrices, of
the whole batch or of one sample. Values without a symbol are read through, as in ``elements``.

A formula is found by the loops alone: an operand is a matrix of the two loops it is read at; a loop
that is summed joins the two operands that hold it; a loop that an operand lacks repeats it.

Guarantees: the formula has the node's value; where scalars, columns and matrices cannot say it,
`NotMatrixError` is raised. Nothing here knows a layer or an activation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from codegen.index import Gather, Guard, Ix, Loop, guard, loop, substitute
from symprop import term as t
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.elements import Elements, Normalised, called, flattened, moved, size_of
from symprop.explain.notation import Formula, Symbol
from symprop.graph import At, IndexOf, Node, Reading, Reduce
from symprop.make import fresh

__all__ = ["NotMatrixError", "Reader"]

SAMPLES = 999  # the position of a sum over samples


class NotMatrixError(Exception):  # no error: another notation is due
    """The value is not a formula of scalars, columns and matrices."""


class Oriented(NamedTuple):
    """A formula and the loops that its rows and columns run over."""

    formula: Formula
    axes: tuple[Loop, ...]


class Reader(Elements):
    """Reads nodes; ``batch`` is the axis of each value that counts samples."""

    one: bool  # a formula of one sample
    samples: set[Loop]  # the loops that count samples
    sum_over: Loop | None  # the loop of a sum over samples

    def matrix(self, node: Node, one: bool) -> tuple[Formula, Loop | None]:
        """The definition in matrices; with ``one`` of a single sample, and its loop."""
        self.one, self.samples, self.sum_over, self.count = one, set(), None, 0
        loops = fresh(node.dims)
        sample = None
        if one and node in self.batch:
            sample = loops[self.batch[node]]
            self.samples.add(sample)
        target = tuple(v for v in loops if v is not sample)
        wide = tuple(v for v in target if v.extent.value != 1)
        if len(target) > 2:
            raise NotMatrixError
        found = self.read(node, [v.ix() for v in loops])
        found = Oriented(found.formula, tuple(a for a in found.axes if a.extent.value != 1))
        formula = self.orient(found, wide)
        if wide and nt.form(formula) == (False, False):  # one number for every entry
            ones = [nt.Ones(v.extent) for v in wide]
            formula = al.mul(formula, al.mat(ones[0], *map(al.transposed, ones[1:])))
        if nt.indexed(formula):
            raise NotMatrixError
        if len(target) == 2 and len(wide) == 1 and wide[0] is target[1]:
            formula = al.transposed(formula)  # a row
        return formula, sample

    # --- matrices --------------------------------------------------------------------------

    def define(self, node: Node, index: Sequence[Ix]) -> Oriented:
        """The node's own formula at an index, in oriented matrices."""
        known = self.normalised.get(node)
        if known is not None:
            return self.normal(known, node, index)
        slope = self.slopes.get(node)
        if slope is not None:
            of = self.read(slope.of, index)
            return Oriented(nt.Call(slope.fn, (of.formula,), True), of.axes)
        if not isinstance(node, Reduce) or node.op != "sum":
            raise NotMatrixError
        mapping: dict[Loop, Ix] = dict(zip(node.outer, index, strict=True))
        over = [v for v in node.inner if self.one and self.counts_samples(node, v)]
        inner = self.inner(node.inner, mapping)
        if len(over) == 1 and self.sum_over not in self.samples:
            # One letter for every sum over samples, so that sums of sums can be joined.
            self.sum_over = loop(SAMPLES, over[0].extent)
            inner[node.inner.index(over[0])] = self.sum_over
        mapping.update((v, new.ix()) for v, new in zip(node.inner, inner, strict=True))
        counted = [new for v, new in zip(node.inner, inner, strict=True) if v in over]
        self.samples.update(counted)
        reads = [self.operand(r, mapping) for r in node.reads]
        factors = self.indicators(node.guards, mapping)
        summed = [v for v in inner if v not in counted]
        factors += self.product(node.body, reads) if inner else [self.entry(node.body, reads)]
        found = self.contract(factors, summed) if summed else self.multiply(factors)
        for v in counted:
            self.samples.discard(v)
            found = Oriented(_sum_out(v, found.formula), found.axes)
        return found

    def counts_samples(self, node: Reduce, v: Loop) -> bool:
        """Whether a summed loop runs over the samples of an operand."""
        reads = [r for r in node.reads if isinstance(r, At) and r.node in self.batch]
        return any(r.index[self.batch[r.node]].atom is v for r in reads)

    def normal(self, known: Normalised, node: Node, index: Sequence[Ix]) -> Oriented:
        """softmax(z) or logsumexp(z), along the last axis of z."""
        if known.guards:
            raise NotMatrixError
        last = fresh(known.of.dims)[-1]
        if known.word == "softmax":
            at = list(index)
        else:
            v = self.inner([last], {})[0]
            at = [*index, v.ix()]
        of = self.read(known.of, at)
        axis = at[-1].atom
        if not isinstance(axis, Loop) or axis not in of.axes or len(of.axes) > 2:
            raise NotMatrixError
        others = tuple(a for a in of.axes if a is not axis)
        formula = self.orient(of, (*others, axis))
        axes = (*others, axis) if known.word == "softmax" else others
        return Oriented(nt.Row(known.word, formula, bool(others)), axes)

    def operand(self, r: Reading, mapping: Mapping[Loop, Ix]) -> Oriented:
        """A read as a matrix of the loops it is read at."""
        if isinstance(r, IndexOf):
            ix = substitute(r.ix, mapping)
            if not ix.loops:
                return Oriented(size_of(ix), ())
            if not isinstance(ix.atom, Loop):
                raise NotMatrixError
            return Oriented(nt.Size(ix), (ix.atom,))
        found = self.read(r.node, [substitute(i, mapping) for i in r.index])
        held = self.indicators(r.guards, mapping)
        return self.multiply([found, *held]) if held else found

    def read(self, node: Node, index: Sequence[Ix]) -> Oriented:
        symbol = self.known(node)
        return self.define(node, index) if symbol is None else self.symbol(symbol, index)

    def symbol(self, symbol: Symbol, index: Sequence[Ix]) -> Oriented:
        """A symbol at loops, at index 0 of axes of extent 1, or at one label."""
        dims = list(zip(index, symbol.node.dims, strict=True))
        at: Loop | None = None
        if self.one and symbol.batch is not None:
            ix, _ = dims.pop(symbol.batch)
            if not isinstance(ix.atom, Loop) or ix.atom not in self.samples:
                raise NotMatrixError
            at = ix.atom
        flat = flattened(symbol, index)
        if flat is not None:
            return self.flat(symbol, flat, at)
        if len(dims) > 2:
            raise NotMatrixError
        labels = [ix for ix, _ in dims if isinstance(ix.atom, Gather)]
        if labels:
            return self.chosen(symbol, index, labels)
        axes: list[Loop] = []
        for ix, d in dims:
            if isinstance(ix.atom, Loop) and ix.atom.extent is d and ix.atom not in axes:
                axes.append(ix.atom)
            elif not (ix.value == 0 and d.value == 1):
                raise NotMatrixError
        formula: Formula = nt.Sym(symbol, at)
        if len(dims) == 2 and len(axes) == 1 and dims[0][0].value == 0:
            formula = al.transposed(formula)  # a matrix of one row, as a column
        return Oriented(formula, tuple(axes))

    def flat(self, symbol: Symbol, index: Sequence[Ix], at: Loop | None) -> Oriented:
        """flat(symbol) at loops over all of it: a column, or a row for each sample."""
        atoms = [ix.atom for ix in (index[1:] if at is not None else index)]
        axes = tuple(a for a in atoms if isinstance(a, Loop))
        count = math.prod(d.value or 0 for k, d in enumerate(symbol.node.dims) if k != symbol.batch)
        if len(axes) < len(atoms) or axes[-1].extent.value != count:
            raise NotMatrixError
        return Oriented(nt.Flat(symbol, at), axes)

    def chosen(self, symbol: Symbol, index: Sequence[Ix], labels: Sequence[Ix]) -> Oriented:
        """z[y]: the entry of a label, onehot(y)^T z."""
        if len(labels) != 1:
            raise NotMatrixError
        place = list(index).index(labels[0])
        v = self.inner(fresh([symbol.node.dims[place]]), {})[0]
        at = [v.ix() if k == place else ix for k, ix in enumerate(index)]
        held = guard(v.ix() - labels[0], "==")
        if not isinstance(held, Guard):
            raise NotMatrixError
        return self.contract([self.symbol(symbol, at), self.indicator(held)], [v])

    def indicators(self, guards: Sequence[Guard], mapping: Mapping[Loop, Ix]) -> list[Oriented]:
        """Guards as factors."""
        found = moved(guards, mapping)
        if found is None:
            raise NotMatrixError
        return [self.indicator(g) for g in found]

    def indicator(self, g: Guard) -> Oriented:
        """[i = y] as the entries of onehot(y)."""
        loops = [(a, k) for a, k in g.ix.terms if isinstance(a, Loop)]
        labels = [(a, k) for a, k in g.ix.terms if isinstance(a, Gather)]
        plain = g.kind == "==" and not g.ix.const and len(g.ix.terms) == 2
        if not plain or len(loops) != 1 or len(labels) != 1 or loops[0][1] != -labels[0][1]:
            raise NotMatrixError
        (v, _), (label, _) = loops[0], labels[0]
        source = self.symbols.get(label.source)  # type: ignore[call-overload]
        if source is None or abs(loops[0][1]) != 1:
            raise NotMatrixError
        of = self.symbol(source, label.indices)
        if len(of.axes) > 1:
            raise NotMatrixError
        return Oriented(nt.OneHot(of.formula, v.extent), (*of.axes, v))

    # --- formulas of entries ---------------------------------------------------------------

    def product(self, term: t.Term, reads: Sequence[Oriented]) -> list[Oriented]:
        """The factors of a body, numbers first."""
        k, rest = t.coefficient(term)
        found = [Oriented(al.number(k), ())] if k != 1 else []
        if isinstance(rest, t.Prod):
            for base, n in rest.factors:
                item = self.entry(base, reads)
                found.append(Oriented(al.power(item.formula, n), item.axes))
        elif isinstance(rest, t.Call) and rest.fn is t.STRONG_MUL:
            found += [self.entry(a, reads) for a in rest.args]
        elif not isinstance(rest, t.Num):
            found.append(self.entry(rest, reads))
        return found or [Oriented(al.ONE, ())]

    def entry(self, term: t.Term, reads: Sequence[Oriented]) -> Oriented:
        """A body as a matrix whose entries it gives."""
        if isinstance(term, t.Read):
            return reads[term.k]
        if isinstance(term, t.Num):
            return Oriented(al.number(term.value), ())
        if isinstance(term, t.Sum) and (term.const or len(term.terms) > 1):
            items = [self.multiply([Oriented(al.number(k), ()), self.entry(x, reads)])
                     for x, k in term.terms]  # fmt: skip
            items.append(Oriented(al.number(term.const), ()))
            axes = self.union(items)
            return Oriented(al.add(*(self.repeated(o, axes) for o in items)), axes)
        if isinstance(term, t.Call) and term.fn is not t.STRONG_MUL:
            return self.call(term, reads)
        return self.multiply(self.product(term, reads))

    def call(self, term: t.Call, reads: Sequence[Oriented]) -> Oriented:
        """A function of entries; an index compared with a label is onehot of the label."""
        args = [self.entry(a, reads) for a in term.args]
        if term.fn is t.EQ:
            for place, label in (args, args[::-1]):
                if isinstance(place.formula, nt.Size) and len(label.axes) < 2 and place.axes:
                    axes = (*label.axes, *place.axes)
                    return Oriented(nt.OneHot(label.formula, place.axes[0].extent), axes)
        axes = self.union(args)
        return Oriented(called(term, [self.orient(a, axes) for a in args]), axes)

    # --- orientation -----------------------------------------------------------------------

    def union(self, items: Sequence[Oriented]) -> tuple[Loop, ...]:
        """The loops of several formulas, in the order of the axes."""
        axes = sorted({a for o in items for a in o.axes}, key=lambda v: v.position)
        if len(axes) > 2:
            raise NotMatrixError
        return tuple(axes)

    def orient(self, o: Oriented, axes: tuple[Loop, ...]) -> Formula:
        """The formula with these rows and columns; what lacks one is repeated along it."""
        if o.axes == axes or not o.axes:
            return o.formula
        if o.axes == axes[::-1]:
            return al.transposed(o.formula)
        if len(axes) == 2 and o.axes == axes[:1]:
            return al.mat(o.formula, al.transposed(nt.Ones(axes[1].extent)))
        if len(axes) == 2 and o.axes == axes[1:]:
            return al.mat(nt.Ones(axes[0].extent), al.transposed(o.formula))
        raise NotMatrixError

    def repeated(self, o: Oriented, axes: tuple[Loop, ...]) -> Formula:
        """A term of a sum: a scalar that is no number is repeated for every row."""
        if o.axes or len(axes) != 1 or isinstance(o.formula, nt.Num | nt.Constant):
            return self.orient(o, axes)
        ones = nt.Ones(axes[0].extent)
        if isinstance(o.formula, nt.Sym) and _is_column(o.formula):  # of one element
            return al.mat(ones, al.transposed(o.formula))
        return al.mul(o.formula, ones)

    def multiply(self, items: Sequence[Oriented]) -> Oriented:
        """Entry by entry; a column times a row is their outer product."""
        if len(items) == 1:
            return items[0]
        axes = self.union(items)
        scalars = [o.formula for o in items if not o.axes]
        full = [o for o in items if len(o.axes) == 2]
        if len(axes) == 2 and not full:
            columns = self.multiply([o for o in items if o.axes == axes[:1]])
            rows = self.multiply([o for o in items if o.axes == axes[1:]])
            outer = al.mat(columns.formula, al.transposed(rows.formula))
            return Oriented(al.mul(*scalars, outer), axes)
        wide = [o for o in items if o.axes]
        units = [s for s in scalars if isinstance(s, nt.Sym) and _is_column(s)]
        if len(wide) == 1 and len(axes) == 1 and units:  # W^T delta where delta has one entry
            scalars.remove(units[0])
            row = isinstance(wide[0].formula, nt.Transposed)
            unit = units[0] if row else al.transposed(units[0])
            return Oriented(al.mul(*scalars, al.mat(wide[0].formula, unit)), axes)
        return Oriented(al.mul(*scalars, *(self.orient(o, axes) for o in wide)), axes)

    def contract(self, items: Sequence[Oriented], loops: Sequence[Loop]) -> Oriented:
        """The sum of a product over loops: products of matrices."""
        whole = self.squares(items, loops)
        if whole is not None:
            return whole
        found = list(items)
        for v in reversed(loops):
            held = [o for o in found if v in o.axes]
            rest = [o for o in found if v not in o.axes]
            found = [*rest, self.joined(held, v)]
        return self.multiply(found)

    def squares(self, items: Sequence[Oriented], loops: Sequence[Loop]) -> Oriented | None:
        """The sum of squares of every entry."""
        if {a for o in items for a in o.axes} != set(loops) or len(loops) > 2:
            return None
        whole = self.multiply(items).formula
        factors = whole.factors if isinstance(whole, nt.Mul) else (whole,)
        wide = [f for f in factors if nt.form(f) != (False, False)]
        if len(wide) != 1 or not isinstance(wide[0], nt.Pow) or wide[0].n != 2:
            return None
        rest = [f for f in factors if f is not wide[0]]
        return Oriented(al.mul(*rest, nt.Norm(wide[0].of)), ())

    def joined(self, held: Sequence[Oriented], v: Loop) -> Oriented:
        """One summed loop and the factors that hold it."""
        if not held:
            return Oriented(size_of(v.extent), ())
        groups: dict[tuple[Loop, ...], list[Oriented]] = {}
        for o in held:
            groups.setdefault(tuple(a for a in o.axes if a is not v), []).append(o)
        columns = groups.pop((), [])
        sides = sorted(groups, key=lambda k: k[0].position)
        if len(sides) > 2:
            raise NotMatrixError
        if not sides:
            return Oriented(self.dot([o.formula for o in columns], v), ())
        first = self.multiply(groups[sides[0]])
        if len(sides) == 1:
            left = self.orient(first, (*sides[0], v))
            right = self.multiply(columns).formula if columns else nt.Ones(v.extent)
            return Oriented(al.mat(left, right), sides[0])
        first = self.multiply([first, *columns])
        second = self.orient(self.multiply(groups[sides[1]]), (v, *sides[1]))
        left = self.orient(first, (*sides[0], v))
        return Oriented(al.mat(left, second), (*sides[0], *sides[1]))

    def dot(self, columns: Sequence[Formula], v: Loop) -> Formula:
        """The sum of a product of columns."""
        factors = [f for c in columns for f in (c.factors if isinstance(c, nt.Mul) else (c,))]
        scalars = [f for f in factors if nt.form(f) == (False, False)]
        rows = sorted((f for f in factors if f not in scalars), key=_leading)
        if len(rows) == 1:
            return al.mul(*scalars, al.mat(al.transposed(nt.Ones(v.extent)), rows[0]))
        return al.mul(*scalars, al.mat(al.transposed(rows[0]), al.mul(*rows[1:])))


def _leading(column: Formula) -> int:
    """What stands on the left of a dot product: a row, a label, a parameter."""
    if isinstance(column, nt.Transposed):
        return 0
    if isinstance(column, nt.OneHot):
        return 1
    return 2 if isinstance(column, nt.Sym) and column.symbol.batch is None else 3


def _is_column(of: nt.Sym) -> bool:
    """Whether a symbol is declared with an axis, be it of one element."""
    return of.symbol.rank - (of.at is not None) > 0


def _sum_out(v: Loop, formula: Formula) -> Formula:
    """sum_n formula, what does not depend on the sample in front."""
    factors = formula.factors if isinstance(formula, nt.Mul) else (formula,)
    own = [f for f in factors if _depends(f, v)]
    rest = [f for f in factors if not _depends(f, v)]
    return al.mul(*rest, nt.Total("sum", (v,), al.mul(*own)))


def _depends(formula: Formula, v: Loop) -> bool:
    return any(isinstance(f, nt.Sym | nt.Flat) and f.at is v for f in nt.inside(formula))
