"""Numba text: every small program against the interpreter, compiled and as plain Python.

In: the programs of numpy_programs, random steps. Guarantees: dtypes are those of the program, and
a float32 program is right to float32, so nothing was computed in something narrower; that nothing
was computed in something wider is read from the code that the compiler made.
"""

from __future__ import annotations

import errno
import linecache
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from building import Building, call, mlp_training
from definition import random_step, run_assign
from numpy_checks import arguments, in_float64, near
from numpy_programs import CASES, Case

import codegen.source_file
from codegen.build import NUMBA, UnsafeSourceError, build_numba, check
from codegen.index import dim
from codegen.interpret import run
from codegen.numba_text import emit
from codegen.program import Program
from codegen.source_file import source_file

numba = pytest.importorskip("numba")


@contextmanager
def plain_python() -> Iterator[None]:
    """Decorators of Numba do nothing: the text runs as the Python that it is."""
    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        numba.config.DISABLE_JIT = before


def compare(program: Program, seed: int = 0, sizes: dict[str, int] | None = None) -> str:
    """The text, after it gave what the interpreter gives."""
    text = emit(program)
    assert max(map(len, text.splitlines())) <= 100
    assert emit(program) == text
    function = build_numba(text, program.name)
    given = arguments(program, seed, sizes)
    kept = {k: v.copy() for k, v in given.items()}
    for name, array in given.items():
        array.flags.writeable = name in program.updates
    got = function(*given.values())
    want = run(program, kept)
    got = got if len(program.outputs) > 1 else (got,)
    for name, array in zip(program.outputs, got, strict=True):
        dtype = program.buffer(name).dtype
        assert isinstance(array, np.ndarray)
        assert array.dtype == dtype, (name, array.dtype)
        assert array.shape == np.shape(want[name])
        near(array, want[name], dtype)
    for name in program.updates:
        near(given[name], want[name], program.buffer(name).dtype)
    return text


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_compiled_text_equals_the_interpreter(make: Case) -> None:
    compare(make()[0])


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_text_as_plain_python_equals_the_interpreter(make: Case) -> None:
    with plain_python():
        compare(in_float64(make()[0]), seed=1, sizes={"batch": 1, "time": 5})


def check_random_step(seed: int) -> None:
    program, arrays, dims = random_step(seed, dim("batch"))
    want = run_assign(program, program.steps[0], arrays, dims)  # type: ignore[arg-type]
    text = emit(program)
    got = build_numba(text, "f")(*(arrays[b.name] for b in program.arguments))
    assert got.dtype == np.float64, (seed, text)
    np.testing.assert_allclose(got, want, 1e-11, 1e-11, err_msg=f"{seed}\n{text}")
    assert max(map(len, text.splitlines())) <= 100, (seed, text)


def test_random_steps_equal_their_definition() -> None:
    with plain_python():
        for seed in range(400):
            check_random_step(seed)


@pytest.mark.slow
def test_random_steps_compiled_equal_their_definition() -> None:
    for seed in range(400, 480):
        check_random_step(seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_step_is_computed_in_vectors_of_its_own_width(dtype: str) -> None:
    program = mlp_training()
    program = program if dtype == "float32" else in_float64(program)
    function = build_numba(emit(program), program.name)
    (code,) = function.inspect_llvm().values()
    own, other = ("float", "double") if dtype == "float32" else ("double", "float")
    assert re.search(rf"fmul <\d+ x {own}>", code)
    assert re.search(rf"@llvm.sqrt.v\d+f{dtype[5:]}", code)
    assert not re.search(rf"f(mul|add|sub|div) (<\d+ x )?{other}\b", code)
    assert not re.search(r"= f\w+ .*\b(fast|reassoc|contract)\b", code)


def test_an_empty_batch_runs() -> None:
    p = Building("f", batch=None, pixel=3)
    x = p.declare("x", "batch pixel")
    total = p.step("total", "pixel", "sum batch", lambda i, b: x[b, i])
    scaled = p.step("scaled", "batch pixel", "=", lambda b, i: x[b, i] * 2)
    program = p.done(total, scaled)
    found = build_numba(emit(program), "f")(np.zeros((0, 3), np.float32))
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].shape == (0, 3)


def test_arrays_of_a_wrong_type_are_refused_not_converted() -> None:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    f = build_numba(emit(p.done(p.step("y", "batch", "=", lambda b: x[b] + 1))), "f")
    with pytest.raises(TypeError, match="No matching definition"):
        f(np.zeros(3))
    with pytest.raises(TypeError, match="No matching definition"):
        f(np.zeros(6, np.float32)[::2])


def test_names_of_the_module_may_be_names_of_the_user() -> None:
    names = ["math", "np", "njit", "types", "float32", "maximum", "sigmoid", "f", "range", "n_i"]
    p = Building("f", batch=None, n=2)
    given = [p.declare(name, "batch n") for name in names]
    n = p.step("n", "batch n", "=", lambda b, i: given[0][b, i] + given[1][b, i])
    total = n
    for k, x in enumerate(given):
        total = p.step(
            f"y{k}", "batch n", "=", lambda b, i, x=x, y=total: y[b, i] + call("sigmoid", x[b, i])
        )
    compare(p.done(total))


# --- files, and what is refused -------------------------------------------------------------------


def simple(label: str = "x") -> Program:
    p = Building("f", batch=None)
    x = p.declare(label, "batch")
    return p.done(p.step("y", "batch", "=", lambda b: x[b] + 1))


