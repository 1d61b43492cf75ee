"""Who may import whom, and what no file may call: read from the syntax trees, nothing is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path for room in ("symprop", "codegen") for path in (ROOT / room).rglob("*.py"))

# The one file that may turn text into code, and the calls it may make.
BUILD = ROOT / "codegen" / "build.py"
CODE_CALLS = {"exec", "compile", "eval", "__import__"}
BANNED_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
BANNED_ATTRIBUTES = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput")}
SYMPY_PARSERS = {"sympify", "S", "parse_expr", "lambdify"}

# What `import symprop` may bring in; the rest is imported where it is needed.
HEAVY = {
    "rich",
    "typer",
    "safetensors",
    "sklearn",
    "matplotlib",
    "msgspec",
    "scipy",
    "torch",
    "jax",
    "numba",
    "flint",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names, in full."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "write imports in full"
        yield node.module or ""


def roots(path: Path) -> set[str]:
    return {module.split(".")[0] for node in ast.walk(tree(path)) for module in imported(node)}


def bare_name(call: ast.Call) -> str:
    """`f` for f(...) and for module.f(...)."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def test_there_is_something_to_read() -> None:
    assert BUILD in SOURCES
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_codegen_knows_neither_symprop_nor_sympy(path: Path) -> None:
    if name_of(path).startswith("codegen/"):
        assert not roots(path) & {"symprop", "sympy", "mpmath"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_heavy_is_imported_at_the_top(path: Path) -> None:
    if name_of(path) == "symprop/cli.py":  # the command line is not a part of `import symprop`
        return
    top = {m.split(".")[0] for node in tree(path).body for m in imported(node)}
    assert not top & HEAVY


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_runs_text_or_reads_code(path: Path) -> None:
    assert not roots(path) & BANNED_MODULES
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in BANNED_ATTRIBUTES, node.lineno
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and path != BUILD:
            assert node.func.id not in CODE_CALLS, node.lineno
        for keyword in node.keywords:
            assert keyword.arg not in ("shell", "allow_pickle"), node.lineno


def test_text_becomes_code_in_one_place() -> None:
    calls = [
        node.func.id
        for node in ast.walk(tree(BUILD))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert sorted(name for name in calls if name in CODE_CALLS) == ["compile", "exec"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_text_reaches_sympys_parser(path: Path) -> None:
    """sympify and its like run Python code that they find in a string."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            name = bare_name(node)
            assert name not in SYMPY_PARSERS - {"S", "sympify"}, node.lineno
            if name in SYMPY_PARSERS:
                assert all(is_number(argument) for argument in node.args), node.lineno
            if name in ("diff", "subs", "xreplace"):
                text = (isinstance(a, ast.JoinedStr) for a in node.args)
                assert not any(text), node.lineno


def is_number(argument: ast.expr) -> bool:
    return isinstance(argument, ast.Constant) and isinstance(argument.value, int | float)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert not path.read_text(encoding="utf-8").strip() or ast.get_docstring(tree(path))
