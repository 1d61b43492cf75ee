"""The forms in which a formula may be given, brought to one: a Python function.

In: a Python function of symbolic scalars, a SymPy Lambda, a SymPy expression; a name.
Out: a Python function, the names of its arguments, its parameters as exact rationals.
Guarantees: text is refused, never parsed; a name is an ASCII identifier; an expression's symbols
are its arguments in the order of their names.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import sympy

from symprop import formula as fm
from symprop.errors import DeclarationError, quoted

__all__ = ["Formula", "as_function", "check_name", "signature"]

Formula: TypeAlias = Callable[..., Any]

MAX_NAME = 100


def check_name(name: object) -> None:
    plain_text = isinstance(name, str) and len(name) <= MAX_NAME and name.isascii()
    if not (plain_text and str(name).isidentifier() and not keyword.iskeyword(str(name))):
        raise DeclarationError(
            f"{quoted(name)} cannot name an op: an ASCII identifier that is no Python keyword is "
            f"expected, such as swish"
        )


def as_function(
    name: str, formula: Any, names: tuple[Any, ...] | None = None
) -> tuple[Formula, tuple[Any, ...] | None]:
    """A formula in any accepted form as a Python function; and a SymPy expression's symbols."""
    if isinstance(formula, tuple | list) and names is not None:
        parts = [as_function(name, f, names)[0] for f in formula]
        return (lambda *args, **kw: tuple(f(*args, **kw) for f in parts)), names
    if isinstance(formula, sympy.Lambda | sympy.Expr):
        fm.measure(formula)  # before SymPy's own recursion meets it
    if isinstance(formula, sympy.Lambda):
        return _substitution(tuple(formula.variables), formula.expr), tuple(formula.variables)
    if isinstance(formula, sympy.Expr):
        free = names or tuple(sorted(formula.free_symbols, key=lambda s: s.name))
        if len({s.name for s in free}) < len(free):
            raise DeclarationError(
                f"the formula of {quoted(name)} has two different symbols of one name: give a "
                f"sympy.Lambda, which orders its arguments"
            )
        return _substitution(free, formula), free
    if isinstance(formula, sympy.Basic) or not callable(formula):
        raise DeclarationError(
            f"the formula of {quoted(name)} is {quoted(type(formula).__name__)}, where a Python "
            f"function of symbolic scalars, a sympy.Lambda or a sympy expression is expected"
        )
    return formula, None


def _substitution(variables: tuple[Any, ...], expr: Any) -> Formula:
    names = [s.name for s in variables]

    def formula(*args: Any) -> Any:
        return expr.xreplace(dict(zip(variables, args, strict=True)))

    formula.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(plain(n, k), inspect.Parameter.POSITIONAL_ONLY)
         for k, n in enumerate(names)]
    )  # fmt: skip
    return formula


def plain(name: str, k: int) -> str:
    usable = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return name if usable else f"x{k}"


def signature(name: str, formula: Formula) -> tuple[tuple[str, ...], dict[str, Fraction]]:
    try:
        parameters = inspect.signature(formula).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    arguments, defaults = [], {}
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise DeclarationError(
                f"the formula of {quoted(name)} takes *{p.name}: name its arguments one by one"
            )
        if p.default is not p.empty:
            defaults[p.name] = fm.as_fraction(p.default)
        elif p.kind is p.KEYWORD_ONLY:
            raise DeclarationError(
                f"the parameter {quoted(p.name)} of the op {quoted(name)} needs a default"
            )
        else:
            arguments.append(p.name)
    return tuple(arguments), defaults
