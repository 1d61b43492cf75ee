"""The readable printing of nests: golden text, hostile names, width."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from building import mlp_training
from nests import BATCH, array, at, each, everything, ix, nest, num, put

from codegen.index import Ix, constant
from codegen.loops.directives import Directive, Init, Pack, Reorder, Split, Vectorise
from codegen.loops.from_program import from_program
from codegen.loops.listing import listing, spell_directive, spell_for
from codegen.loops.nest import Declare, Part
from codegen.program import Binary, IndexValue, Number

EVERYTHING = """\
loops show(batch)
  # Every statement once.
  input      x : float32[batch, pixel=4]
  parameter  w : float32[unit=3, pixel=4]   "dense.weight"
  constant   b : float32[unit=3] = 1.0, 2.0, 3.0
  scratch    h : float32[batch, unit=3]
  scratch    xs : float32[batch, pixel=4]
  scratch    total : float32[unit=3]

  # h = (x Wᵀ + b) / size of batch
  part h:
    for batch:
      for unit<3:
        acc : float32 = b[unit]
        for pixel<4:
          acc += x[batch, pixel] * w[unit, pixel]
        h[batch, unit] = acc / size(batch)

  # xs = x
  part xs:
    parallel row<batch:
      tile : float32[lane=4]
      vector lane<4:
        tile[lane] = x[row, lane]
      unroll copy<4:
        xs[row, copy] = tile[copy]

  part total:
    for unit<3:
      total[unit] = 0
    for batch:
      below(h, total; batch)

  return h, xs, total

kernel below(batch; n<batch)
  # Sums below the diagonal.
  reads      h : float32[batch, unit=3]
  writes     total : float32[unit=3]

  where n - 1 >= 0:
    total[0] max= h[n - 1, 0]
  for i<3:
    for max(0, i - 1) <= j < min(3, i + 1):
      total[i] += h[n, j]

schedule
  Split("xs", "pixel", size=4)
  Vectorise("xs", "pixel_inner")
"""


def test_every_statement_prints() -> None:
    assert listing(everything()) == EVERYTHING
    assert str(everything()) == EVERYTHING


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        ((), (), "for j<5"),
        ((), (ix(0, 5) + 1,), "for j < min(5, i + 1)"),
        ((constant(2),), (), "for 2 <= j < 5"),
        ((constant(0),), (), "for j < 5"),
        ((ix(0, 5) - 2,), (), "for max(0, i - 2) <= j < 5"),
        ((ix(0, 5), ix(0, 5) * 2 - 3), (ix(0, 5) + 1, ix(0, 5) * 2),
         "for max(i, 2*i - 3) <= j < min(5, i + 1, 2*i)"),
    ],
)  # fmt: skip
def test_narrowed_loops_show_their_bounds(
    low: tuple[Ix, ...], high: tuple[Ix, ...], text: str
) -> None:
    (i,) = ix(0, 5).loops
    assert spell_for(each(1, "j", 5, low=low, high=high), {i: "i"}) == text


@pytest.mark.parametrize(
    ("directive", "text"),
    [
        (Split("h", "unit", size=16), 'Split("h", "unit", size=16)'),
        (Split("h", "unit", parts=5), 'Split("h", "unit", parts=5)'),
        (Reorder("a to b", ("j", "i")), 'Reorder("a to b", ("j", "i"))'),
        (Vectorise("h", "unit"), 'Vectorise("h", "unit")'),
        (Pack("h", "w", (1, 0)), 'Pack("h", "w", (1, 0))'),
        (Pack("h", "w", (0,)), 'Pack("h", "w", (0,))'),
        (Init("h", 'b"\n# x'), 'Init("h", "b\' # x")'),
    ],
)
def test_a_schedule_prints_as_it_is_written(directive: Directive, text: str) -> None:
    assert spell_directive(directive) == text


def test_a_dimension_that_a_loop_is_called_after_is_its_size_inside() -> None:
    n = BATCH.ix()
    value = Binary("+", IndexValue(n), IndexValue(n - 1 - ix(0, n)))
    text = listing(nest(each(0, "batch", n, put("out", (ix(0, n),), "=", value)),
                        put("last", (), "=", IndexValue(n)),
                        arrays=(array("out", "batch"), array("last"))))  # fmt: skip
    assert "    out[batch] = size(batch) + (size(batch) - batch - 1)\n" in text
    assert "  last = batch\n" in text


def test_numbers_of_the_limits_of_a_dtype_are_exact() -> None:
    values = [2**63 - 1, -(2**63), 2**64 - 1]
    stores = [put("out", (), "=", Number(Fraction(v))) for v in values]
    stores += [put("out", (), "=", Number("-inf")), put("out", (), "=", num(1e300))]
    text = listing(nest(*stores, arrays=(array("out"),)))
    lines = [line.removeprefix("  out = ") for line in text.splitlines() if "out =" in line]
    assert lines == [*map(str, values), "-inf", "1e300"]


def test_a_register_shares_a_line_with_its_first_value_only() -> None:
    text = listing(nest(
        Declare(array("a")), put("a", (), "+=", num(1)),
        Declare(array("b", "lane=2")), put("b", (0,), "=", num(1)),
        Declare(array("c")), put("a", (), "=", num(1)),
    ))  # fmt: skip
    assert text.splitlines()[3:-2] == [
        "  a : float32", "  a += 1",
        "  b : float32[lane=2]", "  b[0] = 1",
        "  c : float32", "  a = 1",
    ]  # fmt: skip


def test_hostile_names_stay_on_their_line() -> None:
    loops = nest(Part('p"\n\x1b[31m', (put("out", (), "=", num(1)),), "y = x\n\x1b[31m\u202e"),
                 arrays=(array("out", label='a"""\n'),))  # fmt: skip
    text = listing(replace(loops, doc='"""\n\\'))
    assert all(line.isprintable() for line in text.splitlines())
    assert "part p' ?[31m:" in text


def test_lines_stay_within_the_width() -> None:
    text = listing(from_program(mlp_training()))
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith("\n")
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_arrays_are_read_at_their_declared_names() -> None:
    text = listing(nest(each(0, "i", 4, put("out", (), "=", at("x", 0, ix(0, 4)))),
                        arrays=(array("out"),), outputs=("out", "x")))  # fmt: skip
    assert text.endswith("  for i<4:\n    out = x[0, i]\n\n  return out, x\n")
