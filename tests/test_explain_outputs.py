"""explain: a page in a terminal, a notebook and a browser, with and without data."""

from __future__ import annotations

import io
import json
import math
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from explained import NETWORKS, data

import symprop as prop
from symprop import graph
from symprop.explain.blocks import Grid, Say
from symprop.explain.emitted import TEXTBOOK, forms, value
from symprop.explain.latex import Latex
from symprop.explain.mathml import MathML
from symprop.explain.symbol_table import SIGNS
from symprop.explain.text import Text
from symprop.explain.words import LANGUAGES, WORDS
from symprop.ops.declare import REGISTRY

HOSTILE = ("<script>alert(1)</script>", r"\input{x}", "a&b", "$x$", "x_{y}^2%#~", "\x1b[31m", "‮ab")


@pytest.mark.parametrize("name", NETWORKS)
def test_html_is_well_formed_and_needs_nothing_else(name: str) -> None:
    loss = NETWORKS[name]()
    page = prop.explain(loss, at=data(loss)).html()
    root = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))
    tags = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert "math" in tags
    assert not tags & {"script", "link", "img", "iframe"}
    assert "http" not in page.replace("http://www.w3.org/1998/Math/MathML", "")


@pytest.mark.parametrize("name", NETWORKS)
def test_latex_is_balanced_and_plain(name: str) -> None:
    loss = NETWORKS[name]()
    text = prop.explain(loss, at=data(loss)).latex()
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert len(re.findall(r"\\left[^a-z]", text)) == len(re.findall(r"\\right[^a-z]", text))
    for opened in re.findall(r"\\begin\{(\w+\*?)\}", text):
        assert text.count(rf"\begin{{{opened}}}") == text.count(rf"\end{{{opened}}}")
    unknown = sorted({c for c in text if ord(c) > 126} - set("éèàêôîçÀÉ’'"))
    assert not unknown, f"no character that TeX cannot print: {unknown}"


