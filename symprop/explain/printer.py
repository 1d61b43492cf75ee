"""printer: one walk over a formula for every language it is written in.

In: a formula, the letters of its indices, a `Spelling` (plain text, LaTeX, MathML). Out: text.

Guarantees: parentheses come from one table of precedences, so that the three languages say the
same; a product of matrices is written side by side and a product of entries with a circle, so the
two cannot be mistaken for each other. Names of the user are handed to the spelling as they are,
which escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from fractions import Fraction
from types import MappingProxyType

from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.letters import clock_of, letters_of
from symprop.explain.notation import Equation, Formula, Symbol
from symprop.explain.spelling import Spelling
from symprop.explain.text import decimal
from symprop.graph import Node

__all__ = ["Printer"]

SUM, PRODUCT, MATRIX, POWER, ATOM = range(5)  # how tightly a formula binds
_SHORT = (
    nt.Add,
    nt.Sym,
    nt.Ref,
    nt.Norm,
    nt.Call,
    nt.Bracket,
)  # what stands above a fraction's bar
LARGEST = 10_000  # the denominator of a factor that is written as a fraction


def _opposite(g: Guard, h: Guard) -> bool:
    """Whether two guards bound one index from both sides by numbers."""
    a, b = g.ix - g.ix.const, h.ix - h.ix.const
    return g is not h and g.kind == h.kind == ">=" and a is b * -1


class Printer:
    """Writes the formulas of one page."""

    times = ""  # between the factors below a fraction's bar
    functions: Mapping[str, str] = MappingProxyType({})  # what they are called, by their names

    def __init__(
        self,
        spelling: Spelling,
        symbols: Mapping[Node, Symbol],
        sizes: Mapping[str, str],
        letters: Mapping[Loop, str] | None = None,
    ) -> None:
        self.to, self.symbols, self.sizes = spelling, symbols, sizes
        self.letters = dict(letters or {})
        self.bound: set[Loop] = set()
        self.hidden: Loop | None = None
        self.rates = False  # numbers are rates of an update: 0.05, not 1/20
        self.shapes = False  # the sizes of a value under its symbol
        self.clock = clock_of(self.taken())

    def equation(self, equation: Equation) -> str:
        """left = middle = right."""
        left, sign, sides = self.sides(equation)
        return self.to.join([left, self.to.join(sides, "=")], sign)

    def sides(self, equation: Equation) -> tuple[str, str, list[str]]:
        """The left side, the sign after it, and the sides that are equal."""
        own = self.within(equation)
        sides = [own.write(f) for f in (*equation.middle, equation.right)]
        return own.write(equation.left), "←" if equation.kind == "update" else "=", sides

    def within(self, equation: Equation) -> Printer:
        """A printer with letters for the indices of an equation."""
        own = copy(self)
        own.letters, own.bound = letters_of(equation, self.taken()), set()
        own.rates = equation.kind in ("update", "definition")
        own.hidden = None if equation.kind == "step" else equation.sample
        return own

    def taken(self) -> set[str]:
        """The letters of values and sizes, which no index may have."""
        return {s.base for s in self.symbols.values()} | set(self.sizes.values())

    def shape(self, of: Formula) -> str:
        """The sizes of a symbol: B × 64; nothing for a scalar."""
        assert isinstance(of, nt.Sym)
        one = of.at is not None or of.symbol.step is not None
        dims = [d for k, d in enumerate(of.symbol.node.dims)
                if not one or k != of.symbol.batch]  # fmt: skip
        return self.to.join([self.ix(d) for d in dims], "×")

    def write(self, of: Formula, over: int = SUM) -> str:
        """The formula; in parentheses where it binds less tightly than ``over``."""
        text, own = self.bare(of)
        if own >= over:
            return text
        condition = isinstance(of, nt.Compare | nt.Logic)  # 1 or 0, as [c]
        return self.to.bracket(text) if condition else self.to.paren(text)

    def bare(self, of: Formula) -> tuple[str, int]:
        """The formula, and how tightly it binds."""
        match of:
            case nt.Num(value):
                own = PRODUCT if "/" in decimal(abs(value)) else ATOM
                return self.to.number(value), SUM if value < 0 else own
            case nt.Constant(word):
                return self.to.letter({"pi": "π", "inf": "∞", "nan": "NaN"}[word]), ATOM
            case nt.Sym(symbol, at):
                return self.symbol(symbol, at), ATOM
            case nt.Ref():
                return self.ref(of)
            case nt.Flat(symbol, at, index):
                whole = self.to.function("flat", False, [self.symbol(symbol, at, bool(index))])
                return self.element(whole, index[1:] if symbol.step is not None else index), ATOM
            case nt.Size(ix):
                return self.ix(ix), ATOM if ix.atom is not None else SUM
            case nt.Ones():
                return self.to.ones(), ATOM
            case nt.Add(terms):
                return self.sum(terms), SUM
            case nt.Mul(factors):
                return self.product(factors)
            case nt.Mat(factors):
                return self.to.join([self.write(f, MATRIX) for f in factors], ""), MATRIX
            case nt.Pow(inner, n) if n > 0:
                entrywise = nt.form(inner) != (False, False)
                return self.to.power(self.base(inner), n, entrywise), POWER
            case nt.Pow():
                return self.product((of,))
            case nt.Transposed(inner):
                return self.to.transpose(self.base(inner)), ATOM
            case nt.Norm(inner):
                return self.to.norm(self.write(inner)), ATOM
            case _:
                return self.special(of)

    def base(self, of: Formula) -> str:
        """What a mark is raised on: (dL/dh)^T."""
        fraction = isinstance(of, nt.Partial) or (isinstance(of, nt.Sym) and of.symbol.of)
        return self.to.paren(self.write(of)) if fraction else self.write(of, ATOM)

    def special(self, of: Formula) -> tuple[str, int]:
        """Functions, conditions and sums over indices."""
        match of:
            case nt.Call(fn, (a,), False) if fn.name == "sqrt":
                return self.to.root(self.write(a)), ATOM
            case nt.Call(fn, (a, b), _) if fn.name == "power":
                return self.to.raised(self.write(a, ATOM), self.write(b, ATOM)), POWER
            case nt.Call(fn, args, prime):
                called = self.functions.get(fn.name, fn.given)
                return self.to.function(called, prime, [self.write(a) for a in args]), ATOM
            case nt.Row(word, inner, _):
                return self.to.function(word, False, [self.write(inner)]), ATOM
            case nt.OneHot(inner, _):
                return self.to.function("onehot", False, [self.write(inner)]), ATOM
            case nt.Diagonal(inner):
                return self.to.function("diag", False, [self.write(inner)]), ATOM
            case nt.Partial(top, bottom):
                return self.to.partial(self.write(top, ATOM), self.write(bottom, ATOM)), ATOM
            case nt.Bracket(conditions, guards):
                inside = [self.write(c) for c in conditions] + self.guards(guards)
                return self.to.bracket(self.to.join(inside, ",")), ATOM
            case nt.Compare(op, a, b):
                return self.compare(op, a, b), SUM
            case nt.Logic("not", (a,)):
                return self.to.function("not", False, [self.write(a)]), ATOM
            case nt.Logic(op, args):
                return self.to.join([self.write(a, PRODUCT) for a in args], op), SUM
            case nt.Cases(c, a, b):
                return self.to.cases(self.write(c), self.write(a), self.write(b)), ATOM
            case nt.Total():
                return self.total(of), PRODUCT
            case nt.Along(word, over, inner, guards):
                where = self.to.join(self.guards(guards), ",") if guards else ""
                under = self.to.letter(self.letters[over])
                return self.to.total(word, under, where, self.to.paren(self.write(inner))), PRODUCT
        raise AssertionError(f"a formula no printer knows: {type(of).__name__}")

    def compare(self, op: str, a: Formula, b: Formula) -> str:
        """a < b; a number on the right: z > 0."""
        sign = {"lt": "<", "le": "≤", "eq": "=", "ne": "≠"}[op]
        if isinstance(a, nt.Num):
            a, b = b, a
            sign = {"<": ">", "≤": "≥"}.get(sign, sign)
        return self.to.join([self.write(a), self.write(b)], sign)

    # --- symbols and indices ---------------------------------------------------------------

    def symbol(self, symbol: Symbol, at: Loop | None, element: bool = False) -> str:
        """A letter: capital for a matrix, small for one sample (with its index inside a sum over
        samples) and for an element."""
        whole = (at is None or symbol.step is not None) and not element
        if symbol.of is not None:
            return self.to.partial(
                self.to.symbol(symbol.base, "", "", False), self.symbol(symbol.of, at, element)
            )
        base = symbol.capital if whole and symbol.capital else symbol.base
        index = self.letters[at] if at is not None and at in self.bound else ""
        if symbol.step is not None:
            index = self.clock + {-1: "−1", 0: "", 1: "+1"}[symbol.step]
        text = self.to.symbol(base, symbol.sub, index, len(base) > 1)
        return self.to.under(text, self.shape(nt.Sym(symbol, at))) if self.shapes else text

    def ref(self, of: nt.Ref) -> tuple[str, int]:
        """An element; times a bracket where guards hold it."""
        timed = of.symbol.step is not None  # the step is a mark of the symbol
        index = [i for k, i in enumerate(of.index) if not timed or k != of.symbol.batch]
        text = self.element(self.symbol(of.symbol, None, True), index)
        if not of.guards:
            return text, ATOM
        held = self.to.bracket(self.to.join(self.guards(of.guards), ","))
        return self.to.join([text, held], ""), PRODUCT

    def element(self, base: str, index: Sequence[Ix]) -> str:
        """base[i, j]; the index of the sample is left out where it stays fixed."""
        shown = [i for i in index if self.hidden is None or i.atom is not self.hidden]
        return self.to.element(base, [self.ix(i) for i in shown]) if shown else base

    def ix(self, ix: Ix) -> str:
        """An index: 2i + r - 1, or 3 - i."""
        if isinstance(ix.atom, Mod):
            return self.modulo(ix.atom)
        parts: list[str] = []
        terms = sorted(ix.terms, key=lambda term: term[1] < 0)
        if ix.const > 0 and terms and terms[0][1] < 0:
            parts.append(self.to.number(Fraction(ix.const)))
            ix = ix - ix.const
        for atom, k in terms:
            text = self.atom(atom)
            if abs(k) != 1:
                text = self.to.join([self.to.number(Fraction(abs(k))), text], "")
            parts.append(self.signed(text, k < 0, bool(parts)))
        if ix.const or not parts:
            text = self.to.number(Fraction(abs(ix.const)))
            parts.append(self.signed(text, ix.const < 0, bool(parts)))
        return "".join(parts)

    def signed(self, text: str, negative: bool, later: bool) -> str:
        """A term with its sign; a plus is left out where it comes first."""
        sign = self.to.op("−" if negative else "+") if later else ("−" if negative else "")
        if negative and not later:
            sign = self.to.op("-")
        return sign + text

    def atom(self, atom: object) -> str:
        """A letter, a size, or what is computed from indices."""
        match atom:
            case Loop():
                return self.to.letter(self.letters.get(atom, "?"))
            case Dim():
                return self.to.letter(self.sizes.get(atom.name, atom.name))
            case Floor():
                return self.to.function("floor", False, [self.over(atom.of, atom.n)])
            case Mod():
                return self.to.paren(self.modulo(atom))
        assert isinstance(atom, Gather)
        source = self.symbols[atom.source]  # type: ignore[index]
        return self.ref(nt.Ref(source, atom.indices))[0]

    def modulo(self, atom: Mod) -> str:
        """ix mod n."""
        return self.to.join([self.ix(atom.of), self.to.number(Fraction(atom.n))], "mod")

    def over(self, ix: Ix, n: int) -> str:
        """ix/n, of which floor is taken."""
        text = self.ix(ix)
        if ix.atom is None:
            text = self.to.paren(text)
        return self.to.fraction(text, self.to.number(Fraction(n)), True)

    def guards(self, guards: Sequence[Guard]) -> list[str]:
        """Conditions; two bounds of one index as 1 <= i + r <= 5."""
        found: list[str] = []
        used: set[Guard] = set()
        for g in guards:
            if g in used:
                continue
            other = next((h for h in guards if h not in used and _opposite(g, h)), None)
            if other is None:
                found.append(self.guard(g))
                continue
            low, high = (g, other) if g.ix.terms[0][1] > 0 else (other, g)
            used.update((low, high))
            ends = [self.to.number(Fraction(-low.ix.const)), self.ix(low.ix - low.ix.const),
                    self.to.number(Fraction(high.ix.const))]  # fmt: skip
            found.append(self.to.join(ends, "≤"))
        return found

    def guard(self, g: Guard) -> str:
        """j + 1 <= i: terms with a minus on the other side."""
        plus = [(a, k) for a, k in g.ix.terms if k > 0]
        minus = [(a, -k) for a, k in g.ix.terms if k < 0]
        sides = []
        for terms, const in ((plus, max(g.ix.const, 0)), (minus, max(-g.ix.const, 0))):
            total: Ix | int = const
            for a, k in terms:
                total = a.ix() * k + total
            text = self.to.number(Fraction(total)) if isinstance(total, int) else self.ix(total)
            sides.append(text)
        if g.kind == "==":
            return self.to.join(sides, "=")
        return self.to.join(sides[::-1], "≤")

    # --- sums and products -----------------------------------------------------------------

    def sum(self, terms: Sequence[Formula]) -> str:
        """a + b - c."""
        text = ""
        for item in terms:
            negative = al.coefficient(item) < 0
            body = self.write(al.mul(al.number(-1), item) if negative else item, PRODUCT)
            text += self.signed(body, negative, bool(text))
        return text

    def product(self, factors: Sequence[Formula]) -> tuple[str, int]:
        """Scalars in front or below, entries joined by circles."""
        value = al.coefficient(nt.Mul(tuple(factors)))
        rest = [f for f in factors if not isinstance(f, nt.Num)]
        below = [al.power(f.of, -f.n) for f in rest if isinstance(f, nt.Pow) and f.n < 0]
        above = [f for f in rest if not (isinstance(f, nt.Pow) and f.n < 0)]
        wide = [f for f in below if nt.form(f) != (False, False)]
        if wide:
            front = [f for f in above if nt.form(f) == (False, False)]
            under = [f for f in below if f not in wide]
            entries = [f for f in above if f not in front]
            scale = ""
            if front or under or abs(value) != 1 or not entries:
                scale = self.scaled(abs(value), front, under)
            text = self.divided(entries, wide, scale)
        else:
            text = self.scaled(abs(value), above, below)
        if value < 0:
            return self.to.op("-") + text, SUM
        return text, PRODUCT

    def scaled(self, value: Fraction, above: list[Formula], below: list[Formula]) -> str:
        """p/q times the rest: (p - y)/B, or 1/(2B) before a sum."""
        if self.decimal(value, below):  # 0.9 m
            under, front = [], [self.to.number(value)]
        else:
            under = [self.to.number(Fraction(value.denominator))] if value.denominator != 1 else []
            front = [self.to.number(Fraction(value.numerator))] if value.numerator != 1 else []
        under += [self.write(f, POWER) for f in below]
        bottom = self.to.join(under, self.times)
        if len(under) > 1:
            bottom = self.to.paren(bottom) if not self.stacked() else bottom
        short = len(above) == 1 and isinstance(above[0], _SHORT)
        short = short or (not above) or all(isinstance(f, nt.Sym | nt.Ref) for f in above)
        if under and short:
            one = len(above) == 1 and not front
            if one and self.stacked():
                top = self.write(above[0])
            else:
                top = self.joined(above, PRODUCT, front) or self.to.number(Fraction(1))
            return self.to.fraction(top, bottom, False)
        if under:
            top = self.to.join(front, "") or self.to.number(Fraction(1))
            front = [self.to.fraction(top, bottom, False)]
        return self.joined(above, PRODUCT, front) or self.to.number(Fraction(1))

    def decimal(self, value: Fraction, below: Sequence[Formula]) -> bool:
        """Whether a factor is written 0.9: not 1/20, nor 3/(10 B), which come from sizes."""
        if value.denominator % 10:
            return False
        power = value.denominator == 10 ** (len(str(value.denominator)) - 1)
        size = any(isinstance(f, nt.Size) for f in below) or (value.numerator == 1 and not power)
        return self.rates or not size or value.denominator > LARGEST

    def stacked(self) -> bool:
        """Whether a fraction is two lines, which need no parentheses."""
        return bool(getattr(self.to, "stacked", False))

    def joined(self, factors: Sequence[Formula], over: int, front: Sequence[str]) -> str:
        """Scalars side by side (sums over indices last), then entries joined by circles."""
        scalars = [f for f in factors if nt.form(f) == (False, False)]
        wide = [f for f in factors if nt.form(f) != (False, False)]
        scalars.sort(key=lambda f: isinstance(f, nt.Total))
        alone = len(wide) == 1 and (bool(scalars) or bool(front))
        level = max(over, MATRIX if alone else POWER if len(wide) > 1 else over)
        pieces = [self.write(f, max(over, PRODUCT)) for f in scalars]
        entries = self.to.join([self.write(f, level) for f in wide], "⊙")
        return self.to.join([*front, *pieces, *([entries] if wide else [])], "")

    def divided(self, above: list[Formula], below: list[Formula], scale: str) -> str:
        """Entries divided by entries."""
        top = self.joined(above, PRODUCT, [])
        if len(above) > 1 or (above and isinstance(above[0], nt.Mat)):
            top = self.to.paren(top)
        top = self.to.join([scale, top], "") if above else scale
        bottom = [self.write(f, ATOM) for f in below]
        text = bottom[0] if len(bottom) == 1 else self.to.paren(self.to.join(bottom, "⊙"))
        return self.to.join([top, text], "⊘")

    def total(self, of: nt.Total) -> str:
        """A sum; the samples it runs over are shown at their symbols."""
        new = [v for v in of.loops if v not in self.bound]
        self.bound.update(new)
        under = ",".join(self.to.letter(self.letters[v]) for v in of.loops)
        where = self.to.join(self.guards(of.guards), ",") if of.guards else ""
        inner = self.write(of.of, PRODUCT)
        self.bound.difference_update(new)
        return self.to.total(of.op, under, where, inner)
