"""One declaration an op: formula, chosen derivative, domain, range; everything else follows.

In: a definition as a Python function of symbolic scalars (or SymPy's), a derivative where one is
chosen for accuracy, the convention at kinks. Out: an `ElementwiseOp`: callable on expressions and
on SymPy symbols, with its Term function, derivative Terms, expansion, reference and LaTeX.

Guarantees: declaring costs nothing but an entry (SymPy is asked on first use); keyword parameters
become exact rationals, one memoised op each; a derivative declared by a user is proved equal to
the formula's at 60 digits, or refused; library ops are in `REGISTRY`, in order, functions that
stand only in their derivatives in `PARTS`, users' ops in neither; no name of a user's op can
meet a function of a backend.

It does not evaluate arrays (``symprop.ops.structural``) and does not print code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from hashlib import blake2b
from typing import Any
from weakref import WeakValueDictionary

import sympy

from symprop import formula as fm
from symprop import term as tm
from symprop.errors import DeclarationError, quoted
from symprop.ops.domain import Bound, Convention, Interval, Reals
from symprop.ops.forms import Formula, as_function, check_name, signature
from symprop.ops.reference import difference, reference
from symprop.term import Call, Function, Num, Term

__all__ = [
    "PARTS",
    "REGISTRY",
    "Convention",
    "ElementwiseOp",
    "define",
    "elementwise",
    "infinity",
    "reference",
    "strong_mul",
    "where_symbolic",
]


# While a formula is asked for, ops of plain numbers (sqrt(2)) are symbolic too.
_IN_FORMULA: ContextVar[bool] = ContextVar("in_formula", default=False)


class OpFunction(Function):
    """The Term function of an op."""

    __slots__ = ("__weakref__", "op", "symbol")
    op: ElementwiseOp
    symbol: Any


@dataclass(frozen=True)
class Declaration:
    """What was said about an op, before parameters are chosen."""

    name: str
    formula: Formula
    derivative: Formula | None = None
    evaluate_as: Formula | None = None
    domain: Interval | tuple[Interval, ...] = Reals
    range: tuple[Bound, Bound] | Callable[..., tuple[Bound, Bound]] = (None, None)
    range_open: tuple[bool, bool] = (False, False)
    finite: bool | Callable[..., bool] = False
    digits: int = 60  # to which evaluate_as is the formula: fewer for a polynomial that was fitted
    in_double: bool = False  # float32 is computed in float64, and rounded once
    derivative_of: str = ""  # the op whose derivative it is: its accuracy is asked for as that
    conventions: tuple[Convention, ...] = ()
    doc: str = ""
    source: str = ""
    kind: str = "float"
    cost: int = 1
    fold: Callable[..., Term | None] | None = None
    library: bool = True
    arguments: tuple[str, ...] = field(init=False)
    defaults: dict[str, Fraction] = field(init=False)

    def __post_init__(self) -> None:
        names, defaults = signature(self.name, self.formula)
        object.__setattr__(self, "arguments", names)
        object.__setattr__(self, "defaults", defaults)


class ElementwiseOp:
    """A scalar function, applied to expressions elementwise, or to SymPy's symbols."""

    def __init__(self, declaration: Declaration, parameters: dict[str, Fraction]) -> None:
        self.declaration = declaration
        self.parameters = parameters
        self.name = declaration.name
        self.library = declaration.library
        self.arity = len(declaration.arguments)
        self.symbols = tuple(sympy.Dummy(name) for name in declaration.arguments)
        self.__name__ = self.name
        self.__doc__ = declaration.doc
        self._own: dict[tuple[Fraction, ...], ElementwiseOp] = {}

    def __repr__(self) -> str:
        return f"<op {self.label}({', '.join(self.declaration.arguments)})>"

    # --- calling -----------------------------------------------------------------------------

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        """The op of expressions, or of SymPy's scalars if any argument is one."""
        if len(args) > self.arity and not parameters:
            parameters = dict(zip(self.declaration.defaults, args[self.arity :], strict=False))
            if len(args) <= self.arity + len(parameters):
                args = args[: self.arity]
        if parameters:
            return self.with_parameters(**parameters)(*args)
        if len(args) != self.arity:
            raise DeclarationError(
                f"{self.name} takes {self.arity} argument{'s' * (self.arity != 1)} "
                f"({', '.join(self.declaration.arguments)}), and {len(args)} came"
            )
        if _IN_FORMULA.get() or any(isinstance(a, sympy.Basic) for a in args):
            return self.symbol(*map(fm.exact, args))
        from symprop.ops.structural import apply

        return apply(self.function, *args)

    def with_parameters(self, **parameters: Any) -> ElementwiseOp:
        """The op with other values of its keyword parameters, e.g. ``negative_slope=0.2``."""
        chosen = dict(self.parameters)
        for key, value in parameters.items():
            if key not in chosen:
                known = ", ".join(chosen) or "none"
                raise DeclarationError(
                    f"{self.name} has no parameter {quoted(key)}; its parameters: {known}"
                )
            chosen[key] = fm.as_fraction(value)
        key_ = tuple(chosen.values())
        if key_ == tuple(self.parameters.values()):
            return self
        if key_ not in self._own:
            self._own[key_] = ElementwiseOp(self.declaration, chosen)
            self._own[key_]._own = self._own
            self._own.setdefault(tuple(self.parameters.values()), self)
        return self._own[key_]

    # --- what follows from the declaration -----------------------------------------------------

    def _asked(self, formula: Formula) -> Any:
        """A formula at this op's symbols and parameters."""
        values = {k: fm.exact(v) for k, v in self.parameters.items()}
        inside = _IN_FORMULA.set(True)
        try:
            return formula(*self.symbols, **values)
        except DeclarationError:
            raise
        except (TypeError, AttributeError, ValueError, RecursionError, ZeroDivisionError) as e:
            if "truth value" in str(e):
                raise DeclarationError(
                    f"the formula of {quoted(self.name)} branches on the value of a symbol: "
                    f"write prop.where(condition, a, b), prop.maximum or prop.minimum instead of "
                    f"if, and, or, max and min"
                ) from e
            raise DeclarationError(
                f"the formula of {quoted(self.name)} fails on symbolic scalars "
                f"({type(e).__name__}: {quoted(e)}): write it with prop's functions"
            ) from e
        finally:
            _IN_FORMULA.reset(inside)

    def _term(self, expr: Any) -> Term:
        try:
            return fm.from_sympy(expr, {s: tm.read(k) for k, s in enumerate(self.symbols)})
        except DeclarationError as error:
            raise DeclarationError(f"the formula of {quoted(self.name)}: {error}") from error

    @cached_property
    def formula_term(self) -> Term:
        """The definition as a Term over reads 0..arity-1."""
        return self._term(self._asked(self.declaration.formula))

    @cached_property
    def chosen(self) -> tuple[Term, ...] | None:
        """The declared partial derivatives as Terms, or None where none were declared."""
        if self.declaration.derivative is None:
            return None
        given = self._asked(self.declaration.derivative)
        given = given if isinstance(given, tuple | list) else (given,)
        if len(given) != self.arity:
            raise DeclarationError(
                f"the derivative of {quoted(self.name)} has {len(given)} entries, and the op has "
                f"{self.arity} arguments: give a tuple of one derivative an argument"
            )
        return tuple(map(self._term, given))

    def derived(self, i: int) -> Term:
        """The partial derivative that the formula itself has."""
        return tm.diff(self.formula_term, i)

    @cached_property
    def label(self) -> str:
        """What tells this op from every other: its name, and what else it takes."""
        values = ",".join(map(str, self.parameters.values()))
        if self.library:
            default = self.parameters == self.declaration.defaults
            return self.name if default else f"{self.name}[{values}]"
        digest = blake2b(self.formula_term.digest, digest_size=5)
        for t in self.chosen or ():
            digest.update(t.digest)
        return f"{self.name}@{digest.hexdigest()}"

    @cached_property
    def function(self) -> Function:
        """The Term function: equal declarations have one."""
        found = _FUNCTIONS.get(self.label)
        if found is None:
            d = self.declaration
            found = OpFunction(self.label, self.arity, self._partial, d.kind, d.cost, d.fold)
            found.op = self
            found.symbol = fm.make_symbol(self.name, found)
            _FUNCTIONS[self.label] = found
        return found

    def _partial(self, i: int) -> Term | None:
        t = self.chosen[i] if self.chosen is not None else self.derived(i)
        return None if isinstance(t, Num) and t.value == 0 else t

    @property
    def symbol(self) -> Any:
        """The SymPy function class of this op."""
        return fm.symbol_of(self.function)

    @cached_property
    def expansion(self) -> Term | None:
        """The op in other functions' Terms, for a backend without a row of its name; or None."""
        if self.declaration.evaluate_as is not None:
            return self._term(self._asked(self.declaration.evaluate_as))
        own = tm.call(self.function, *map(tm.read, range(self.arity)))
        itself = isinstance(own, Call) and self.formula_term is own
        return None if itself else self.formula_term

    @cached_property
    def definition(self) -> Any:
        """The op in SymPy's own functions, over `symbols`: for proofs and typesetting."""
        return expanded(self._asked(self.declaration.formula))

    def latex(self) -> str:
        """The definition typeset."""
        names = ", ".join(self.declaration.arguments)
        head = r"\operatorname{" + self.name.replace("_", r"\_") + "}"
        return rf"{head}({names}) = {sympy.latex(self.definition)}"

    def reference(self, ctx: Any, *args: Any) -> Any:
        """The value at numbers of an mpmath context, to that context's precision."""
        return reference(self.function, ctx)(*map(ctx.mpf, args))

    # --- declared facts ----------------------------------------------------------------------

    @property
    def domains(self) -> tuple[Interval, ...]:
        """The domain, one interval an argument."""
        d = self.declaration.domain
        return d if isinstance(d, tuple) else (d,) * self.arity

    @property
    def range(self) -> tuple[Bound, Bound]:
        """The closed interval that holds every value; None is no bound."""
        r = self.declaration.range
        return r(**self.parameters) if callable(r) else r

    @property
    def range_open(self) -> tuple[bool, bool]:
        """Whether an end of the range is never attained."""
        return self.declaration.range_open

    @property
    def finite(self) -> bool:
        """Whether floats in the domain give a finite float, however large they are."""
        f = self.declaration.finite
        return f(**self.parameters) if callable(f) else f


