"""Facts about the text of a training step: statements, longest line, the function itself.

In: Python source.  Out: numbers, or the function loaded from a file of that source.
Guarantees: nothing is executed but the module that is asked for.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def statements(source: str, name: str) -> int:
    """Statements that one call of `name` goes through, docstrings apart.

    A call of another function of the module counts as that function's statements, so that neither
    unrolling nor factoring out changes the count; a loop's body counts once.
    """
    functions = {n.name: n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)}

    def count(function: ast.FunctionDef) -> int:
        total = -1 if ast.get_docstring(function) else 0
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and node is not function:
                total += 1
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if called and node.func.id in functions:
                total += count(functions[node.func.id])
        return total

    return count(functions[name])


def written(source: str) -> int:
    """Statements in the functions of the text, docstrings apart, each where it is written."""
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    return sum(
        sum(isinstance(node, ast.stmt) for node in ast.walk(f)) - 1 - bool(ast.get_docstring(f))
        for f in functions
    )


def longest_line(source: str) -> int:
    """Characters of the longest line."""
    return max(map(len, source.splitlines()))


def load(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of the module at `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Any] = getattr(module, name)
    return function


def main_function(source: str) -> str:
    """The name of the module's last function: the one the others serve."""
    return [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)][-1]


def identifiers(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays under the names that emitted code gives them: `hidden.weight`, `hidden_weight`."""
    return {name.replace(".", "_"): array for name, array in arrays.items()}


def arguments(function: Callable[..., Any], arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays in the order of the function's parameters."""
    return [arrays[name] for name in inspect.signature(function).parameters]
