"""Building text: what runs, what is refused, and where a traceback points."""

from __future__ import annotations

import linecache
import traceback
from fractions import Fraction

import numpy as np
import pytest
from building import Building, call

from codegen.build import UnsafeSourceError, build, check
from codegen.functions import FUNCTIONS
from codegen.numpy_text import emit

GOOD = """import numpy as np


def f(x, y):
    z = x @ y.T

    return z
"""


def test_builds_and_registers_its_lines() -> None:
    f = build(GOOD, "f")
    assert f(np.ones((2, 3)), np.ones((4, 3))).shape == (2, 4)
    try:
        f(np.ones((2, 3)), np.ones((4, 5)))
    except ValueError as error:
        text = "".join(traceback.format_exception(error))
    assert "z = x @ y.T" in text
    assert build(GOOD, "f").__code__.co_filename == f.__code__.co_filename
    assert linecache.getline(f.__code__.co_filename, 5) == "    z = x @ y.T\n"


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "from os import system",
        "import numpy",
        "from numpy.lib.stride_tricks import as_strided",
        "z = open('x')",
        "z = x.__class__",
        "z = np.load('x')",
        "z = np.lib",
        "z = __import__('os')",
        "z = eval('1')",
        "z = lambda: 1",
        "z = [a for a in x]",
        "z = x.tofile('a')",
        "np = x",
        "class A: pass",
        "global q",
        "z = f'{x}'",
        "z = (yield)",
        "z = getattr(x, 'T')",
        "x.T.base = 1",
        "with x: pass",
        "def g(): pass",
        "del x",
        "while x: pass",
    ],
)
def test_refuses_what_text_never_needs(line: str) -> None:
    with pytest.raises(UnsafeSourceError, match="generated"):
        build(f"import numpy as np\n\n\ndef f(x):\n    {line}\n    return x\n", "f")


@pytest.mark.parametrize("source", ["def f(:", "def g():\n    return 1\n", "f = 1\x00"])
def test_refuses_text_that_is_no_module_of_f(source: str) -> None:
    with pytest.raises(UnsafeSourceError):
        build(source, "f")


def test_nothing_runs_before_the_check() -> None:
    with pytest.raises(UnsafeSourceError):
        check("import numpy as np\nprint(1)\n")


def test_parameters_may_not_hide_numpy() -> None:
    with pytest.raises(UnsafeSourceError):
        build("import numpy as np\n\n\ndef f(np):\n    return np\n", "f")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_of_the_table_builds(name: str, dtype: str) -> None:
    p = Building("f", batch=None, dtype=dtype)  # type: ignore[arg-type]
    x = p.declare("x", "batch")
    args = [x[p.axes["batch"] * 0]] * 0
    y = p.step(
        "y",
        "batch",
        "=",
        lambda b: call(name, *args, *([x[b]] * FUNCTIONS[name].arity)),
        dtype="bool" if FUNCTIONS[name].result == "bool" else dtype,  # type: ignore[arg-type]
    )
    f = build(emit(p.done(y)), "f")
    given = np.linspace(0.5, 2, 4, dtype=dtype)
    with np.errstate(divide="ignore", invalid="ignore"):  # 1 and more are outside of some domains
        got = f(given)
    assert got.dtype == ("bool" if FUNCTIONS[name].result == "bool" else dtype)
    python = FUNCTIONS[name].python
    assert python is not None
    want = [python(*([float(v)] * FUNCTIONS[name].arity)) for v in given]
    np.testing.assert_allclose(
        np.asarray(got, float), want, rtol=1e-5 if dtype == "float32" else 1e-14
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_numbers_alone_keep_the_dtype(name: str) -> None:
    if FUNCTIONS[name].result == "bool":
        return
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    numbers = [Fraction(1, 3)] * FUNCTIONS[name].arity
    y = p.step("y", "batch", "=", lambda b: x[b] * call(name, *numbers))
    with np.errstate(invalid="ignore"):  # a third is outside of the domain of acosh
        assert build(emit(p.done(y)), "f")(np.ones(2, np.float32)).dtype == np.float32
