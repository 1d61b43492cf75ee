"""The loop in machine code, over a step that writes down what it is given."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from codegen.llvm.build import Library, assembly, object_code
from codegen.llvm.build import compile as compiled
from codegen.llvm.driver import WORDS, Run, Streamed, driver, word
from codegen.llvm.loop import permutation as drawn
from codegen.llvm.target import SHIPPED, host
from codegen.philox import permutation
from tests.codegen.test_llvm_build import undefined

# The words of its context.
SIZE, X, LOG, LOGGED, LOSS, WIDE, STOP, STOP_AT, CALLS = range(9)

# Copies its rows, one int64 each, to a log; its loss is the first; it can set a flag in a call.
STEP = f"""\
define void @step(ptr %context) {{
entry:
  %x.at = getelementptr i64, ptr %context, i64 {X}
  %x = load ptr, ptr %x.at
  %size.at = getelementptr i64, ptr %context, i64 {SIZE}
  %size = load i64, ptr %size.at
  %log.at = getelementptr i64, ptr %context, i64 {LOG}
  %log = load ptr, ptr %log.at
  %logged.at = getelementptr i64, ptr %context, i64 {LOGGED}
  %logged = load i64, ptr %logged.at
  br label %row
row:
  %n = phi i64 [ 0, %entry ], [ %n.after, %row ]
  %from = getelementptr i64, ptr %x, i64 %n
  %value = load i64, ptr %from
  %place = add i64 %logged, %n
  %to = getelementptr i64, ptr %log, i64 %place
  store i64 %value, ptr %to
  %n.after = add i64 %n, 1
  %more = icmp slt i64 %n.after, %size
  br i1 %more, label %row, label %rest
rest:
  %logged.after = add i64 %logged, %size
  store i64 %logged.after, ptr %logged.at
  %first = load i64, ptr %x
  %loss.double = sitofp i64 %first to double
  %loss.single = sitofp i64 %first to float
  %loss.at = getelementptr i64, ptr %context, i64 {LOSS}
  %loss = load ptr, ptr %loss.at
  %wide.at = getelementptr i64, ptr %context, i64 {WIDE}
  %wide = load i64, ptr %wide.at
  %is.wide = icmp eq i64 %wide, 8
  br i1 %is.wide, label %double, label %single
double:
  store double %loss.double, ptr %loss
  br label %counted
single:
  store float %loss.single, ptr %loss
  br label %counted
counted:
  %calls.at = getelementptr i64, ptr %context, i64 {CALLS}
  %calls.before = load i64, ptr %calls.at
  %calls = add i64 %calls.before, 1
  store i64 %calls, ptr %calls.at
  %stop.at = getelementptr i64, ptr %context, i64 {STOP_AT}
  %stop.call = load i64, ptr %stop.at
  %stops = icmp eq i64 %calls, %stop.call
  br i1 %stops, label %stop, label %end
stop:
  %flag.at = getelementptr i64, ptr %context, i64 {STOP}
  %flag = load ptr, ptr %flag.at
  store i64 1, ptr %flag
  br label %end
end:
  ret void
}}
"""


@cache
def library(batches: bool = True) -> Library:
    return compiled(STEP + driver("run", batches), host())


@dataclass
class Trial:
    """A run over the recording step; ``seen`` are the examples of each step, in order."""

    context: Any
    table: Any
    losses: Any
    log: Any
    held: Sequence[Any]

    @property
    def seen(self) -> list[int]:
        return self.log[: self.context[LOGGED]].tolist()

    def get(self, name: str) -> int:
        return int(self.table[word(name)])

    def run(self, steps: int, batches: bool = True) -> list[float]:
        """The losses of so many more steps; ``batches``: by the loop that can cut them."""
        self.table[word("steps")], self.table[word("done")] = steps, 0
        library(batches).entry("run")(self.table.ctypes.data)
        return self.losses[: self.get("done")].tolist()


def trial(
    examples: int = 10,
    batch: int = 3,
    shuffle: bool = False,
    seed: int = 0,
    loss: str = "float64",
    capacity: int = 1000,
    others: Sequence[tuple[int, int]] = (),
    **words: Any,
) -> Trial:
    """A run on the examples 100, 101, ...; ``others`` are the row's bytes and the word of further
    arrays; without ``examples``, on one batch of 7, 8, 9."""
    context = np.zeros(32, np.int64)
    log, losses = np.zeros(1_000_000, np.int64), np.full(capacity, np.nan)
    place, order = np.zeros(1, loss), np.full(max(1, examples), -1)
    x, target = np.arange(100, 100 + examples), np.full(max(1, batch), -1)
    bound = np.array([7, 8, 9])
    context[X], context[SIZE], context[LOG] = bound.ctypes.data, 3, log.ctypes.data
    context[LOSS], context[WIDE] = place.ctypes.data, place.itemsize
    streamed = [Streamed(x.ctypes.data, target.ctypes.data, 8, X)] if examples else []
    held: list[Any] = [place, order, x, target, bound]
    for row, at in others:
        source = np.random.default_rng(row).integers(0, 256, (examples, row)).astype(np.uint8)
        there = np.zeros((batch + 1, row), np.uint8)  # a row more: it stays as it is
        streamed.append(Streamed(source.ctypes.data, there.ctypes.data, row, at))
        held += [source, there]
    run = Run(
        step=library().address("step"),
        context=context.ctypes.data,
        loss=place.ctypes.data,
        loss_bytes=place.itemsize,
        losses=losses.ctypes.data,
        capacity=capacity,
        examples=examples,
        among=examples,
        batch=batch if examples else 0,
        size=SIZE if examples else -1,
        shuffle=int(shuffle),
        order=order.ctypes.data,
        seed=seed,
        streamed=tuple(streamed),
    )
    table = replace(run, **words).table()
    context[STOP] = table.ctypes.data + 8 * word("stop")
    return Trial(context, table, losses, log, held)


def expected(examples: int, batch: int, steps: int, seed: int | None) -> list[list[int]]:
    """The batches of so many steps."""
    found: list[list[int]] = []
    epoch = 0
    while len(found) < steps:
        order = np.arange(examples) if seed is None else permutation(seed, epoch, examples)
        found += [(100 + order[n : n + batch]).tolist() for n in range(0, examples, batch)]
        epoch += 1
    return found[:steps]


def flat(batches: list[list[int]]) -> list[int]:
    return [one for batch in batches for one in batch]


# --- what a step is given -------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("examples", "batch"), [(10, 3), (9, 3), (10, 1), (3, 10), (1, 1), (257, 64)]
)
def test_steps_see_every_example_of_every_epoch_in_order(
    examples: int, batch: int, shuffle: bool
) -> None:
    """The last batch of an epoch is what is left."""
    for seed in (0, 5, 2**64 - 1):
        one = trial(examples, batch, shuffle, seed)
        losses = one.run(23)
        batches = expected(examples, batch, 23, seed if shuffle else None)
        assert one.seen == flat(batches)
        assert losses == [b[0] for b in batches]
        assert one.context[SIZE] == len(batches[-1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_short_calls_do_what_a_long_one_does(shuffle: bool) -> None:
    long, short = trial(shuffle=shuffle), trial(shuffle=shuffle)
    losses = long.run(40)
    assert flat([short.run(n) for n in (1, 0, 2, 7, 3, 20, 0, 7)]) == losses
    assert short.seen == long.seen
    for name in ("epoch", "position", "drawn", "done", "steps"):
        if name not in ("done", "steps"):
            assert short.get(name) == long.get(name), name


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_run_begins_where_the_table_says(shuffle: bool) -> None:
    """As after a checkpoint: the order is drawn anew."""
    batches = expected(10, 3, 30, 4 if shuffle else None)
    one = trial(shuffle=shuffle, seed=4, epoch=3, position=6)
    one.run(10)
    assert one.seen == flat(batches[14:24])
    assert one.get("epoch") == 5


@pytest.mark.parametrize("batches", [True, False])
def test_a_bound_batch_is_what_the_context_holds(batches: bool) -> None:
    one = trial(examples=0)
    assert one.run(4, batches) == [7.0] * 4
    assert one.seen == [7, 8, 9] * 4
    assert (one.get("epoch"), one.get("position")) == (0, 0)


def test_no_steps_change_nothing() -> None:
    one = trial(shuffle=True)
    before = one.table.copy(), one.context.copy()
    assert one.run(0) == []
    assert np.array_equal(one.table, before[0])
    assert np.array_equal(one.context, before[1])
    assert np.isnan(one.losses).all()


def test_rows_are_not_copied_without_a_new_order() -> None:
    one = trial(10, 3, others=[(12, 10), (5, 11)])
    _, _, x, target, _, a, there_a, b, there_b = one.held
    one.run(3)
    starts = [array.ctypes.data + 6 * array[0].nbytes for array in (x, a, b)]
    assert one.context[[X, 10, 11]].tolist() == starts
    assert (target == -1).all()
    assert not there_a.any()
    assert not there_b.any()


ROWS = [*range(1, 140), 192, 255, 256, 257, 784, 3136, 4097]


def test_rows_of_any_length_are_gathered() -> None:
    one = trial(10, 4, shuffle=True, seed=1, others=[(row, 10) for row in ROWS])
    one.run(1)
    chosen = permutation(1, 0, 10)[:4]
    for n, row in enumerate(ROWS):
        source, there = one.held[5 + 2 * n : 7 + 2 * n]
        assert source.shape == (10, row)
        assert np.array_equal(there[:4], source[chosen]), row
        assert not there[4].any(), row
    assert one.context[10] == there.ctypes.data


def test_an_order_of_many_is_that_of_the_reference() -> None:
    """So many that some positions draw a second time (see test_philox)."""
    n = 300_000
    for seed, epoch in [(0, 0), (2**63 + 5, 2**40 + 1)]:
        one = trial(n, n, shuffle=True, seed=seed, epoch=epoch)
        one.run(1)
        assert np.array_equal(one.held[1], permutation(seed, epoch, n))
        assert np.array_equal(one.held[3] - 100, one.held[1])
        assert one.get("drawn") == epoch


@pytest.mark.parametrize("n", [0, 1, 2, 7, 32, 33, 1000])
def test_an_order_is_drawn_without_a_run(n: int) -> None:
    for seed, epoch in [(0, 0), (5, 2**64 - 1), (2**64 - 1, 3)]:
        assert np.array_equal(drawn(seed, epoch, n), permutation(seed, epoch, n))


def test_a_size_that_is_fixed_is_left_alone() -> None:
    one = trial(12, 4, size=-1)
    before = one.context.copy()
    one.run(2)
    assert one.context[SIZE] == 3
    kept = [n for n in range(32) if n not in (X, LOGGED, CALLS)]
    assert np.array_equal(one.context[kept], before[kept])


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["float32", "float64"])
def test_losses_are_kept_as_float64(loss: str) -> None:
    one = trial(20, 1, loss=loss)
    assert one.run(20) == [100.0 + n for n in range(20)]
    assert np.isnan(one.losses[20:]).all()


@pytest.mark.parametrize("capacity", [1, 2, 7])
def test_the_ring_of_losses_begins_again_at_its_end(capacity: int) -> None:
    one = trial(20, 1, capacity=capacity)
    one.run(18)
    kept = {n % capacity: 100.0 + n for n in range(18)}
    assert one.losses.tolist() == [kept[n] for n in range(capacity)]


def test_the_ring_goes_on_from_the_steps_done() -> None:
    one = trial(20, 1, capacity=5, done=3, steps=9)
    library().entry("run")(one.table.ctypes.data)
    assert one.losses.tolist() == [102.0, 103.0, 104.0, 105.0, 101.0]
    assert one.get("done") == 9


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("call", [1, 2, 5])
def test_no_step_begins_after_the_flag_is_set(call: int, shuffle: bool) -> None:
    one = trial(shuffle=shuffle)
    one.context[STOP_AT] = call
    assert len(one.run(100)) == call
    assert one.seen == flat(expected(10, 3, call, 0 if shuffle else None))
    assert one.run(100) == []
    one.table[word("stop")] = 0
    one.run(3)
    assert one.seen == flat(expected(10, 3, call + 3, 0 if shuffle else None))


def test_another_thread_stops_a_run() -> None:
    """The lock of Python is free while it runs; `done` can be watched."""
    one = trial(examples=0)
    one.context[SIZE] = 0  # one row, written over and over
    one.table[word("steps")] = 1 << 60
    entry = library().entry("run")
    thread = threading.Thread(target=entry, args=(one.table.ctypes.data,))
    thread.start()
    until = time.monotonic() + 10
    while one.get("done") < 1000 and time.monotonic() < until:
        time.sleep(0.001)
    one.table[word("stop")] = 1
    thread.join(10)
    assert not thread.is_alive()
    assert 1000 <= one.get("done") == one.context[CALLS] < 1 << 60


# --- the table and the text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"loss_bytes": 2}, "loss_bytes must be 4 or 8"),
        ({"capacity": 0}, "capacity and columns must be at least 1"),
        ({"seed": -1}, "seed must be below"),
        ({"seed": 1 << 64}, "seed must be below"),
        ({"steps": -1}, "steps and done must not be negative"),
        ({"done": -1}, "steps and done must not be negative"),
        ({"examples": -1}, "examples must be at most"),
        ({"examples": (1 << 32) + 1}, "examples must be at most"),
        ({"examples": 3, "batch": 0}, "batch must be at least 1"),
        ({"examples": 3, "batch": 1, "position": 4}, "position must be one of the examples"),
        ({"examples": 3, "batch": 2}, "examples must fill their batches where the size is fixed"),
        ({"position": -1}, "position must be one of the examples"),
        ({"epoch": -1}, "epoch must be at least 0 and below"),
        ({"epoch": 1 << 63}, "epoch must be at least 0 and below"),
    ],
)
def test_a_table_that_the_loop_could_not_run_on_is_refused(
    changed: dict[str, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        replace(Run(8, 8, 8, 4, 8, 1), **changed).table()


def test_the_words_are_those_of_the_fields() -> None:
    run = Run(9, 10, 11, 8, 13, 14, seed=2**64 - 1, streamed=(Streamed(1, 2, 3, 4),) * 2)
    table = run.table()
    assert [int(table[word(name)]) for name in ("context", "loss", "capacity")] == [10, 11, 14]
    assert table[word("seed")] == -1
    assert table[word("size")] == table[word("drawn")] == -1
    assert table[word("streamed") :].tolist() == [2, 1, 2, 3, 4, 1, 2, 3, 4]
    assert len(WORDS) == word("streamed") + 1


@pytest.mark.parametrize("batches", [True, False])
@pytest.mark.parametrize("target", list(SHIPPED))
def test_it_is_complete_on_every_target(target: str, batches: bool) -> None:
    """Neither a copy of memory nor arithmetic of 128 bits is left to a library."""
    code = object_code(STEP + driver("run", batches), SHIPPED[target])
    assert [n for n in undefined(code) if n != "_GLOBAL_OFFSET_TABLE_"] == []


def test_the_text_is_the_same_each_time_and_lists_two_functions() -> None:
    text = driver("run")
    assert text == driver("run")
    assert re.findall(r"^define void @([\w.]+)", text, re.MULTILINE) == ["run", "run.draw"]
    assert "$" not in text
    assert library().names == ("step", "run", "run.draw")


@pytest.mark.parametrize("target", ["x86-64 sse2", "x86-64 avx2", "x86-64 avx512"])
def test_random_words_multiply_halves(target: str) -> None:
    """32 x 32 bits to 64, which there is an instruction for."""
    text = assembly(driver("run"), SHIPPED[target])
    start = text.index("run.words:")
    lines = text[start : text.index(".Lfunc_end", start)].splitlines()
    products = [line.split()[0] for line in lines if "mul" in line]
    vectors = 64 // SHIPPED[target].vector_bytes
    assert products == ["pmuludq" if "sse2" in target else "vpmuludq"] * 2 * vectors
