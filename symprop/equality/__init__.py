"""equality: are two expressions equal for all values of their variables? What ``prop.same`` asks.

    same           the question and its answer
    proof          a normal form: equal for certain
    comparison     both evaluated side by side, at 60 digits
    sampling       the points at which they are
    thresholds     points around the numbers that they compare with
    relations      what one is of the other where they differ: a hint
    named_values   the values inside that a hint may name
    number_text    numbers of a counterexample as text

In: two expressions. Out: ``Same``. Guarantees: those of ``symprop.equality.same``.
"""

from __future__ import annotations

from symprop.equality.same import Same, same

__all__ = ["Same", "same"]
