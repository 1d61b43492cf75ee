"""Arrays that are handed in: what is converted, and the sentence for what is refused."""

import re
from typing import Any

import numpy as np
import pytest

from codegen.index import dim
from symprop.data import Door
from symprop.errors import DataError
from symprop.graph import Leaf, new_leaf

BATCH = dim("batch").ix()
X = new_leaf("input", "x", (BATCH, 4), "float", ("batch", "pixel"))
Y = new_leaf("input", "y", (BATCH,), "int64", ("batch",), 0, 9)
MASK = new_leaf("input", "mask", (BATCH,), "bool")
COUNT = new_leaf("input", "count", (BATCH,), "int32")
RATE = new_leaf("scalar", "rate", (), "float", default=0.5)
SHIFTED = new_leaf("input", "shifted", (BATCH + 1,), "float")
GOOD = np.arange(12.0).reshape(3, 4)


def one(leaf: Leaf, value: Any, **options: Any) -> np.ndarray[Any, Any]:
    arrays, _ = Door([leaf], "float32", **options)({leaf.name: value})
    return arrays[leaf.name]


def refused(arrays: Any, leaves: list[Leaf], *words: str, **options: Any) -> None:
    """The error is one line and holds the words."""
    with pytest.raises(DataError) as caught:
        Door(leaves, "float32", **options)(arrays)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message


def test_a_fitting_array_is_not_copied() -> None:
    value = GOOD.astype(np.float32)
    assert one(X, value) is value


@pytest.mark.parametrize(
    "value",
    [
        GOOD,
        GOOD.tolist(),
        GOOD.astype(np.int32),
        GOOD.astype(">f4"),
        GOOD.astype(np.float16),
        np.asfortranarray(GOOD),
        np.repeat(GOOD, 2, axis=1)[:, ::2],
        GOOD[::-1][::-1],
        np.broadcast_to(GOOD[:1], (3, 4)) * 0 + GOOD,
    ],
)
def test_numbers_of_every_kind_and_layout_are_converted(value: Any) -> None:
    array = one(X, value)
    assert array.dtype == np.float32
    assert array.dtype.isnative
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert (array == GOOD).all()