@pytest.mark.parametrize("spelling", [Text(), Latex(), MathML()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_spelled_harmlessly(name: str, spelling: Any) -> None:
    pieces = [spelling.symbol(name, name, "", True), spelling.letter(name), spelling.word(name),
              spelling.function(name, True, ["x"])]  # fmt: skip
    for piece in pieces:
        assert "\x1b" not in piece
        assert "‮" not in piece
        if isinstance(spelling, MathML):
            root = ElementTree.fromstring(f"<r>{piece}</r>")
            assert not [e for e in root.iter() if e.tag == "script"]
        if isinstance(spelling, Latex):
            assert r"\input" not in piece
            assert not re.search(r"(?<!\\)[#$%&]", piece)


def test_hostile_names_of_values_reach_no_output_unescaped() -> None:
    x, target = prop.input("x", "n 3"), prop.input("t", "n 2")
    z = x @ prop.parameter("W", (3, 2), prop.He())
    inner = z * z
    graph.rename(inner.node, "<script>\x1b$x$</script>")
    page = prop.explain(prop.mse(prop.tanh(inner), target))
    assert "<script>" not in page.html()
    assert "\x1b" not in page.text() + page.html() + page.latex()
    assert r"\$x\$" in page.latex()


@pytest.mark.parametrize("name", ["digits", "sigmoid_mse", "convolution"])
def test_the_language_changes_words_and_no_formula(name: str) -> None:
    loss = NETWORKS[name]()
    pages = [prop.explain(loss, at=data(loss), language=language) for language in LANGUAGES]
    lines = [[p.printer.equation(e) for e in p.equations] for p in pages]
    words = [(WORDS[k]["case_if"], WORDS[k]["case_else"]) for k in LANGUAGES]
    for (yes, no), page in zip(words, lines, strict=True):  # the words of a choice
        page[:] = [e.replace(f" {yes} ", " if ").replace(f", {no} ", ", else ") for e in page]
    assert lines[0] == lines[1]
    assert pages[0].text() != pages[1].text()
    assert [s.key for s in pages[0].sections] == [s.key for s in pages[1].sections]


def test_every_language_says_everything_with_the_same_names() -> None:
    keys = [set(words) for words in WORDS.values()]
    assert all(k == keys[0] for k in keys)
    for key in keys[0]:
        names = [sorted(re.findall(r"\{(\w+)\}", words[key])) for words in WORDS.values()]
        assert all(n == names[0] for n in names), key


def at_a_kink(fill: float = 1.0) -> Any:
    """A page with numbers of relu at 0."""
    x, target = prop.input("x", "batch 3"), prop.input("t", "batch 2")
    loss = prop.mse(prop.relu(x @ prop.parameter("W", (3, 2), prop.Zeros())), target)
    return prop.explain(loss, at={"x": np.full((2, 3), fill), "t": np.ones((2, 2))})


def test_a_gradient_at_a_kink_says_so_beside_the_difference() -> None:
    text = at_a_kink().text()
    assert re.search(r"\[0, 0\] +0 +−0.5 +at a kink", text)
    assert "the loss has no derivative there" in text
    loss = NETWORKS["digits"]()
    assert "kink" not in prop.explain(loss, at=data(loss)).text()


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_numbers_that_are_none_are_printed_as_such(fill: float) -> None:
    page = at_a_kink(fill)
    for text in (page.text(), page.html(), page.latex()):
        assert str(fill) in text


def test_the_words_of_a_choice_are_those_of_the_language() -> None:
    page = prop.explain(NETWORKS["vector"](), language="fr")
    assert "{1 si z > 0, sinon 0.01}" in page.text()
    assert "sinon" in page.latex()
    assert "sinon" in page.html()
    assert " else" not in page.text() + page.latex() + page.html()


def test_symbols_that_lines_use_are_in_the_table_or_in_a_sentence() -> None:
    text = prop.explain(NETWORKS["digits"]()).text()
    symbols = text.partition("Forward pass")[0]
    for wanted in ("rate of the update", "onehot(y) is a column", "The index n counts the samples"):
        assert wanted in symbols
    fixed = prop.explain(NETWORKS["digits"](), optimizer=prop.SGD(0.1))
    assert "rate of the update" not in fixed.text()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_sign_is_explained_where_it_is_used_and_nowhere_else(name: str) -> None:
    page = prop.explain(NETWORKS[name]())
    said = {b.key for s in page.sections for b in s.blocks if isinstance(b, Say)}
    lines = "".join(e.text for e in page.equations)
    assert said & SIGNS.keys() == {key for key, sign in SIGNS.items() if sign in lines}


def test_every_word_is_said_somewhere() -> None:
    said: set[str] = set()
    for name in ("digits", "one_output", "attention", "batch_norm", "recurrent", "convolution",
                     "gated", "nested"):  # fmt: skip
        loss = NETWORKS[name]()
        page = prop.explain(loss, optimizer=prop.Adam(1e-3), at=data(loss))
        said |= set(re.findall(r"'(\w+)'", repr(page.sections)))
    pages = [prop.explain(NETWORKS["two_heads"]()), at_a_kink()]
    said |= set(re.findall(r"'(\w+)'", repr([p.sections for p in pages])))
    spare = {"title", "key", "state", "scalar", "constant", "norm_of", "tail_kept", "tail_overflow"}
    spare |= {"case_if", "case_else"}  # parts of a formula
    assert set(WORDS["en"]) - said <= spare


@pytest.mark.parametrize("width", [60, 100])
def test_text_is_the_same_twice_and_folds(width: int) -> None:
    loss = NETWORKS["attention"]()
    page = prop.explain(loss, at=data(loss))
    assert page.text(width) == prop.explain(loss, at=data(loss)).text(width)
    long = [line for line in page.text(width).splitlines() if len(line) > width]
    assert all(line.startswith("    ") and "   " in line.strip() for line in long), long


@pytest.mark.parametrize("name", ["convolution", "attention", "embedding", "gated"])
def test_a_long_line_is_never_broken_inside_an_index(name: str) -> None:
    page = prop.explain(NETWORKS[name](), notation="index")
    for line in page.text(80).splitlines():
        opened: list[int] = []
        for k, c in enumerate(line):
            if c == "[":
                opened.append(k)
            elif c == "]" and opened:
                opened.pop()
        assert all(line[k - 1] in " (" for k in opened), line


def test_a_terminal_shows_the_same_words() -> None:
    rich = pytest.importorskip("rich.console")
    page = prop.explain(NETWORKS["digits"]())
    console = rich.Console(width=100, record=True, file=io.StringIO())
    console.print(page)
    assert console.export_text().split() == page.text(100).split()


def test_a_notebook_and_a_program_get_their_forms() -> None:
    page = prop.explain(NETWORKS["digits"]())
    bundle = page._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "text/latex"}
    plain = json.loads(json.dumps(page.to_json()))
    assert [s["section"] for s in plain] == [s.key for s in page.sections]
    assert "δ₂ = (p − onehot(y))/B" in [e["text"] for s in plain for e in s["equations"]]
    (symbols,) = plain[0]["tables"]
    assert plain[0]["section"] == "symbols"
    assert set(symbols[0]) == {"symbol", "code", "shape", "meaning"}
    shown = page.text(400)
    assert all(cell in shown for row in symbols for cell in row.values())


# --- numbers -------------------------------------------------------------------------------------


def grids(page: Any, head: str) -> list[Any]:
    """The rows of the tables that have a column."""
    blocks = [b for s in page.sections for b in s.blocks if isinstance(b, Grid)]
    return [row for b in blocks if head in b.heads for row in b.rows]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_gradient_agrees_with_its_central_difference(name: str) -> None:
    loss = NETWORKS[name]()
    rows = grids(prop.explain(loss, at=data(loss)), "difference")
    assert rows
    for row in rows:
        relative = float(row[-1].replace("−", "-"))
        small = abs(float(row[2].replace("−", "-"))) < 1e-6
        assert relative < 1e-5 or small, row


@pytest.mark.parametrize("name", ["digits", "sigmoid_mse", "one_sample", "layer_norm"])
def test_one_update_lowers_the_loss(name: str) -> None:
    loss = NETWORKS[name]()
    page = prop.explain(loss, at=data(loss), optimizer=prop.SGD(1e-3))
    say = [b for s in page.sections for b in s.blocks if isinstance(b, Say) and b.key == "before"]
    values = dict(say[0].values)
    assert float(values["after"]) <= float(values["before"])
    assert values["optimizer"] == "SGD(rate=0.001)"


def test_given_parameters_are_used_and_left_alone() -> None:
    loss = NETWORKS["linear"]()
    arrays = data(loss) | {"w": np.array([1.0, -2.0, 3.0]), "b": np.array(0.5)}
    kept = {k: np.array(v) for k, v in arrays.items()}
    text = prop.explain(loss, at=arrays).text()
    wanted = np.mean((arrays["x"] @ arrays["w"] + 0.5 - arrays["t"]) ** 2)
    assert f"{wanted:.4g}" in text
    assert all(np.array_equal(kept[k], arrays[k]) for k in arrays)


# --- textbook and emitted ------------------------------------------------------------------------

UNARY = [op for op in REGISTRY.values() if op.arity == 1]


@pytest.mark.parametrize("op", UNARY, ids=lambda op: op.name)
def test_the_textbook_form_is_the_derivative(op: Any) -> None:
    textbook, own = forms(op.function)
    (domain,) = op.domains
    inside = [point for point in (0.3, 0.7, 1.9) if point in domain] or [-0.7]
    assert all(point in domain for point in inside)
    for point in inside:
        a, b = value(op.function, textbook, point, None), value(op.function, own, point, None)
        assert math.isclose(a, b, rel_tol=1e-14, abs_tol=1e-300), (op.name, point)


def test_the_textbook_loses_the_tail_of_the_sigmoid() -> None:
    op = REGISTRY["sigmoid"]
    textbook, own = forms(op.function)
    assert set(TEXTBOOK) <= set(REGISTRY)
    assert value(op.function, textbook, 40, "float64") == 0
    assert math.isclose(value(op.function, own, 40, "float64"), math.exp(-40), rel_tol=1e-12)


# --- wrong input ---------------------------------------------------------------------------------


def loss_and_more() -> tuple[Any, Any, Any]:
    """A loss, its parameter, and an expression of another network."""
    x = prop.input("x", "n 3")
    w = prop.parameter("w", (3,), prop.Zeros())
    return prop.mean((x @ w) ** 2), w, prop.parameter("other", (2,), prop.Zeros())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"notation": "tensor"}, prop.DeclarationError, "notation='tensor' is not known"),
        ({"language": "de"}, prop.DeclarationError, "language='de' is not known"),
        ({"optimizer": 3}, prop.DeclarationError, "needs an optimizer"),
        ({"wrt": ["w"]}, prop.DeclarationError, "wrt= needs parameters"),
        ({"at": [1]}, prop.DeclarationError, "at= needs a mapping"),
        ({"at": {}}, prop.DataError, "lacks 'x'"),
        ({"at": {"x": np.ones((2, 3)), "z": 1}}, prop.DataError, "'z', which the loss does not"),
        ({"at": {"x": np.ones((2, 4))}}, prop.DataError, "'x'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], error: Any, words: str) -> None:
    loss, _, _ = loss_and_more()
    with pytest.raises(error) as caught:
        prop.explain(loss, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_a_scalar_float_that_reads_the_parameters_is_explained() -> None:
    loss, w, other = loss_and_more()
    with pytest.raises(prop.ShapeError, match="explain needs a scalar"):
        prop.explain(w)
    with pytest.raises(prop.DeclarationError, match="needs an expression"):
        prop.explain(3)  # type: ignore[arg-type]
    with pytest.raises(prop.DeclarationError, match="'other'"):
        prop.explain(loss, wrt=[other])
    assert "∂L/∂w" in prop.explain(loss, wrt=[w]).text()
