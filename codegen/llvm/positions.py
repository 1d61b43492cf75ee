"""Indices and guards as values of 64 bits.

In: combinations of ``codegen.index`` whose loops are bound. Out: ``Form``, or values.

Guarantees: floor and mod are those of the index algebra, for negative numbers as well; what is
known is folded, so an unrolled guard costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod, nonneg
from codegen.llvm import types
from codegen.llvm.frame import Form, Frame, Value

__all__ = ["Positions"]


class Positions(Frame):
    """Emits indices."""

    def gathered(self, gather: Gather) -> Value:
        """The integer that an index array holds."""
        raise NotImplementedError

    def form(self, ix: Ix) -> Form:
        """The value of a combination."""
        total = Form(ix.const)
        for atom, k in ix.terms:
            if isinstance(atom, Loop):
                total.add(self.bound[atom], k)
            elif isinstance(atom, Dim):
                total.add(Form(0, {self.dims[atom.name]: 1}), k)
            elif isinstance(atom, Floor | Mod):
                total.add(self.divided(atom), k)
            else:
                assert isinstance(atom, Gather)
                found = self.gathered(atom)
                named = {found.text: 1}
                total.add(Form(0, {}, 0, named) if found.lanes else Form(0, named), k)
        return total

    def divided(self, atom: Floor | Mod) -> Form:
        """A quotient or a remainder."""
        inner, floor = self.form(atom.of), isinstance(atom, Floor)
        if inner.number is not None:
            return Form(inner.number // atom.n if floor else inner.number % atom.n)
        x, n = self.whole(inner), Value(str(atom.n), "int64")
        if nonneg(atom.of):
            found = self.operate("udiv" if floor else "urem", x, n)
        else:
            rest = self.operate("srem", x, n)
            below = self.operate("icmp slt", rest, Value("0", "int64"), dtype="bool")
            rest = self.select(below, self.operate("add", rest, n), rest)
            found = self.operate("sdiv", self.operate("sub", x, rest), n) if floor else rest
        named = {found.text: 1}
        return Form(0, {}, 0, named) if found.lanes else Form(0, named)

    # --- forms as values -------------------------------------------------------------------------

    def whole(self, form: Form) -> Value:
        """A form as an int64, in lanes where they differ."""
        if form.uniform:
            return Value(self.integer(form), "int64")
        parts = [(f"{types.iota(self.lanes, form.lane)}", 1)] if form.lane else []
        parts += list(form.wide.items())
        total: Value | None = None
        if form.const or form.terms:
            total = Value(self.integer(Form(form.const, form.terms)), "int64")
        for text, k in parts:
            term = Value(text, "int64", self.lanes)
            if k != 1:
                term = self.operate("mul", term, Value(str(k), "int64"))
            total = term if total is None else self.operate("add", term, total)
        assert total is not None
        return total

    def integer(self, form: Form) -> str:
        """A form that is the same in all lanes, what is known outermost added first."""
        total = ""
        for name, k in self.ordered(form):
            term = name if k == 1 else self.b.value(f"mul i64 {name}, {k}", [name], "x")
            total = self.b.value(f"add i64 {total}, {term}", [total, term], "x") if total else term
        if not total:
            return str(form.const)
        if form.const:
            return self.b.value(f"add i64 {total}, {form.const}", [total], "x")
        return total

    def ordered(self, form: Form) -> list[tuple[str, int]]:
        """The terms of a form, outermost first."""
        terms = [(name, k) for name, k in form.terms.items() if k]
        return sorted(terms, key=lambda t: self.b.depth(t[0]))

    def scaled(self, form: Form, stride: int | str) -> Form:
        """A form times a stride, which may be a value."""
        out = Form()
        if isinstance(stride, int):
            out.add(form, stride)
            return out
        if form.const:
            out.terms[stride] = form.const
        for name, k in form.terms.items():
            out.add(Form(0, {self.b.value(f"mul i64 {name}, {stride}", [name, stride], "x"): k}))
        if form.lane or form.wide:
            moving = self.whole(Form(0, {}, form.lane, form.wide))
            product = self.operate("mul", moving, Value(stride, "int64"))
            out.wide[product.text] = 1
        return out

    def address(self, base: str, form: Form, element: str) -> str:
        """The address of an element: the way to it in the order in which its parts are known."""
        at, terms = base, self.ordered(form)
        for depth in dict.fromkeys(self.b.depth(name) for name, _ in terms):
            one = Form(0, {n: k for n, k in terms if self.b.depth(n) == depth})
            offset = self.integer(one)
            at = self.b.value(f"getelementptr {element}, ptr {at}, i64 {offset}", [at, offset], "p")
        if form.const:  # a displacement of the instruction that uses it
            at = self.b.here(f"getelementptr {element}, ptr {at}, i64 {form.const}", "p")
        return at

    # --- guards ----------------------------------------------------------------------------------

    def holds(self, guards: Sequence[Guard]) -> Value | bool | None:
        """The conjunction of guards: False where one cannot hold, None where all do. Each is
        evaluated under those before it."""
        total = self.condition
        found: Value | None = None
        for g in guards:
            with self.given(total):
                form = self.form(g.ix)
                if form.number is not None:
                    if form.number < 0 or (g.kind == "==" and form.number):
                        return False
                    continue
                if form.terms or form.wide:
                    test = "icmp sge" if g.kind == ">=" else "icmp eq"
                    one = self.operate(test, *self.compared(form), dtype="bool")
                else:
                    lanes = self.known_lanes(form, g)
                    if not any(lanes):
                        return False
                    if all(lanes[: self.active]):
                        continue
                    one = Value(types.truths(lanes), "bool", self.lanes)
            found = self.both(found, one)
            total = self.both(total, one)
        return found

    def known_lanes(self, form: Form, g: Guard) -> list[bool]:
        """Where a guard holds that depends on the lane alone; nowhere beyond the last."""
        at = [form.const + n * form.lane for n in range(self.active)]
        holds = [x == 0 or (x > 0 and g.kind == ">=") for x in at]
        return holds + [False] * (self.lanes - self.active)

    def compared(self, form: Form) -> tuple[Value, Value]:
        """A form and 0; in lanes of 32 bits where that is all they need."""
        if form.wide or form.lane not in (1, -1):
            return self.whole(form), Value("0", "int64")
        bound = Value(self.integer(Form(form.const, form.terms)), "int64")
        if bound.constant:
            narrow = Value(bound.text, "int32")
        else:  # beyond the lanes it does not matter how far
            top, low = (Value(str(n), "int64") for n in (1 << 20, -(1 << 20)))
            near = self.intrinsic("smax", self.intrinsic("smin", bound, top), low)
            cut = self.b.value(f"trunc i64 {near.text} to i32", [near.text])
            narrow = Value(cut, "int32")
        lanes = Value(types.iota(self.lanes, form.lane, "int32"), "int32", self.lanes)
        return self.operate("add", lanes, narrow), Value("0", "int32")
