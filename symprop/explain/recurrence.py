"""recurrence: the steps of a scan as lines, indexed by the step t as a course writes them.

In: the network's scans, forward and of the gradients, and the page's symbols. Out: for each
recurrence the symbols of one step and its lines: ``h_t = tanh(a_t)``; for a carry that only adds
up, its sum: ``dL/dW = sum_t delta_t x_t^T``.

    carried     h_{t-1} before the step, h_t after it; of a gradient dL/dh_t, then dL/dh_{t-1}
    sliced      x_t, a part of a sequence
    kept        a_t, what the step computes and the gradient reads again; delta_t, what several
                results of a gradient's step share

Guarantees: the lines are those of the scan's own block, whichever network or gradient it came from.
Every symbol of a step stands for a value of the graph: the scan is built once more so that it keeps
them all, which lets a line be evaluated at every step.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from codegen.index import Guard, Loop, loop
from symprop import graph
from symprop import term as t
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.blocks import Say
from symprop.explain.equations import Lines
from symprop.explain.notation import Equation, Formula, Symbol
from symprop.explain.read import NotMatrixError, Reader
from symprop.explain.steps import (
    accumulated,
    at_every_step,
    primed,
    result,
    scalars_as_elements,
    shared,
)
from symprop.explain.symbols import Key, key_of, made_up, short
from symprop.graph import FLOATS, Leaf, Node, Output, Reduce, Scan, make_output
from symprop.walk import topological

__all__ = ["Recurrence", "Recurrences"]

KEPT, REPORTED = "abdefqruv", "gefqruv"  # letters of a step's values, and of what is reported
CLOCK = 998  # the position of the loop over steps
BEFORE = {False: -1, True: 1}  # the step that a carry comes from, by the scan's direction


@dataclass
class Recurrence:
    """One recurrence; ``symbols`` by value of its block, ``after`` the carries it hands on."""

    scan: Scan
    clock: Loop
    backward: bool
    symbols: dict[Node, Symbol] = field(default_factory=dict)
    after: list[Symbol] = field(default_factory=list)
    rows: list[tuple[Symbol, Say]] = field(default_factory=list)
    lines: list[Equation] = field(default_factory=list)
    sums: dict[int, Node] = field(default_factory=dict)
    kept: list[Node] = field(default_factory=list)


class Recurrences:
    """The recurrences of a page, each made when it is first met."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        net = lines.net
        self.forward = {key_of(n) for n in topological([net.loss]) if isinstance(n, Scan)}
        self.scans: dict[Key, list[Scan]] = {}
        for n in topological([net.loss, *net.exact.values()]):
            if isinstance(n, Scan):
                self.scans.setdefault(key_of(n), []).append(n)
        self.made: dict[Key, Recurrence] = {}

    def known(self, scan: Scan) -> bool:
        """Whether the recurrence has been met."""
        return key_of(scan) in self.made

    def of(self, scan: Scan) -> Recurrence:
        """The recurrence of a scan."""
        key = key_of(scan)
        self.scans.setdefault(key, [scan])
        if key not in self.made:
            found = self._start(key)
            self.made[key] = found
            self._name_operands(found)
            self._name_kept(found)
            self._write(found)
        return self.made[key]

    # --- what is kept ----------------------------------------------------------------------

    def _start(self, key: Key) -> Recurrence:
        """The scan that keeps the values of every step, and what those are."""
        scans, backward = self.scans[key], key not in self.forward
        first = scans[0]
        outputs = [result(first, n) for n in range(first.ncarry)]
        every = [result(s, n) for s in scans for n in range(s.ncarry, len(s.block.outputs))]
        order = topological([*outputs, *every])
        wanted = [*every, *(n for n in order if isinstance(n, Output))]
        wanted += shared(order) if backward else [n for n in order if graph.hint(n)]
        left_out = {*outputs, *first.block.leaves}
        kept = [n for n in dict.fromkeys(wanted) if n not in left_out]
        leaves = first.block.leaves
        wider = graph.make_block(
            leaves, [*outputs, *leaves[: first.ncarry], *outputs, *kept],
            first.block.name, first.block.names,
        )  # fmt: skip
        scan = graph.make_scan(
            wider, first.length, first.reverse, first.ncarry, first.nslice, first.arguments
        )
        sums = accumulated(scan, order) if backward else {}
        return Recurrence(scan, loop(CLOCK, first.length), backward, sums=sums, kept=kept)

    def _stacked(self, found: Recurrence, place: int) -> Node:
        """A value of every step: carries before, carries after, then what is kept."""
        return make_output(found.scan, found.scan.ncarry + place)

    # --- names -----------------------------------------------------------------------------

    def _name_operands(self, found: Recurrence) -> None:
        scan = found.scan
        letters = self._letters(found)
        for k, leaf in enumerate(scan.block.leaves):
            if k in found.sums:
                found.after.append(letters[k])
            elif k < scan.ncarry:
                self._name_carry(found, k, leaf, letters[k])
            elif k < scan.ncarry + scan.nslice:
                self._name_slice(found, k, leaf)
            else:
                argument = scan.arguments[k]
                outer = self.lines.names.get(argument) or self.lines.table(argument)
                found.symbols[leaf] = outer

    def _letters(self, found: Recurrence) -> list[Symbol]:
        """What each carry is called, without its step: h; of a gradient dL/dh."""
        scan, symbols = found.scan, self.lines.symbols
        if not found.backward:
            names = symbols.carries[key_of(scan)]
            leaves = scan.block.leaves[: scan.ncarry]
            return [Symbol(*name, n, len(n.dims)) for name, n in zip(names, leaves, strict=True)]
        source = self._source(found)
        own = [k for k in range(scan.ncarry) if k not in found.sums]
        of = [s for s in source.after if s.node.dtype in FLOATS] if source is not None else []
        exact = len(of) == len(own) and self._reads_only(found, source)
        loss = symbols.of[self.lines.net.loss]
        letters: list[Symbol] = []
        for k, leaf in enumerate(scan.block.leaves[: scan.ncarry]):
            rank = len(leaf.dims)
            if k in own and exact:
                primal = replace(of[own.index(k)], step=0)
                letters.append(Symbol(loss.base, "", leaf, rank, None, primal))
            else:
                letters.append(symbols.letter(REPORTED, leaf))
        return letters

    def _source(self, found: Recurrence) -> Recurrence | None:
        """The recurrence whose kept values a gradient's step reads."""
        for a in found.scan.arguments[found.scan.ncarry :]:
            of = a.of if isinstance(a, Output) else None
            same = isinstance(of, Scan) and of.length is found.scan.length
            if same and key_of(of) in self.forward:  # type: ignore[arg-type]
                return self.of(of)  # type: ignore[arg-type]
        return None

    def _reads_only(self, found: Recurrence, source: Recurrence | None) -> bool:
        """Whether nothing but later steps reports back: every slice is the forward pass's."""
        scan = found.scan
        slices = scan.arguments[scan.ncarry : scan.ncarry + scan.nslice]
        assert source is not None
        own = source.scan.arguments[source.scan.ncarry :]
        key = key_of(source.scan)
        return all(a in own or (isinstance(a, Output) and isinstance(a.of, Scan)
                                and key_of(a.of) == key) for a in slices)  # fmt: skip

    def _name_carry(self, found: Recurrence, k: int, leaf: Leaf, letter: Symbol) -> None:
        scan = found.scan
        before, after = (0, -1) if found.backward else (BEFORE[scan.reverse], 0)
        if found.backward and scan.reverse is False:
            after = 1
        start = self._timed(letter, self._stacked(found, k), before)
        found.symbols[leaf] = start
        end = self._timed(letter, self._stacked(found, scan.ncarry + k), after)
        found.after.append(end)
        if not isinstance(scan.block.outputs[k], Leaf):
            found.symbols.setdefault(scan.block.outputs[k], end)
        meaning = Say("carried_back") if found.backward else Say("carried")
        if isinstance(scan.block.outputs[k], Output):
            found.rows.append((end, Say("inner_result")))
        found.rows.append((end if not found.backward else start, meaning))
        self._first(found, k, letter)

    def _first(self, found: Recurrence, k: int, letter: Symbol) -> None:
        """h_0 = ..., unless it is called so already."""
        scan = found.scan
        argument = scan.arguments[k]
        place = self._origin(scan, found.backward)
        if letter.of is not None:
            of = replace(letter.of, sub=place, step=None)
            start = Symbol(letter.base, "", argument, letter.rank, None, of)
        else:
            start = Symbol(letter.base, place, argument, letter.rank)
            start = replace(start, capital=self._capital(start))
        outer = self.lines.names.get(argument)
        if outer is not None and _same(outer, start):
            return
        line = self.lines.line(start, argument, argument, "step", False, self.lines.names)
        if line is not None and outer is not None:
            line = Equation(nt.Sym(start), nt.Sym(outer), argument, "step")
        if line is not None:
            found.lines.append(line)

    def _origin(self, scan: Scan, backward: bool) -> str:
        """The step that a carry starts from: 0, or T for a gradient; from the other end where the
        forward pass runs backwards."""
        last = self.lines.symbols.length(scan)
        if backward:
            return last if scan.reverse else "1"
        if not scan.reverse:
            return "0"
        return str(scan.length.value + 1) if scan.length.value is not None else f"{last}+1"

    def _name_slice(self, found: Recurrence, k: int, leaf: Leaf) -> None:
        """x_t; what has no symbol gets a line of its own."""
        scan, names = found.scan, self.lines.names
        argument = scan.arguments[k]
        met = self._met(argument)
        if met is not None:
            found.symbols[leaf] = met
            return
        outer = names.get(argument) or self._constant(argument)
        if outer is not None:
            symbol = self._timed(outer, argument, 0)
            found.rows.append((symbol, Say("sliced", (("whole", nt.Sym(outer)),))))
        else:
            word = scan.block.names[k]
            letter = self.lines.symbols.claim(*short("s" if made_up(word) else word), argument)
            symbol = self._timed(letter, argument, 0)
            found.lines.append(self._part(argument, symbol))
            found.rows.append((symbol, Say("part")))
        found.symbols[leaf] = symbol

    def _met(self, argument: Node) -> Symbol | None:
        """The symbol of a sequence's part that another recurrence has given: a_t, x_t."""
        of = argument.of if isinstance(argument, Output) else None
        if isinstance(of, Scan) and key_of(of) in self.scans and isinstance(argument, Output):
            inner = result(of, argument.n)
            own = self.of(of).symbols.get(inner)
            if own is not None and argument.n >= of.ncarry:
                return own
        every = [s for r in self.made.values() for s in r.symbols.values()]
        return next((s for s in every if s.node is argument and s.step == 0), None)

    def _constant(self, argument: Node) -> Symbol | None:
        """The symbol of a derivative that is one number, which has no symbol by its value."""
        every = self.lines.symbols.cotangents.values()
        return next((s for s in every if s.node is argument), None)

    def _timed(self, letter: Symbol, node: Node, step: int) -> Symbol:
        """A symbol at a step: its value counts steps on the first axis. A part of a derivative that
        is stacked keeps the capital of the whole: dL/dH_t, beside dL/dh_t of all that reads h_t."""
        of = letter.of
        if of is not None:
            base = of.capital if of.capital and of.step is None else of.base
            of = Symbol(base, of.sub, of.node, of.rank, capital=of.capital, step=step)
        rank = len(node.dims)
        found = Symbol(letter.base, letter.sub, node, rank, 0, of, step=step)
        return replace(found, capital=self._capital(found)) if of is None else found

    def _capital(self, symbol: Symbol) -> str:
        """X_t for a matrix, as elsewhere on the page."""
        capital = symbol.base.upper()
        wide = symbol.rank - (symbol.step is not None) > 1 and len(symbol.base) == 1
        free = (capital, symbol.sub) not in self.lines.symbols.taken
        return capital if wide and free and capital != symbol.base else ""

    def _part(self, argument: Node, symbol: Symbol) -> Equation:
        """The line of a sequence's part that has no symbol: s_t[i] = x[i, t]."""
        known = {n: s for n, s in self.lines.names.items() if n is not argument}
        right, loops = Reader(known, {}, {}, {}, self.lines.table).element(argument)
        left = nt.Ref(symbol, tuple(v.ix() for v in loops))
        return Equation(left, right, argument, "step", loops, loops[0])

    def _name_kept(self, found: Recurrence) -> None:
        scan, symbols = found.scan, self.lines.symbols
        stage = {result(o.of, o.n): s for o, s in symbols.of.items()
                 if isinstance(o, Output) and isinstance(o.of, Scan)
                 and key_of(o.of) == key_of(scan) and o.n >= scan.ncarry}  # fmt: skip
        for k, node in enumerate(found.kept):
            if node in found.symbols:
                continue
            letter = stage.get(node) or self._letter(found, node)
            symbol = self._timed(letter, self._stacked(found, 2 * scan.ncarry + k), 0)
            found.symbols[node] = symbol
            word = "inner_result" if isinstance(node, Output) else "kept_back" if found.backward \
                else "kept"  # fmt: skip
            found.rows.append((symbol, Say(word)))

    def _letter(self, found: Recurrence, node: Node) -> Symbol:
        """The user's word, a letter; of a gradient dL/da_t for what the step calls d_a, else
        delta."""
        symbols, word = self.lines.symbols, graph.hint(node)
        if not found.backward:
            return symbols.claim(*short(word), node) if word else symbols.letter(KEPT, node)
        source = self._source(found)
        for primal, symbol in source.symbols.items() if source is not None else ():
            if word and word == f"d_{graph.hint(primal)}" and symbol.step == 0:
                base = symbols.of[self.lines.net.loss].base
                slope = Symbol(base, "", node, len(node.dims), None, symbol)
                # The part that a loss of every step adds may be called so already.
                now = [_printed(s) for s in found.symbols.values() if s.step == 0]
                alike = _printed(slope) in now
                return symbols.claim(al.ERROR, "", node) if alike else slope
        return symbols.claim(al.ERROR, "", node)

    # --- lines -----------------------------------------------------------------------------

    def _write(self, found: Recurrence) -> None:
        block, n = found.scan.block, found.scan.ncarry
        order = {node: k for k, node in enumerate(topological(block.outputs))}
        lines = [(node, found.symbols[node]) for node in found.kept]
        lines += [(block.outputs[k], found.after[k]) for k in range(n) if k not in found.sums]
        for node, symbol in sorted(lines, key=lambda pair: order[pair[0]]):
            if not isinstance(node, Output):
                found.lines.append(self.line(found, node, symbol))

    def line(self, found: Recurrence, node: Node, symbol: Symbol) -> Equation:
        """symbol = what a value of the block is made of, at every step."""
        right, loops = self.formula(found, node, isinstance(node, Leaf))
        clock = found.clock
        if not loops:
            return Equation(nt.Sym(symbol, clock), right, symbol.node, "step", (), clock)
        left = nt.Ref(symbol, (clock.ix(), *(v.ix() for v in loops)))
        return Equation(left, right, symbol.node, "step", (clock, *loops), clock)

    def total(self, found: Recurrence, k: int, symbol: Symbol, node: Node) -> Equation:
        """dL/dW = sum_t of what each step adds, for a carry that only adds up."""
        added = found.sums[k]
        right, loops = self.formula(found, added, added in found.symbols)
        over: tuple[Loop, ...] = (found.clock,)
        guards: tuple[Guard, ...] = ()
        if loops and isinstance(right, nt.Total) and right.op == "sum":
            over, guards, right = (*over, *right.loops), right.guards, right.of
        left = nt.Ref(symbol, tuple(v.ix() for v in loops)) if loops else nt.Sym(symbol)
        total = nt.Total("sum", over, right, guards)
        return Equation(left, total, node, "gradient", loops)

    def formula(
        self, found: Recurrence, node: Node, itself: bool
    ) -> tuple[Formula, tuple[Loop, ...]]:
        """A value of the block in symbols of the step; a leaf is its own symbol."""
        local = {n: Symbol(s.base, s.sub, n, len(n.dims), None, s.of, step=s.step)
                 for n, s in found.symbols.items() if itself or n is not node}  # fmt: skip
        outer = {own: found.symbols[n] for n, own in local.items()}
        reader = Reader(local, {}, {}, {})
        formula: Formula | None = None
        loops: tuple[Loop, ...] = ()
        if itself:
            formula = nt.Sym(local[node])
        elif not self.lines.index:
            with suppress(NotMatrixError):
                formula, _ = reader.matrix(node, False)
        if formula is None:
            formula, loops = reader.element(node)
        formula = primed(formula, self._functions(found))
        timed = {n: found.symbols[n] for n in local}
        timely = nt.rebuilt(formula, lambda f: at_every_step(f, outer, timed, found.clock))
        return al.arranged(scalars_as_elements(timely) if loops else timely), loops

    def _functions(self, found: Recurrence) -> list[t.Function]:
        """The functions of one operand in the step that a gradient goes back through."""
        source = self._source(found) if found.backward else None
        order = topological(source.scan.block.outputs) if source is not None else []
        calls = [n.body for n in order if isinstance(n, Reduce) and isinstance(n.body, t.Call)]
        return list(dict.fromkeys(c.fn for c in calls if len(c.args) == 1
                                  and getattr(c.fn, "op", None) is not None))  # fmt: skip


def _printed(symbol: Symbol) -> tuple[str, str, object]:
    """What a reader tells symbols apart by."""
    of = None if symbol.of is None else _printed(symbol.of)
    return symbol.capital or symbol.base, symbol.sub, of


def _same(a: Symbol, b: Symbol) -> bool:
    """Whether two symbols print alike."""
    inner = (a.of is None) == (b.of is None) and (a.of is None or _same(a.of, b.of))  # type: ignore[arg-type]
    return inner and (a.base, a.sub) == (b.base, b.sub)