REGISTRY: dict[str, ElementwiseOp] = {}
"""The library's ops by name, in the order of declaration."""

PARTS: dict[str, ElementwiseOp] = {}
"""Functions that only the derivatives of those need, by name, likewise."""

_FUNCTIONS: WeakValueDictionary[str, OpFunction] = WeakValueDictionary()


def elementwise(
    name: str,
    formula: Formula,
    *,
    native: tuple[Any, ...] = (),
    part: bool = False,
    **facts: Any,
) -> ElementwiseOp:
    """Declare a library op; ``facts`` are the fields of `Declaration`, ``native`` the SymPy
    functions that mean it, ``part`` says that it is one of `PARTS`."""
    d = Declaration(name, formula, **facts)
    op = (PARTS if part else REGISTRY)[name] = ElementwiseOp(d, dict(d.defaults))
    for key in native:
        fm.NATIVE[key] = op.function
    return op


def where_symbolic(c: Any, a: Any, b: Any) -> Any:
    """a where c holds, else b, of symbolic scalars and numbers."""
    if isinstance(c, bool):
        raise DeclarationError(
            "the condition of where is already decided: == and != of symbols compare their "
            "spelling, so write sympy.Eq(a, b) or sympy.Ne(a, b)"
        )
    if isinstance(c, sympy.Basic) and not fm.is_truth(c):
        c = sympy.Ne(c, 0)
    return fm.select_(fm.exact(c), fm.exact(a), fm.exact(b))


