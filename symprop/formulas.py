"""The line of mathematics above a value.

In: an assignment and the buffers it reads. Out: one line such as

    logits = relu_hidden logits_weight^T
    exp_logits = exp(logits - max_logits)
    d_hidden = d_relu_hidden [hidden > 0]
    loss_sum = sum_{batch} (log_sum - logits[batch, y[batch]])

Products of two matrices are written as products; [c] is 1 where c holds and 0 elsewhere; a read
at the same place as the result, or broadcast along it, is a bare name.

Guarantees: it says what the step says; deterministic. It is for readers only.
"""

from __future__ import annotations

from collections.abc import Mapping

from codegen.index import Guard, Ix, Loop
from codegen.listing import spell_ix
from codegen.printer import Bin, CallE, Cmp, Expr, Name, Num, Un, flat, number
from codegen.program import (
    And,
    Assign,
    Binary,
    Buffer,
    Call,
    Cast,
    Compare,
    IndexValue,
    Load,
    Number,
    Or,
    Scalar,
    Select,
    Unary,
    walk,
)

__all__ = ["formula"]

_WORDS = {"sum": "sum", "max": "max", "min": "min"}


def formula(name: str, step: Assign, buffers: Mapping[str, Buffer]) -> str:
    """The formula of a value over the names of its operands; "" where it would be too long."""
    return f"{name} = {_Spelling(step, buffers).right()}"


