"""The arithmetic of a compiled function as text: it tells code that was measured from other code.

In: a compiled function of numbers. Out: a line for each of its operations; their digest.

Functions of `codegen.vector_math` are written out, so that another coefficient is another text. The
loops around the formulas are not in it, nor the machine: neither says what is computed. Of
backends that do not inline these functions the text is the code itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from hashlib import blake2b

from codegen import program as p
from codegen.functions import function
from codegen.vector_math import FORMULAS, expand
from symprop.accuracy.subjects import Compiled

__all__ = ["arithmetic", "digest"]

INLINING = ("native",)  # backends whose functions are all of vector_math
OWN = ("value", "op", "dtype", "places", "function", "buffer", "indices", "guards", "ix")


def digest(compiled: Compiled) -> str:
    """Sixteen letters, which are others where the function computes another way."""
    text = arithmetic(compiled) if compiled.backend in INLINING else compiled.text
    return blake2b(text.encode(), digest_size=8).hexdigest()


def arithmetic(compiled: Compiled) -> str:
    """Every operation of the function, and of the functions that it calls."""
    program = compiled.made.program
    places = {b.name: f"buffer {n}" for n, b in enumerate(program.buffers)}
    lines, called = [compiled.dtype], dict[str, None]()
    for step in program.steps:
        assert isinstance(step, p.Assign)  # numbers have no other steps
        lines.append(f"{places[step.target]} {step.op}")
        for part, text in _parts(step.body, places):
            lines.append(text)
            if isinstance(part, p.Call) and part.function in FORMULAS:
                called[part.function] = None
    for name in called:
        arguments = tuple(p.Load(f"argument {n}") for n in range(function(name).arity))
        written = expand(name, arguments, compiled.dtype)  # type: ignore[arg-type]
        lines += [name, *(text for _, text in _parts(written, {}))]
    return "\n".join(lines)


def _parts(root: p.Scalar, names: Mapping[str, str]) -> Iterator[tuple[p.Scalar, str]]:
    """Each part of a formula once, after its operands, which a line names by their numbers."""
    numbers: dict[int, int] = {}
    left = [(root, False)]
    while left:
        part, ready = left.pop()
        if id(part) in numbers:
            continue
        operands = p.children(part)
        if not ready:
            left += [(part, True), *((x, False) for x in reversed(operands))]
            continue
        numbers[id(part)] = len(numbers)
        own = [str(getattr(part, f.name)) for f in fields(part) if f.name in OWN]
        texts = [type(part).__name__, *(names.get(text, text) for text in own)]
        yield part, " ".join([*texts, *(str(numbers[id(x)]) for x in operands)])