def test_the_text_lies_in_a_private_file_named_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = emit(simple())
    function = build_numba(text, "f")
    path = Path(function.py_func.__code__.co_filename)
    assert path.parent == tmp_path / "symprop" / "texts"
    assert path.read_text(encoding="utf-8") == text
    assert re.fullmatch(r"f_[0-9a-f]{16}\.py", path.name)
    assert linecache.getline(str(path), 1) == text.splitlines(keepends=True)[0]
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o777 == 0o700
    path.write_text("broken", encoding="utf-8")
    assert source_file(text, "f") == path
    assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of a POSIX system")
def test_a_folder_that_others_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "symprop").mkdir()
    (tmp_path / "symprop").chmod(0o777)
    path = source_file("1\n", "f")
    assert tmp_path not in path.parents
    assert path.read_text(encoding="utf-8") == "1\n"


def test_the_texts_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(codegen.source_file, "KEPT", 3)
    paths = [source_file(f"{k}\n", "f") for k in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (age, age))
    assert source_file("0\n", "f") == paths[0]  # used again, so that it is no longer the oldest
    last = source_file("3\n", "f")
    assert sorted(last.parent.iterdir()) == sorted([paths[0], paths[2], last])


def test_files_of_others_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(codegen.source_file, "KEPT", 1)
    folder = source_file("0\n", "f").parent
    others = [folder.parent / "mine.py", folder / "mine.py", folder / "f_0123456789abcdef.py.txt"]
    for path in others:
        path.write_text("precious", encoding="utf-8")
        os.utime(path, (0, 0))
    last = source_file("1\n", "f")
    assert sorted(folder.iterdir()) == sorted([*others[1:], last])
    assert others[0].exists()


def runs_and_is_listed(folder: Path) -> None:
    """A text compiles, computes, and shows its lines, though no file of it lies in a folder."""
    function = build_numba(emit(simple()), "f")
    assert function(np.arange(3.0, dtype=np.float32)).tolist() == [1, 2, 3]
    file = function.py_func.__code__.co_filename
    assert re.fullmatch(r"<generated f [0-9a-f]{16}>", file)
    assert "generated" in linecache.getline(file, 1)
    assert not [p for p in folder.rglob("*") if p.is_file()]


def test_a_full_disk_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(codegen.source_file.os, "fsync", full)
    runs_and_is_listed(tmp_path)


def test_a_user_without_any_place_for_files_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(**_: object) -> str:
        raise FileNotFoundError("no usable temporary directory")

    homeless(monkeypatch)
    codegen.source_file._made.cache_clear()
    monkeypatch.setattr(codegen.source_file.tempfile, "mkdtemp", nowhere)
    runs_and_is_listed(tmp_path)


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache folder is named, and the user has no home."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", home)


def test_a_user_without_a_home_gets_a_temporary_folder_again_when_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeless(monkeypatch)
    codegen.source_file._made.cache_clear()
    monkeypatch.setattr(codegen.source_file.tempfile, "tempdir", str(tmp_path))
    first = source_file("0\n", "f")
    assert first.parent.parent == tmp_path
    assert source_file("1\n", "f").parent == first.parent
    shutil.rmtree(first.parent)
    again = source_file("1\n", "f")
    assert again.parent.parent == tmp_path
    assert again.read_text(encoding="utf-8") == "1\n"
    codegen.source_file._made.cache_clear()


def test_a_cache_removed_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = source_file("0\n", "f")
    shutil.rmtree(tmp_path / "cache")
    assert source_file("0\n", "f") == first
    assert first.read_text(encoding="utf-8") == "0\n"


def test_a_traceback_shows_the_generated_line() -> None:
    with plain_python():
        function = build_numba(emit(simple()), "f")
        try:
            function(None)
        except AttributeError as error:
            text = "".join(traceback.format_exception(error))
    assert "batch_size = x.shape[0]" in text


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "from numpy import load",
        "from numba import cuda",
        "from .numpy import float32",
        "z = open('x')",
        "z = x.__class__",
        "z = np.load('x')",
        "z = math.factorial(3)",
        "z = types.misc",
        "z = [a for a in x]",
        "njit = x",
        "z = lambda: 1",
        "while x: pass",
    ],
)
def test_refuses_what_text_never_needs(line: str) -> None:
    text = f"import numpy as np\nfrom numba import njit\n\n\ndef f(x):\n    {line}\n    return x\n"
    with pytest.raises(UnsafeSourceError, match="generated"):
        build_numba(text, "f")


def test_every_text_passes_the_check_of_its_dialect_alone() -> None:
    text = emit(mlp_training())
    check(text, NUMBA)
    with pytest.raises(UnsafeSourceError):
        check(text)


HASHED = """
import sys
sys.path[:0] = {paths!r}
from building import mlp_training
from codegen.numba_text import emit
print(emit(mlp_training()))
"""


def test_two_processes_print_equal_bytes() -> None:
    here = Path(__file__).parent
    script = HASHED.format(paths=[str(here), str(here.parents[1])])
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("which line is delta_1", r"# .* d_hidden_pre = |# ∂loss/∂hidden_pre = "),
        ("where is the derivative of ReLU", r"if hidden_pre\[batch, unit\] > 0"),
        ("which loop sums over the batch", r"for batch in range\(batch_size\):"),
        ("what is saved for the backward part", r"hidden_pre = np\.empty\(\(batch_size, 64\)"),
        ("how much memory", r"memory: [\d,]+\*batch \+ [\d,]+ bytes, beside "),
    ],
)
def test_a_reader_finds_the_answer(question: str, answer: str) -> None:
    assert re.search(answer, emit(mlp_training())), question


def test_the_doc_of_a_program_stands_at_the_top() -> None:
    program = replace(mlp_training(), doc='one\ntwo """ three')
    text = emit(program)
    assert text.startswith('"""one\n')
    check(text, NUMBA)