class _Spelling:
    """The right-hand side of one step."""

    def __init__(self, step: Assign, buffers: Mapping[str, Buffer]) -> None:
        self.step, self.buffers = step, buffers
        self.names = dict(zip(step.loops, step.names, strict=True))
        self.outer = [v for ix in step.index for v in ix.loops]
        self.inner = [v for v in step.loops if v not in self.outer]
        self.bare = self.plain_reads()

    def right(self) -> str:
        step = self.step
        special = self.product() or self.position()
        if special:
            return special
        text = flat(self.expr(step.body))
        if self.inner:
            over = ", ".join(self.names[v] for v in self.inner)
            single = text.startswith("[") or _is_single(step.body)
            text = f"{_WORDS.get(step.op, 'sum')}_{{{over}}} {text if single else f'({text})'}"
        if not self.plain_target():
            place = ", ".join(spell_ix(ix, self.names) for ix in step.index)
            text = f"{text} added at [{place}]"
        where = " and ".join(self.condition(g) for g in step.guards)
        return f"{text} where {where}" if where else text

    def plain_target(self) -> bool:
        return all(isinstance(ix.atom, Loop) or ix.value == 0 for ix in self.step.index)

    # --- reads -----------------------------------------------------------------------------------

    def plain_reads(self) -> set[str]:
        """The buffers whose every read is at one place that needs no index."""
        at: dict[str, set[tuple[Ix, ...]]] = {}
        for s in walk(self.step.body):
            if isinstance(s, Load):
                at.setdefault(s.buffer, set()).add(s.indices)
        return {n for n, places in at.items() if len(places) == 1 and self.plain(n, *places)}

    def plain(self, name: str, indices: tuple[Ix, ...]) -> bool:
        """Whether an element is read where its axes say, in their order."""
        order = {v: k for k, v in enumerate([*self.outer, *self.inner])}
        last = -1
        axes = self.buffers[name].axes
        whole = len(indices) == len(order)
        for ix, axis in zip(indices, axes, strict=True):
            if ix.value == 0:
                continue
            v = ix.atom
            if not isinstance(v, Loop) or order[v] <= last:
                return False
            if not whole and self.names[v] != axis:
                return False
            last = order[v]
        return True

    def load(self, s: Load) -> Expr:
        if s.buffer in self.bare or not s.indices:
            base: Expr = Name(s.buffer)
        else:
            places = ", ".join(spell_ix(ix, self.names) for ix in s.indices)
            base = Name(f"{s.buffer}[{places}]")
        if not s.guards:
            return base
        return self.chosen(base, " and ".join(self.condition(g) for g in s.guards))

    def chosen(self, value: Expr, condition: str) -> Expr:
        """value [condition]: a product with a bracket."""
        if isinstance(value, Num) and value.text in ("1", "1.0"):
            return Name(f"[{condition}]")
        text = flat(value)
        text = text if isinstance(value, Name | Num | CallE) else f"({text})"
        return Name(f"{text} [{condition}]")

    def condition(self, g: Guard) -> str:
        """A guard with its negative terms on the right: i >= j + 1."""
        left = [(a, k) for a, k in g.ix.terms if k > 0]
        right = [(a, -k) for a, k in g.ix.terms if k < 0]
        sides = []
        for terms, const in ((left, max(g.ix.const, 0)), (right, max(-g.ix.const, 0))):
            total: Ix | int = const
            for a, k in terms:
                total = a.ix() * k + total
            sides.append(str(total) if isinstance(total, int) else spell_ix(total, self.names))
        return f"{sides[0]} {'=' if g.kind == '==' else '>='} {sides[1]}"

    # --- formulas --------------------------------------------------------------------------------

    def expr(self, s: Scalar) -> Expr:
        match s:
            case Number(value):
                return number(value, "float64")
            case Load():
                return self.load(s)
            case IndexValue(ix):
                text = spell_ix(ix, self.names)
                return Name(text if text.isidentifier() or text.isdigit() else f"({text})")
            case Unary("-", x):
                return Un("-", self.expr(x))
            case Unary(_, x):
                return CallE(Name("not"), (self.expr(x),))
            case Binary(op, a, b):
                return Bin(op, self.expr(a), self.expr(b))
            case Compare(op, a, b):
                return Cmp(op, self.expr(a), self.expr(b))
            case Select(c, a, Number(value)) if value == 0:
                return self.chosen(self.expr(a), flat(self.expr(c)))
            case Select(c, a, b):
                return CallE(Name("where"), (self.expr(c), self.expr(a), self.expr(b)))
            case Call("strong_mul", (a, b)):
                return Bin("*", self.expr(a), self.expr(b))
            case Call("maximum" | "minimum" as word, args):
                return CallE(Name(word[:3]), tuple(map(self.expr, args)))
            case Call(word, args):
                return CallE(Name(word), tuple(map(self.expr, args)))
            case Cast(_, x):
                return self.expr(x)
            case And(a, b):
                return Bin("&", self.expr(a), self.expr(b))
            case Or(a, b):
                return Bin("|", self.expr(a), self.expr(b))
            case _:
                return Name("...")

    # --- products of matrices --------------------------------------------------------------------

    def product(self) -> str:
        """A sum over one loop of two reads of rank 2 (or 1), as a product of matrices; or ""."""
        step = self.step
        body = step.body
        if step.op != "sum" or step.guards or len(self.inner) != 1 or not self.plain_target():
            return ""
        if not (isinstance(body, Binary) and body.op == "*"):
            return ""
        a, b = body.left, body.right
        if not (isinstance(a, Load) and isinstance(b, Load)) or a.guards or b.guards:
            return ""
        places = [self.matrix(x) for x in (a, b)]
        k = self.inner[0]
        if any(p is None or k not in p for p in places) or len(self.outer) > 2:
            return ""
        for first, second in ((0, 1), (1, 0)):
            left, right = places[first], places[second]
            assert left is not None
            assert right is not None
            free = [v for v in left if v is not k] + [v for v in right if v is not k]
            if free != self.outer:
                continue
            loads = (a, b)
            texts = []
            for n, p, inside in ((first, left, -1), (second, right, 0)):
                turned = len(p) == 2 and p[inside] is not k
                texts.append(loads[n].buffer + ("^T" if turned else ""))
            return " ".join(texts)
        return ""

    def matrix(self, s: Load) -> list[Loop] | None:
        """The loops of a read of rank 1 or 2 at plain places."""
        found = [ix.atom for ix in s.indices]
        loops = [v for v in found if isinstance(v, Loop)]
        whole = len(loops) == len(found) and len(set(loops)) == len(loops)
        return loops if whole and 1 <= len(loops) <= 2 else None

    # --- positions of extrema ------------------------------------------------------------------

    def position(self) -> str:
        """The first position that attains an extremum; or ""."""
        body = self.step.body
        if self.step.op != "min" or not self.inner or not isinstance(body, Select):
            return ""
        c = body.condition
        if not isinstance(c, Compare) or c.op not in ("<", ">") or not isinstance(c.right, Load):
            return ""
        last, place = body.then, body.other
        if not isinstance(place, IndexValue) or not isinstance(last, Number | IndexValue):
            return ""
        value = c.left if set(self.inner) & set(_loops(c.left)) else c.right
        word = "argmax" if (c.op == "<") == (value is c.left) else "argmin"
        over = ", ".join(self.names[v] for v in self.inner)
        where = " and ".join(self.condition(g) for g in self.step.guards)
        text = flat(self.expr(value))
        text = f"{word}_{{{over}}} {text if _is_single(value) else f'({text})'}"
        return f"{text} where {where}" if where else text


def _is_single(s: Scalar) -> bool:
    product = isinstance(s, Binary) and s.op in ("*", "/", "**")
    return product or isinstance(s, Load | Call | Number | IndexValue)


def _loops(s: Scalar) -> list[Loop]:
    return [v for x in walk(s) if isinstance(x, Load) for ix in x.indices for v in ix.loops]
