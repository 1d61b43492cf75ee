"""Random schedules: whatever is accepted keeps values, and the verifier accepts it."""

from __future__ import annotations

from random import Random

import pytest

from codegen.loops.directives import (
    Cut,
    Directive,
    Fuse,
    Layout,
    Localise,
    Outline,
    Pack,
    Pad,
    Parallel,
    Privatise,
    RegisterBlock,
    Reorder,
    ScheduleError,
    Split,
    Unroll,
    Vectorise,
)
from codegen.loops.nest import Declare, For, Loops, Part
from codegen.loops.schedule import apply
from codegen.loops.walk import inside
from tests.codegen.schedules import (
    agree,
    classifier,
    convolution,
    dense,
    embedding,
    weight_step,
)

PROGRAMS = (
    dense(unit=5),
    dense(batch=7, pixel=5, unit=4),
    classifier(unit=3, digit=5),
    weight_step(unit=3, pixel=4),
    convolution(side=4, channel=2, features=3, pooled=True),
    embedding(),
)
STEPS = 14  # directives tried in one schedule; about half of them are refused


def random_directive(loops: Loops, r: Random) -> Directive:
    """Names that are there, in combinations that may be wrong."""
    stmts = [*inside(loops.body), *(s for k in loops.kernels for s in inside(k.body))]
    parts = [s for s in stmts if isinstance(s, Part)]
    where = r.choice(parts)
    names = list(dict.fromkeys(s.name for s in inside(where.body) if isinstance(s, For))) or ["i"]
    arrays = [*loops.arrays, *(s.array for s in stmts if isinstance(s, Declare))]
    part, name, array = where.name, r.choice(names), r.choice(arrays)
    several = r.sample(names, r.randrange(1, len(names) + 1))
    rank = len(array.dims)
    cut = tuple((n, r.choice([2, 3])) for n in range(rank) if r.random() < 0.3)
    order = tuple(r.sample(range(rank + len(cut)), rank + len(cut)))
    tile = tuple((n, r.choice([1, 2, 3, 4])) for n in names if n in several)
    return r.choice(
        [
            Split(part, name, size=r.choice([1, 2, 3, 5])),
            Split(part, name, parts=r.choice([2, 3])),
            Cut(part, name, r.choice([(1,), (1, -1), (2,), (-1,)])),
            Reorder(part, tuple(several)),
            Reorder(part, tuple(several)),
            Vectorise(part, name),
            Unroll(part, name),
            Parallel(part, name),
            RegisterBlock(part, tile, lanes=r.random() < 0.5, rolled=r.random() < 0.3),
            RegisterBlock(part, tile[:2]),
            Privatise(part, name, r.choice([2, 3])),
            Pack(part, array.name, order, cut),
            Layout(array.name, order, cut),
            Pad(array.name, r.randrange(max(1, rank)), r.choice([1, 4]), r.choice([0, 1])),
            Outline(part, r.choice(["kernel_a", "kernel_b"])),
            Fuse(part, r.choice(parts).name),
            Localise(part, array.name),
        ]
    )


# Found among thousands of seeds: kernels that call each other, parts that need what holds around,
# digits of a mixed radix, storage that a kernel is handed, new loops named like one around them,
# sums in parts of which a block has some lanes only.
FOUND = (197, 211, 332, 551, 768, 955, 1252, 2752, 3927, 4777, 466, 3144, 6808, 4874)


@pytest.mark.parametrize("seed", [*range(36), *FOUND])
def test_a_random_schedule_keeps_values(seed: int) -> None:
    r = Random(seed)
    before = loops = PROGRAMS[seed % len(PROGRAMS)]
    accepted: list[Directive] = []
    for _ in range(STEPS):
        directive = random_directive(loops, r)
        try:
            loops = apply(loops, directive)
        except ScheduleError:
            continue
        accepted.append(directive)
    assert loops.schedule == tuple(accepted)
    agree(before, accepted, batches=(1, 5), exact=False)
