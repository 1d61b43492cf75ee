"""Source text -> callable: the only place of codegen where text becomes code.

In: the source of a module that a text backend emitted, and the name of its main function.
Out: that function. ``build`` registers NumPy text with Python's line cache under a name made of
the hash of its bytes; ``build_numba`` compiles Numba text under the path of a real file that holds
it (``codegen.source_file``), ``build_numba_cuda`` so that of kernels for devices: tracebacks,
debuggers and ``inspect.getsource`` show the lines. Where no file can be written, as NumPy text.

Guarantees: nothing runs before the whole syntax tree was checked against the allow-list of its
``Dialect``: node kinds, imports, names that are parameters, locals, functions of the module, what
the imports bind or a few builtins; attributes from a list; no name or attribute with two leading
underscores. The code runs with no other builtins. ``UnsafeSourceError`` says in one sentence what
was refused.

It is a second lock, not a sandbox: what is emitted is safe by construction (names are made by
``codegen.names``, text of the user stands in comments only), and this check shows that it is.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from codegen.functions import FUNCTIONS, Function
from codegen.source_file import source_file

__all__ = [
    "NUMBA",
    "NUMBA_CUDA",
    "NUMPY",
    "Dialect",
    "UnsafeSourceError",
    "build",
    "build_numba",
    "build_numba_cuda",
    "check",
]

_BUILTINS = ("bool", "max", "min", "range", "reversed", "slice")
_DTYPES = ("float32", "float64", "int32", "int64", "uint32", "uint64")

_NODES = (
    ast.Module, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Expr, ast.Constant,
    ast.Assign, ast.AugAssign, ast.For, ast.If, ast.IfExp, ast.Call, ast.keyword,
    ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List,
    ast.Starred,
    ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop,
    ast.Import, ast.ImportFrom, ast.alias,
)  # fmt: skip

# What generated text and its helpers use of arrays and of NumPy.
_ARRAY_ATTRIBUTES = """
    T any argmax argmin astype clip copy dtype mT max min repeat reshape shape sum swapaxes
    transpose view
"""
_NUMPY_ATTRIBUTES = """
    abs add arange arccos arccosh arcsin arcsinh arctan arctan2 arctanh array at broadcast_to cbrt
    bool_ ceil concatenate copysign cos cosh cumsum einsum empty errstate exp exp2 expm1 float32
    float64 floor full hypot iinfo inf int32 int64 isnan log log1p log2 logaddexp maximum minimum
    nan pad rint s_ sign sin sinh sqrt square stack tan tanh tensordot uint32 uint64 where zeros
"""
# What loops over single numbers use.
_NUMBA_ATTRIBUTES = """
    array bool_ ceil empty floor inf nan reshape rint shape view
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh erf erfc exp exp2 expm1 hypot isnan log
    log1p log2 pow sin sinh sqrt tan tanh
    Array boolean float32 float64 int32 int64 uint32 uint64
