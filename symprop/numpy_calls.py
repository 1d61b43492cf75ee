"""What NumPy's own functions mean on an expression: the operators, and a refusal for the others.

In: the name of a NumPy function that met an expression, and how (called, as a reduction).
Out: the methods of the operator that it stands for; or the sentence that names symprop's function.
Guarantees: `array * expression` and `np.float64(2) * expression` are expressions, as the operator
between two expressions is; nothing is computed.
"""

from __future__ import annotations

from symprop.errors import UnsupportedError

__all__ = ["OPERATORS", "not_numpys"]

# NumPy's functions behind the operators: their methods with self on the left and on the right.
OPERATORS = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
    "bitwise_and": ("__and__", "__rand__"),
    "bitwise_or": ("__or__", "__ror__"),
}


def not_numpys(described: str, function: str, method: str) -> UnsupportedError:
    """The refusal of one of NumPy's functions on an expression, with symprop's where it has one."""
    import symprop

    ours = {"absolute": "abs"}.get(function, function)
    if method != "__call__":
        function += f".{method}"
        cure = "use symprop's functions and operators"
    elif ours in symprop.__all__:
        cure = f"use prop.{ours}"
    else:
        cure = "use symprop's functions, or declare one with prop.elementwise"
    return UnsupportedError(
        f"np.{function} computes with numbers, but {described} is symbolic: {cure}"
    )
