"""Machine code to read: the model's lines stand between the instructions that came from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codegen.llvm.build import assembly
from codegen.llvm.emit import emit
from codegen.llvm.listing import listing
from codegen.llvm.schedule import native
from codegen.llvm.target import SHIPPED, X86_64_AVX2, Target
from codegen.loops.nest import Loops
from tests.codegen import schedules

NESTS: dict[str, Callable[[], Loops]] = {
    "dense": schedules.dense,
    "classifier": schedules.classifier,
    "layers": schedules.layers,
}


def text_of(name: str, target: Target) -> str:
    return emit(native(NESTS[name](), target, {}), target)


@pytest.mark.parametrize("target", SHIPPED.values(), ids=SHIPPED)
@pytest.mark.parametrize("name", NESTS)
def test_comments_are_all_that_is_added(name: str, target: Target) -> None:
    text = text_of(name, target)
    notes = {line.strip()[2:] for line in text.splitlines() if line.strip().startswith("; ")}
    sign = "// " if target.triple.startswith("aarch64") else "# "
    kept, named = [], set()
    for line in listing(text, target).splitlines():
        note = line.removeprefix(f"\t{sign}")
        if note != line and note in notes:
            named.add(note)
        else:
            kept.append(line)
    assert kept == assembly(text, target).splitlines()
    assert len(named) > len(notes) / 2  # LLVM may give a line's instructions to its neighbour
    assert notes


def test_a_comment_stands_above_the_instructions_of_its_line() -> None:
    lines = listing(text_of("layers", X86_64_AVX2), X86_64_AVX2).splitlines()
    for instruction, line_of_it in (("vfmadd", "layer_"), ("vunpck", "w_")):
        places = [n for n, line in enumerate(lines) if line.startswith(f"\t{instruction}")]
        assert places
        for n in places:
            above = next(line for line in reversed(lines[:n]) if line.startswith("\t# "))
            assert above.startswith(f"\t# {line_of_it}")
