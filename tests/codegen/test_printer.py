"""The printer: what is printed parses back to the same tree, on one line or broken."""

from __future__ import annotations

import ast
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.printer import (
    ALL,
    NONE,
    PRECEDENCE,
    Attr,
    Bin,
    CallE,
    Cmp,
    Expr,
    IfE,
    Item,
    Name,
    Num,
    Seq,
    SliceE,
    Un,
    flat,
    layout,
    number,
)

BINARY = [op for op in PRECEDENCE if op not in ("if", "not ", "unary", "postfix", "atom")]
COMPARE = ["<", "<=", "==", "!=", ">", ">="]
NAMES = st.sampled_from(["x", "np.exp", "hidden_weight", "a_rather_long_name_of_a_value", "y"])


def trees() -> st.SearchStrategy[Expr]:
    leaf = st.one_of(
        st.builds(Name, NAMES), st.builds(Num, st.sampled_from(["0", "1", "0.5", "1e-8", "64"]))
    )

    def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        slices = st.builds(SliceE, st.none() | inner, st.none() | inner, st.none() | inner)
        items = st.lists(
            st.one_of(inner, slices, st.just(NONE), st.just(ALL)), min_size=1, max_size=3
        )
        arguments = st.lists(inner, max_size=3).map(tuple)
        keywords = st.lists(st.tuples(st.sampled_from(["axis", "dtype"]), inner), max_size=1)
        return st.one_of(
            st.builds(Bin, st.sampled_from([o for o in BINARY if o not in COMPARE]), inner, inner),
            st.builds(Cmp, st.sampled_from(COMPARE), inner, inner),
            st.builds(Un, st.sampled_from(["-", "~", "not "]), inner),
            st.builds(IfE, inner, inner, inner),
            st.builds(CallE, inner, arguments, keywords.map(tuple)),
            st.builds(Attr, inner, st.sampled_from(["T", "shape"])),
            st.builds(Item, inner, items.map(tuple)),
            st.builds(Seq, st.sampled_from(["(", "["]), arguments),
        )

    return st.recursive(leaf, grow, max_leaves=24)


OPS = {
    "+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div, "//": ast.FloorDiv, "%": ast.Mod,
    "@": ast.MatMult, "**": ast.Pow, "|": ast.BitOr, "&": ast.BitAnd, "^": ast.BitXor,
    "<<": ast.LShift, ">>": ast.RShift,
    "<": ast.Lt, "<=": ast.LtE, "==": ast.Eq, "!=": ast.NotEq, ">": ast.Gt, ">=": ast.GtE,
}  # fmt: skip


SIGNS: dict[str, type[ast.unaryop]] = {"-": ast.USub, "~": ast.Invert, "not ": ast.Not}


def tree(e: Expr | None) -> ast.expr:
    """The syntax tree that a printed expression must have."""
    match e:
        case Name("None"):
            return ast.Constant(None)
        case Name(text) | Num(text):
            return ast.parse(text, mode="eval").body
        case Un(op, x):
            return ast.UnaryOp(SIGNS[op](), tree(x))
        case Bin("and" | "or" as op, a, b):
            words = ast.And() if op == "and" else ast.Or()
            left, right = tree(a), tree(b)
            chained = isinstance(a, Bin) and a.op == op and isinstance(left, ast.BoolOp)
            return ast.BoolOp(words, [*(left.values if chained else [left]), right])
        case Bin(op, a, b):
            return ast.BinOp(tree(a), OPS[op](), tree(b))
        case Cmp(op, a, b):
            return ast.Compare(tree(a), [OPS[op]()], [tree(b)])
        case IfE(condition, then, other):
            return ast.IfExp(tree(condition), tree(then), tree(other))
        case CallE(f, args, keywords):
            return ast.Call(tree(f), list(map(tree, args)),
                            [ast.keyword(k, tree(v)) for k, v in keywords])  # fmt: skip
        case Attr(base, name):
            return ast.Attribute(tree(base), name, ast.Load())
        case SliceE(a, b, c):
            return ast.Slice(*(None if p is None else tree(p) for p in (a, b, c)))
        case Item(base, (only,)):
            return ast.Subscript(tree(base), tree(only), ast.Load())
        case Item(base, items):
            inside = ast.Tuple([tree(i) for i in items], ast.Load())
            return ast.Subscript(tree(base), inside, ast.Load())
        case Seq("(", items):
            return ast.Tuple([tree(i) for i in items], ast.Load())
        case Seq(_, items):
            return ast.List([tree(i) for i in items], ast.Load())
    raise AssertionError(e)


@given(trees())
def test_text_parses_back_to_the_tree(e: Expr) -> None:
    want = ast.dump(tree(e))
    assert ast.dump(ast.parse(flat(e), mode="eval").body) == want


@given(trees(), st.integers(20, 100))
def test_breaking_lines_changes_nothing(e: Expr, width: int) -> None:
    lines = layout("    value = ", e, width=width)
    parsed = ast.parse("if x:\n" + "\n".join(lines)).body[0]
    assert isinstance(parsed, ast.If)
    (assign,) = parsed.body
    assert isinstance(assign, ast.Assign)
    assert ast.dump(assign.value) == ast.dump(tree(e))


@given(st.fractions(), st.sampled_from(["float32", "float64"]))
def test_numbers_read_back_rounded_once(value: Fraction, dtype: str) -> None:
    text = flat(number(value, dtype))
    got = np.dtype(dtype).type(float(text))
    exact = min(
        (np.nextafter(got, -np.inf), got, np.nextafter(got, np.inf)),
        key=lambda c: (abs(Fraction(float(c)) - value), c != got),
    )
    assert got == exact


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (Fraction(1, 10), "float32", "0.1"),
        (Fraction(1, 2), "float64", "0.5"),
        (Fraction(3), "float32", "3"),
        (Fraction(1, 10**8), "float32", "1e-8"),
        (Fraction(1, 3), "float32", "0.33333334"),
        (Fraction(1, 3), "float64", "0.3333333333333333"),
        (Fraction(-1, 32), "float32", "-0.03125"),
        (Fraction(10**30), "float64", "1e30"),
        ("-inf", "float32", "-np.inf"),
    ],
)
def test_numbers_are_short(value: Fraction, dtype: str, text: str) -> None:
    assert flat(number(value, dtype)) == text
