"""Source text -> callable: the only place of codegen where text becomes code.

In: the source of a module that a text backend emitted, and the name of its main function.
Out: that function. Its text is registered with Python's line cache under a name made of the hash
of its bytes, so tracebacks, debuggers and ``inspect.getsource`` show the generated lines.

Guarantees: nothing runs before the whole syntax tree was checked against an allow-list: node
kinds, NumPy as the only import, names that are parameters, locals, functions of the module, ``np``
or a few builtins; attributes from a list; no name or attribute with two leading underscores. The
code runs with no other builtins. ``UnsafeSourceError`` says in one sentence what was refused.

It is a second lock, not a sandbox: what is emitted is safe by construction (names are made by
``codegen.names``, text of the user stands in comments only), and this check shows that it is.
"""

from __future__ import annotations

import ast
import builtins
import linecache
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

__all__ = ["UnsafeSourceError", "build", "check"]

_BUILTINS = ("bool", "max", "min", "range", "reversed", "slice")

_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Expr, ast.Constant,
    ast.Assign, ast.AugAssign, ast.For, ast.If, ast.IfExp, ast.Call, ast.keyword,
    ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List,
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop,
    ast.Import, ast.ImportFrom, ast.alias,
)  # fmt: skip

# What generated text and its helpers use of arrays and of NumPy.
_ARRAY_ATTRIBUTES = """
    T any argmax argmin astype clip copy dtype mT max min repeat reshape shape sum swapaxes
    transpose view
"""
_NUMPY_ATTRIBUTES = """
    abs add arange array at broadcast_to concatenate copysign cos cumsum einsum empty errstate exp
    expm1 float32 float64 floor full iinfo inf int32 int64 isnan log log1p maximum minimum nan pad
    rint s_ sign sin sqrt square stack tanh tensordot uint32 uint64 where zeros
"""
_ATTRIBUTES = frozenset((_ARRAY_ATTRIBUTES + _NUMPY_ATTRIBUTES).split())

_MODULES = ("np", "sliding_window_view")
_IMPORTS = (
    "import numpy as np",
    "from numpy.lib.stride_tricks import sliding_window_view",
)


class UnsafeSourceError(ValueError):
    """The generated text holds something that generated text never needs."""


def _bound(function: ast.FunctionDef) -> set[str]:
    """Parameters and every name the function assigns."""
    a = function.args
    names = {p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)}
    names |= {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return names


def _refuse(node: ast.AST, what: str) -> UnsafeSourceError:
    return UnsafeSourceError(
        f"line {getattr(node, 'lineno', '?')} of the generated text holds {what}, "
        "which generated code never needs"
    )


def check(source: str) -> ast.Module:
    """The syntax tree of ``source``, or UnsafeSourceError; nothing is run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UnsafeSourceError(f"the generated text is not Python: {error}") from error
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    constants = {
        t.id
        for n in tree.body
        if isinstance(n, ast.Assign)
        for t in n.targets
        if isinstance(t, ast.Name)
    }
    known = functions | constants | set(_BUILTINS) | set(_MODULES)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if ast.unparse(statement) not in _IMPORTS:
                raise _refuse(statement, f"the import {ast.unparse(statement)!r}")
            continue
        local = _bound(statement) if isinstance(statement, ast.FunctionDef) else set()
        _check_statement(statement, known | local)
    return tree


def _check_statement(statement: ast.stmt, known: set[str]) -> None:
    for node in ast.walk(statement):
        if not isinstance(node, _NODES):
            raise _refuse(node, f"a {type(node).__name__} node")
        if isinstance(node, ast.Import | ast.ImportFrom):
            raise _refuse(node, "an import inside a function")
        if isinstance(node, ast.FunctionDef) and node is not statement:
            raise _refuse(node, "a nested function")
        named = (
            node.id
            if isinstance(node, ast.Name)
            else node.attr
            if isinstance(node, ast.Attribute)
            else node.name
            if isinstance(node, ast.FunctionDef)
            else node.arg
            if isinstance(node, ast.arg)
            else ""
        )
        if named.startswith("__"):
            raise _refuse(node, f"the name {named!r}")
        if isinstance(node, ast.Name) and node.id not in known:
            raise _refuse(node, f"the unknown name {node.id!r}")
        bound = isinstance(node, ast.arg) or isinstance(getattr(node, "ctx", None), ast.Store)
        if bound and named in _MODULES:
            raise _refuse(node, f"an assignment to {named}")
        if isinstance(node, ast.Attribute) and node.attr not in _ATTRIBUTES:
            raise _refuse(node, f"the attribute {node.attr!r}")


def _numpy_import(name: str, *rest: Any) -> Any:
    """What NumPy itself needs: some of its functions import the rest of it when first called."""
    if name.split(".")[0] != "numpy":
        raise ImportError(f"generated code may import numpy alone, not {name!r}")
    return builtins.__import__(name, *rest)


def build(source: str, name: str) -> Callable[..., Any]:
    """The function ``name`` of the module text ``source``, checked, registered and compiled."""
    tree = check(source)
    if not any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body):
        raise UnsafeSourceError(f"the generated text defines no function named {name!r}")
    tree.body = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
    digest = blake2b(source.encode(), digest_size=8).hexdigest()
    file = f"<generated {name} {digest}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {
        "__builtins__": {word: getattr(builtins, word) for word in _BUILTINS}
        | {"__import__": _numpy_import},
        "__name__": f"generated_{name}",
        "np": np,
        "sliding_window_view": sliding_window_view,
    }
    exec(compile(tree, file, "exec", dont_inherit=True), space)  # noqa: S102 - checked above
    function: Callable[..., Any] = space[name]
    return function
