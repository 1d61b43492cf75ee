"""Identifiers and comment text from hostile labels."""

from __future__ import annotations

import ast
import builtins
import keyword
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codegen.functions import FUNCTIONS, NUMPY_HELPERS
from codegen.names import Names, comment_safe, identifier

HOSTILE = [
    "x; import os",
    "x\nimport os",
    '"""\nprint(1)\n"""',
    "'''",
    "lambda",
    "match",
    "__class__",
    "__import__('os')",
    "exec",
    "np",
    "exp",
    "sigmoid",
    "hidden_2",
    "a.b",
    "a_b",
    "ﬁ",
    "fi",
    "ｘ",
    "x",
    "abc\u202edef",
    "zero\u200bwidth",
    "nul\x00",
    "/* */ #include <x>",
    "back\\\nslash",
    "??/",
    "%s {0} {x}",
    "%0 @x !dbg",
    "1st",
    "",
    " ",
    "___",
    "中文",
    "\ud800",
    "x" * 1_000_000,
    "ﷺ" * 1_000_000,
]


def _legal(name: str) -> bool:
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not keyword.issoftkeyword(name)
        and not hasattr(builtins, name)
        and name not in FUNCTIONS
        and name not in NUMPY_HELPERS
        and name != "np"
        and "__" not in name
        and not name.startswith("_")
        and len(name) < 80
    )


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("hidden.weight", "hidden_weight"),
        ("block.0.attn.q", "block_0_attn_q"),
        ("α", "alpha"),
        ("Δx", "Deltax"),
        ("é", "e"),
        ("1a", "value_1a"),
        ("lambda", "lambda_"),
        ("np", "np_"),
        ("__class__", "class_"),
        ("", "value"),
        ("x_", "x"),
    ],
)
def test_identifier(label: str, name: str) -> None:
    assert identifier(label) == name


def test_hostile_labels_get_legal_unique_names() -> None:
    names = Names(["taken"])
    given_names = [names(label) for label in [*HOSTILE, *HOSTILE, "taken"]]
    assert all(map(_legal, given_names)), given_names
    assert len(set(given_names)) == len(given_names)
    again = Names(["taken"])
    assert [again(label) for label in [*HOSTILE, *HOSTILE, "taken"]] == given_names


def test_a_clash_gets_a_number() -> None:
    names = Names()
    labels = ["w", "w", "w_2", "w", "lambda", "lambda"]
    assert [names(label) for label in labels] == ["w", "w_2", "w_2_2", "w_3", "lambda_", "lambda_2"]


@given(st.lists(st.text(max_size=30), max_size=20))
def test_any_labels(labels: list[str]) -> None:
    names = Names()
    given_names = [names(label) for label in labels]
    assert all(map(_legal, given_names))
    assert len(set(given_names)) == len(labels)


@pytest.mark.parametrize("text", HOSTILE)
def test_comment_safe_stays_inside(text: str) -> None:
    _stays_inside(text)


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\"'\\#\n:=*/?")), max_size=60))
def test_comment_safe_of_anything(text: str) -> None:
    _stays_inside(text)


def _stays_inside(text: str) -> None:
    safe = comment_safe(text, 100)
    assert len(safe) <= 100
    assert safe == comment_safe(safe, 100)
    assert "*/" not in safe
    for source in (f"# {safe}\nx = 1\n", f'"""{safe}"""\nx = 1\n', f'"""a\n\n{safe}\n"""\nx = 1\n'):
        body = ast.parse(source.encode("utf-8")).body
        assert isinstance(body[-1], ast.Assign)
        assert len(body) == source.count('"""') // 2 + 1


def test_comment_safe_declares_no_encoding() -> None:
    assert comment_safe("-*- coding: utf-7 -*-") == "-*- coding : utf-7 -*-"
    assert comment_safe("Encoding=latin") == "Encoding =latin"


def test_comment_safe_keeps_mathematics() -> None:
    text = "d_hidden[b, u] = Σ_c d_logits[b, c]·W[c, u]  where  h > 0"
    assert comment_safe(text) == " ".join(text.split())


def test_a_megabyte_costs_nothing() -> None:
    start = time.perf_counter()
    names = Names()
    for _ in range(100):
        names("ﷺ" * 1_000_000)
        comment_safe("x \n" * 300_000)
    assert time.perf_counter() - start < 2
