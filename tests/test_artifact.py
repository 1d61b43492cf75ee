"""An export that runs again: its steps are those of the trainer."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.llvm import artifact_link
from symprop.digits import declare as digits_step
from tests.exported import (
    CC,
    PYTHON,
    STEPS,
    batch,
    checked,
    image,
    needs_cc,
    refused,
    trainer,
)

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an export is for Linux")


def assert_same_steps(own: Any, artifact: Any, batches: Iterator[dict[str, np.ndarray]]) -> None:
    for one in batches:
        assert artifact.step(one) == own.step(one)
    for mine, its in ((own.parameters, artifact.parameters), (own.states, artifact.states)):
        assert list(mine) == list(its)
        for name in mine:
            np.testing.assert_array_equal(mine[name], its[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_export_takes_the_steps_of_the_trainer_to_the_last_bit(
    dtype: str, tmp_path: Path
) -> None:
    own = digits_step().compile("native", dtype=dtype, seed=1)
    own.step(batch())  # what is exported is the trainer as it is now
    done = own.export(tmp_path / "digits")
    artifact = prop.load(tmp_path / "digits", sha256=done.sha256)
    assert artifact.step(batch()) > 0
    own.step(batch())
    assert_same_steps(own, artifact, (batch(n, n) for n in (1, 5, 32, 3)))
    logits = artifact.predict({"x": batch()["x"]})["logits"]
    np.testing.assert_array_equal(logits, own.predict({"x": batch()["x"]})["logits"])
    assert artifact.predict(batch())["logits"].dtype == dtype
    if CC is not None:
        assert checked(tmp_path / "digits", "digits")[0] == 0


@needs_cc
@pytest.mark.parametrize("name", list(STEPS))
def test_other_steps_are_exported_as_well(name: str, tmp_path: Path) -> None:
    own = STEPS[name]().compile("native")
    own.export(tmp_path / name)
    artifact = prop.load(tmp_path / name)
    data = random_data(own)
    assert_same_steps(own, artifact, iter([data, data]))
    if own.training_step.outputs:
        ours, its = own.predict(data), artifact.predict(data)
        assert list(ours) == list(its)
        for key in ours:
            np.testing.assert_array_equal(ours[key], its[key])
    assert checked(tmp_path / name, name)[0] == 0


def random_data(own: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {}
    for leaf in own._runner._inputs(own._runner.step):
        shape = [4 if d.terms else d.const for d in leaf.dims]
        if leaf.dtype == "bool":
            found[leaf.name] = rng.integers(0, 2, shape).astype(bool)
        elif leaf.dtype == "float":
            found[leaf.name] = rng.normal(size=shape).astype(np.float32)
        else:
            found[leaf.name] = rng.integers(0, 7, shape)
    return found


def test_an_export_of_a_numpy_trainer_computes_the_same(tmp_path: Path) -> None:
    own = digits_step().compile("numpy", seed=2)
    own.export(tmp_path / "digits")
    artifact = prop.load(tmp_path / "digits")
    for n in range(3):
        assert artifact.step(batch(seed=n)) == pytest.approx(own.step(batch(seed=n)), rel=1e-5)


def test_weights_go_from_trainer_to_artifact_and_back(folder: Path, tmp_path: Path) -> None:
    artifact, file = prop.load(folder), tmp_path / "w.safetensors"
    artifact.step(batch())
    artifact.save(file)
    own = digits_step().compile("numpy")
    own.load(file)
    np.testing.assert_array_equal(own.parameters["hidden.bias"], artifact.parameters["hidden.bias"])
    own.parameters["hidden.bias"][:] = 7
    own.save(file)
    artifact.load(file)
    assert (artifact.parameters["hidden.bias"] == 7).all()
    refused(lambda: artifact.load(folder / "digits.o"), "safetensors")


def test_without_a_shared_library_the_object_is_linked_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact_link, "linker", lambda target, here: None)
    done = trainer().export(tmp_path / "digits")
    assert "no libdigits.so: no linker for" in str(done)
    assert not (tmp_path / "digits" / "libdigits.so").exists()
    artifact = prop.load(tmp_path / "digits")
    assert artifact.loaded_from == "digits.o linked by LLVM"
    own = digits_step().compile("native", seed=3)
    assert_same_steps(own, artifact, (batch(n, n) for n in (2, 9)))


def test_a_loaded_export_needs_neither_a_declaration_nor_a_compiler(folder: Path) -> None:
    code = (
        "import sys, numpy as np, symprop as prop\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('llvmlite', 'numba'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, No())\n"
        "a = prop.load(sys.argv[1])\n"
        "print(a.step({'x': np.ones((2, 64)), 'y': np.array([1, 2])}), a.loaded_from)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=PYTHON,
        capture_output=True,
        text=True,
        check=False,
    )
    ones = {"x": np.ones((2, 64)), "y": np.array([1, 2])}
    assert done.stdout == f"{prop.load(folder).step(ones)} libdigits.so from sealed memory\n", done


def test_data_is_refused_as_a_trainer_refuses_it(folder: Path) -> None:
    artifact, own = prop.load(folder), trainer()
    wrong: list[Any] = [
        batch() | {"x": np.ones((6, 63))},
        batch() | {"y": np.full(6, 10)},
        batch() | {"y": np.ones(6)},
        batch() | {"y": np.ones(5, int)},
        batch() | {"z": np.ones(5)},
        {"x": np.ones((6, 64))},
        {n: a[:0] for n, a in batch().items()},
        [1, 2],
    ]
    before = {n: a.tobytes() for n, a in artifact.parameters.items()}
    for data in wrong:
        ours = refused(lambda data=data: own.step(data))
        its = refused(lambda data=data: artifact.step(data))
        assert its == PLACE.sub("", ours)
    assert {n: a.tobytes() for n, a in artifact.parameters.items()} == before


PLACE = re.compile(r" \([^()]*\.py:\d+\)")  # of a declaration, which an artifact does not know


def test_an_input_that_is_a_live_weight_is_read_as_it_was(tmp_path: Path) -> None:
    """The step changes one weight before it reads the input for the other."""
    first = prop.parameter("first", (5,), prop.Constant(1.0))
    second = prop.parameter("second", (5,), prop.Constant(1.0))
    loss = prop.sum(first) + prop.sum(second * prop.input("x", (5,)))
    prop.training_step(loss, prop.SGD(0.5)).compile("native").export(tmp_path / "m")
    artifact = prop.load(tmp_path / "m")
    assert artifact.step({"x": artifact.parameters["first"]}) == 10
    np.testing.assert_array_equal(artifact.parameters["first"], np.full(5, 0.5))
    np.testing.assert_array_equal(artifact.parameters["second"], np.full(5, 0.5))


def test_threads_run_the_same_code_at_the_same_time(folder: Path) -> None:
    """Each artifact has its own arrays and memory; the library is one, and keeps nothing."""
    artifacts = [prop.load(folder) for _ in range(4)]
    alone = [prop.load(folder) for _ in range(4)]

    def losses(artifact: Any, k: int) -> list[float]:
        return [artifact.step(batch(20 + k, n)) for n in range(30)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(losses, artifacts, range(4)))
    assert found == [losses(a, k) for k, a in enumerate(alone)]


def test_a_step_without_outputs_has_nothing_to_predict(tmp_path: Path) -> None:
    image().compile("native").export(tmp_path / "m")
    artifact = prop.load(tmp_path / "m")
    refused(lambda: artifact.predict({}), "no outputs")