"""


@dataclass(frozen=True)
class Dialect:
    """What a text of a kind may hold: imports (those beginning so), what they bind, builtins,
    attributes, node kinds."""

    imports: tuple[str, ...]
    modules: tuple[str, ...]
    builtins: tuple[str, ...]
    attributes: frozenset[str]
    nodes: tuple[type[ast.AST], ...]

    def allows(self, statement: ast.Import | ast.ImportFrom) -> bool:
        """Whether an import is one of these, or a shorter form of one of several names."""
        if isinstance(statement, ast.Import):
            return ast.unparse(statement) in self.imports
        allowed = [i.partition(" import ") for i in self.imports if i.startswith("from ")]
        return not statement.level and any(
            first == f"from {statement.module}"
            and all(a.asname is None and a.name in names.split(", ") for a in statement.names)
            for first, _, names in allowed
        )


NUMPY = Dialect(
    ("import numpy as np", "from numpy.lib.stride_tricks import sliding_window_view"),
    ("np", "sliding_window_view"),
    _BUILTINS,
    frozenset((_ARRAY_ATTRIBUTES + _NUMPY_ATTRIBUTES).split()),
    _NODES,
)
NUMBA = Dialect(
    (
        "import math",
        "import numpy as np",
        "from numba import njit, types",
        f"from numpy import {', '.join(_DTYPES)}",
    ),
    ("math", "np", "njit", "types", *_DTYPES),
    ("abs", "bool", "max", "min", "range"),
    frozenset(_NUMBA_ATTRIBUTES.split()),
    (*_NODES, ast.BoolOp, ast.boolop),
)
NUMBA_CUDA = Dialect(
    (
        "import math",
        "import numpy as np",
        "from numba import cuda",
        f"from numpy import {', '.join(_DTYPES)}",
    ),
    ("math", "np", "cuda", *_DTYPES),
    NUMBA.builtins,
    NUMBA.attributes
    | frozenset(["copy_to_host", "device_array", "grid", "jit", "local", "to_device"]),
    NUMBA.nodes,
)


class UnsafeSourceError(ValueError):
    """The generated text holds something that generated text never needs."""


def _bound(function: ast.FunctionDef) -> set[str]:
    """Parameters and every name the function assigns."""
    a = function.args
    names = {p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg) if p is not None}
    names |= {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return names


def _refuse(node: ast.AST, what: str) -> UnsafeSourceError:
    return UnsafeSourceError(
        f"line {getattr(node, 'lineno', '?')} of the generated text holds {what}, "
        "which generated code never needs"
    )


def check(source: str, dialect: Dialect = NUMPY) -> ast.Module:
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
    known = functions | constants | set(dialect.builtins) | set(dialect.modules)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            if not dialect.allows(statement):
                raise _refuse(statement, f"the import {ast.unparse(statement)!r}")
            continue
        local = _bound(statement) if isinstance(statement, ast.FunctionDef) else set()
        _check_statement(statement, known | local, dialect)
    return tree


def _check_statement(statement: ast.stmt, known: set[str], dialect: Dialect) -> None:
    for node in ast.walk(statement):
        if not isinstance(node, dialect.nodes):
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
        if bound and named in dialect.modules:
            raise _refuse(node, f"an assignment to {named}")
        if isinstance(node, ast.Attribute) and node.attr not in dialect.attributes:
            raise _refuse(node, f"the attribute {node.attr!r}")


def _numpy_import(name: str, *rest: Any) -> Any:
    """What NumPy itself needs: some of its functions import the rest of it when first called."""
    if name.split(".")[0] != "numpy":
        raise ImportError(f"generated code may import numpy alone, not {name!r}")
    return builtins.__import__(name, *rest)


def build(source: str, name: str) -> Callable[..., Any]:
    """The function ``name`` of the NumPy text ``source``, checked, registered and compiled."""
    tree = _module(source, name, NUMPY)
    file = _listed(source, name)
    bound = {"np": np, "sliding_window_view": sliding_window_view}
    return _run(tree, file, name, NUMPY, bound)


def _listed(source: str, name: str) -> str:
    """A name under which tracebacks of this process find the lines of a text."""
    digest = blake2b(source.encode(), digest_size=8).hexdigest()
    file = f"<generated {name} {digest}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return file


def _filed(source: str, name: str) -> str:
    """The file of a text, which debuggers and profilers open too; it only serves the reader, so
    where none can be written the text is listed in this process alone."""
    try:
        return str(source_file(source, name))
    except OSError:
        return _listed(source, name)


def build_numba(source: str, name: str) -> Callable[..., Any]:
    """The function ``name`` of the Numba text ``source``: checked, written to a file, compiled.

    Raises ModuleNotFoundError where Numba is not installed.
    """
    from numba import njit, types

    tree = _module(source, name, NUMBA)
    file = _filed(source, name)
    bound = {"math": math, "np": np, "njit": njit, "types": types}
    return _run(tree, file, name, NUMBA, bound | {d: getattr(np, d) for d in _DTYPES})


def build_numba_cuda(source: str, name: str) -> Callable[..., Any]:
    """The function ``name`` of the Numba text for CUDA ``source``, checked and written to a file.

    Raises ImportError where Numba's CUDA target is not installed, RuntimeError where it finds
    neither a device nor its simulator.
    """
    from numba import config, cuda

    tree = _module(source, name, NUMBA_CUDA)
    if not cuda.is_available():  # type: ignore[no-untyped-call]
        raise RuntimeError("there is no CUDA device, and Numba's simulator is not switched on")
    file = _filed(source, name)
    simulated: bool = config.ENABLE_CUDASIM  # type: ignore[attr-defined]
    bound = {"math": _total_math() if simulated else math, "np": np, "cuda": cuda}
    return _run(tree, file, name, NUMBA_CUDA, bound | {d: getattr(np, d) for d in _DTYPES})


def _total_math() -> SimpleNamespace:
    """``math`` as devices have it, for the simulator, which runs kernels as they stand: NaN and
    infinities instead of exceptions, results as wide as their arguments."""

    def total(row: Function) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            assert row.python is not None
            value = row.python(*map(float, args))
            if isinstance(value, bool):
                return value
            return (np.float32 if isinstance(args[0], np.float32) else np.float64)(value)

        return function

    rows = [row for row in FUNCTIONS.values() if (row.numba or "").startswith("math.")]
    return SimpleNamespace(**{(row.numba or "").removeprefix("math."): total(row) for row in rows})


def _module(source: str, name: str, dialect: Dialect) -> ast.Module:
    """The checked tree, without its imports: what they bind is handed in."""
    tree = check(source, dialect)
    if not any(isinstance(n, ast.FunctionDef) and n.name == name for n in tree.body):
        raise UnsafeSourceError(f"the generated text defines no function named {name!r}")
    tree.body = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
    return tree


def _run(
    tree: ast.Module, file: str, name: str, dialect: Dialect, bound: Mapping[str, Any]
) -> Callable[..., Any]:
    """The module run under the name of a file; its function ``name``."""
    space: dict[str, Any] = {
        "__builtins__": {word: getattr(builtins, word) for word in dialect.builtins}
        | {"__import__": _numpy_import},
        "__name__": f"generated_{name}",
        **bound,
    }
    exec(compile(tree, file, "exec", dont_inherit=True), space)  # noqa: S102 - checked above
    function: Callable[..., Any] = space[name]
    return function
