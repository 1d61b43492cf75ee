"""letters: what the indices of an equation are called.

In: an equation, and the letters that values have. Out: a letter for every loop: n for samples, t
for the steps of a recurrence, i, j, k, ... for the rest, in the order they are met.

Guarantees: no two loops of an equation share a letter, and none has a value's.
"""

from __future__ import annotations

from collections.abc import Collection

from codegen.index import Loop
from symprop.explain import notation as nt
from symprop.explain.notation import Equation, Formula

__all__ = ["clock_of", "letters_of"]

LETTERS = "ijklmpqrsuvwabcdefgh"
CLOCKS = "tsrk"  # letters of the step of a recurrence


def clock_of(taken: Collection[str]) -> str:
    """The letter of the step of a recurrence: t where no value is called so."""
    return next((c for c in CLOCKS if c not in taken), "t")


def letters_of(equation: Equation, taken: Collection[str] = ()) -> dict[Loop, str]:
    """A letter for every index: n for samples, t for steps, i, j, k, ... for the others."""
    clock = clock_of(taken)
    found = dict.fromkeys(_clocks(equation), clock)
    free = iter([c for c in LETTERS if c not in taken and c != clock])
    samples = [
        f.at for f in _items(equation) if isinstance(f, nt.Sym | nt.Flat) and f.at is not None
    ]
    for f in _items(equation):
        if isinstance(f, nt.Ref | nt.Flat) and f.index and f.symbol.batch is not None:
            at = f.index[f.symbol.batch if isinstance(f, nt.Ref) else 0].atom
            samples += [at] if isinstance(at, Loop) else []
    for v in samples:
        if v not in found:
            found[v] = "n" + "′" * sum(w.startswith("n") for w in found.values())
    every = list(equation.loops)
    for f in _items(equation):
        if isinstance(f, nt.Total):
            every += f.loops
        if isinstance(f, nt.Along):
            every.append(f.over)
    for v in every:
        if v not in found:
            found[v] = next(free, f"i{len(found)}")
    return found


def _clocks(equation: Equation) -> list[Loop]:
    """The loops over the steps of a recurrence."""
    found: list[Loop] = []
    for f in _items(equation):
        if isinstance(f, nt.Sym | nt.Flat) and f.symbol.step is not None and f.at is not None:
            found.append(f.at)
        if isinstance(f, nt.Ref | nt.Flat) and f.symbol.step is not None and f.index:
            atom = f.index[0].atom
            found += [atom] if isinstance(atom, Loop) else []
    return found


def _items(equation: Equation) -> list[Formula]:
    sides = (equation.left, *equation.middle, equation.right)
    return [f for side in sides for f in nt.inside(side)]