def strong_mul(g: Any, d: Any) -> Any:
    """g*d of symbolic scalars; in floats exactly 0 where g is 0, also when d overflows."""
    return fm.symbol_of(tm.STRONG_MUL)(fm.exact(g), fm.exact(d))


def infinity() -> Any:
    """Positive infinity as a symbolic scalar, for conditions on it."""
    return fm.symbol_of(tm.INFINITY)()


def expanded(expr: Any) -> Any:
    """A symbolic formula with our functions replaced by their definitions in SymPy's."""
    if not expr.args:
        return expr
    args = [expanded(a) for a in expr.args]
    if isinstance(expr, fm.select_):
        return sympy.Piecewise((args[1], args[0]), (args[2], True))
    if isinstance(expr, fm.OpSymbol):
        if expr.function is tm.STRONG_MUL:
            return args[0] * args[1]
        op = getattr(expr.function, "op", None)
        if op is None:  # a cast
            return args[0]
        return op.definition.subs(dict(zip(op.symbols, args, strict=True)), simultaneous=True)
    return expr.func(*args)


# --- ops of the user --------------------------------------------------------------------------


def define(name: str, formula: Any, derivative: Any = None) -> ElementwiseOp:
    """An op of the user's own, differentiable to any order.

    formula: a Python function of symbolic scalars (keyword parameters with defaults become
    parameters of the op), a SymPy Lambda, or a SymPy expression (its symbols, by name, are the
    arguments). derivative: likewise, one a tuple entry an argument; by default the formula's own.
    """
    check_name(name)
    if isinstance(formula, str | bytes) or isinstance(derivative, str | bytes):
        raise DeclarationError(
            f"the formula of {quoted(name)} is text, which symprop never runs: give a Python "
            f"function such as lambda x: x*prop.sigmoid(x), or a SymPy expression"
        )
    main, names = as_function(name, formula)
    other = None
    if derivative is not None:
        other, _ = as_function(name, derivative, names)
    d = Declaration(name, main, other, doc=inspect.getdoc(formula) or "", library=False)
    if not d.arguments:
        raise DeclarationError(f"the formula of {quoted(name)} has no argument, at least 1 is due")
    op = ElementwiseOp(d, dict(d.defaults))
    if op.chosen is not None:
        for i, chosen in enumerate(op.chosen):
            point = difference(op.derived(i), chosen, op.domains)
            if point is not None:
                raise DeclarationError(
                    f"the derivative given for {quoted(name)} is not that of its formula: {point}"
                )
    for i in range(op.arity):
        op.function.partial(i)  # asked now, so that errors come now
    return op
