"""The digest of a function changes with what it computes, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from codegen import vector_math
from codegen.vector_math import FORMULAS
from codegen.vector_math_values import Formula, Value
from symprop.accuracy.arithmetic import arithmetic, digest
from symprop.accuracy.subjects import Compiled, Subject
from symprop.ops.declare import REGISTRY


def compiled(name: str, order: int = 0, dtype: str = "float32") -> Compiled:
    return Subject(REGISTRY[name], (0,) * order).compiled("native", dtype)


def test_another_coefficient_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    tanh, exp = digest(compiled("tanh")), digest(compiled("exp"))
    own = FORMULAS["tanh"]

    def write(formula: Formula, x: Value) -> Value:
        return own.write(formula, x) + 0.0

    monkeypatch.setitem(vector_math.FORMULAS, "tanh", replace(own, write=write))
    assert digest(compiled("tanh")) != tanh
    assert digest(compiled("exp")) == exp


def test_a_dtype_is_another_digest() -> None:
    assert digest(compiled("sqrt")) != digest(compiled("sqrt", dtype="float64"))


def test_names_are_not_in_it() -> None:
    """tanh' is the function sech2 under another name."""
    assert digest(compiled("tanh", 1)) == digest(compiled("sech2"))


def test_each_operation_has_one_line() -> None:
    assert arithmetic(compiled("relu")).splitlines() == [
        "float32",
        "buffer 1 =",
        "Load buffer 0 (i0<points,) ()",
        "Number 0",
        "Call maximum 0 1",
    ]


def test_of_another_backend_the_text_counts() -> None:
    numpy = Subject(REGISTRY["tanh"], ()).compiled("numpy", "float32")
    assert digest(numpy) != digest(compiled("tanh"))
    assert digest(numpy) == digest(Subject(REGISTRY["tanh"], ()).compiled("numpy", "float32"))