def test_unaligned_and_read_only_arrays() -> None:
    raw = np.zeros(1 + GOOD.size * 4, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(3, 4)
    unaligned[:] = GOOD
    assert (one(X, unaligned) == GOOD).all()
    assert one(X, unaligned).flags.aligned
    frozen = GOOD.astype(np.float32)
    frozen.flags.writeable = False
    assert (one(X, frozen) == GOOD).all()


def test_a_scalar_has_a_default_and_keeps_no_axes() -> None:
    arrays, sizes = Door([RATE], "float64")({})
    assert arrays["rate"].shape == ()
    assert arrays["rate"] == 0.5
    assert sizes == {}
    assert one(RATE, 2).shape == ()


def test_sizes_of_named_dimensions() -> None:
    arrays = {"x": GOOD, "y": [1, 2, 3], "shifted": np.zeros(4)}
    _, sizes = Door([X, Y, SHIFTED], "float32")(arrays)
    assert sizes == {"batch": 3}
    _, sizes = Door([SHIFTED], "float32")({"shifted": np.zeros(4)})
    assert sizes == {"batch": 3}


def test_the_caller_keeps_the_array() -> None:
    value = GOOD.copy()
    one(X, value)[:] = 7
    assert (value == GOOD).all()


def test_names() -> None:
    refused({"x": GOOD, "z": GOOD}, [X], "'z'", "'x'")
    refused({"images": GOOD}, [new_leaf("input", "image", (3, 4), "float")], "did you mean 'image'")
    refused({}, [X], "'x'", "missing", "(batch, pixel=4)")
    refused({"x": None}, [X], "'x'", "missing")
    refused([GOOD], [X], "mapping")
    refused({1: GOOD}, [X], "'1'")
    arrays, _ = Door([X], "float32", ignored=["y"])({"x": GOOD, "y": [1]})
    assert list(arrays) == ["x"]


def test_a_door_remembers_nothing_of_the_call_before() -> None:
    door = Door([X, Y], "float32")
    assert door({"x": GOOD, "y": [1, 2, 3]})[1] == {"batch": 3}
    with pytest.raises(DataError, match="batch is 2"):
        door({"x": GOOD[:2], "y": [1, 2, 3]})
    assert door({"x": GOOD[:1], "y": [9]})[1] == {"batch": 1}


@pytest.mark.parametrize("low", [0, 3, -3])
@pytest.mark.parametrize("step", [1, 2])
def test_integers_are_held_to_both_ends_in_every_layout(low: int, step: int) -> None:
    leaf = new_leaf("input", "index", (dim("n").ix(), 2), "int64", ("n", ""), low, 7)
    for position in (0, 7):
        for end, beyond in ((low, -1), (7, 1)):
            value = np.full((4 * step, 2), 5)[::step]
            value[divmod(position, 2)] = end
            assert (one(leaf, value) == value).all()
            value[divmod(position, 2)] = end + beyond
            where = str(divmod(position, 2))
            refused({"index": value}, [leaf], f"{low} to 7", f"is {end + beyond} at {where}")


def test_the_place_of_the_declaration_is_named() -> None:
    refused({"x": GOOD[0]}, [X], "test_data.py:")


def test_shapes() -> None:
    refused({"x": GOOD[0]}, [X], "'x'", "(batch, pixel=4)", "1 axis", "(4,)")
    refused({"x": GOOD[:, :3]}, [X], "axis 1 is 3, not 4")
    refused({"x": GOOD, "y": [1, 2]}, [X, Y], "batch is 3 in 'x'", "2 in 'y'")
    refused({"x": GOOD[:0]}, [X], "batch must be at least 1")
    refused({"x": np.float32(1)}, [X], "0 axes")
    small = new_leaf("input", "x", (dim("n", capacity=2).ix(), 4), "float")
    refused({"x": GOOD}, [small], "at least 1 and at most 2")
    double = new_leaf("input", "d", (BATCH * 2,), "float")
    refused({"d": [1.0, 2.0, 3.0]}, [double], "'d'", "cannot be found")


def test_dtypes() -> None:
    refused({"y": [1.0, 2.0]}, [Y], "'y'", "0 to 9", "float64", "y.astype(int)")
    refused({"y": [True, False]}, [Y], "bool")
    refused({"y": [1, 10]}, [Y], "0 to 9", "10", "(1,)")
    refused({"y": [1, -1]}, [Y], "-1")
    refused({"y": np.array([1, 2**63], np.uint64)}, [Y], "0 to 9")
    refused({"count": [1, 2**40]}, [COUNT], str(2**40))
    refused({"mask": [0, 1]}, [MASK], "boolean", "mask != 0")
    refused({"x": GOOD + 1j}, [X], "complex128")
    refused({"x": GOOD.astype(str)}, [X], "numbers")
    refused({"x": GOOD.astype(object)}, [X], "object")
    refused({"x": [[1, 2], [3]]}, [X], "'x'")
    refused({"x": np.ma.masked_array(GOOD, GOOD > 3)}, [X], "masked")
    assert one(Y, np.array([1, 2], np.uint8)).dtype == np.int64
    assert one(MASK, [True, False]).dtype == np.bool_


def test_values_that_are_not_finite_are_refused_when_asked() -> None:
    bad = GOOD.copy()
    bad[1, 2] = np.nan
    assert np.isnan(one(X, bad)[1, 2])
    refused({"x": bad}, [X], "finite", "nan", "(1, 2)", check_finite=True)
    huge = np.full((1, 4), 1e300)  # infinite only once it is float32
    refused({"x": huge}, [X], "inf", check_finite=True)


def test_a_hostile_name_is_escaped_and_shortened() -> None:
    name = 'x"\n\u202e' + "a" * 10_000
    refused({name: GOOD}, [X], "\\u202e", "...")
    leaf = new_leaf("input", name, (BATCH, 4), "float")
    with pytest.raises(DataError, match="missing") as caught:
        Door([leaf], "float32")({})
    assert re.fullmatch(r"[\x20-\x7e]+", str(caught.value))
