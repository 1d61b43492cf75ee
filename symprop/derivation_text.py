"""The page of a derivation as text.

In: a ``Derivation``. Out: headings, numbered lines with their counts, a table of the rules.
Guarantees: 100 columns where formulas allow it; long pages are cut in the middle of a stage, and
say by how much; nothing but the lines' own text, which holds legal names only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symprop.derivation import Derivation, Line

__all__ = ["line", "page"]

LIMIT = 200  # lines of a stage: past it the rest is counted, not shown
HEADINGS = {
    "forward": ("Forward: what was declared",),
    "backward": (
        "Backward: the chain rule, from the result up to the variables",
        "  d_x is the derivative of the result with respect to x. A step passes to each of its",
        "  operands its own derivative times that of the step, summed where values were repeated.",
    ),
    "simplify": ("Simplification: the same values, cheaper",),
}


def page(d: Derivation) -> str:
    """The whole page."""
    parts = [f"{d.title}, derived in {len(d.lines)} steps", _counted(d)]
    for stage, heading in HEADINGS.items():
        own = [one for one in d.lines if one.stage == stage]
        if own:
            parts += ["", *heading, *map(line, own[:LIMIT])]
        if len(own) > LIMIT:
            parts.append(f"... and {len(own) - LIMIT} more")
    parts += ["", *_summary(d)]
    return "\n".join(parts)


def _counted(d: Derivation) -> str:
    sizes = ", ".join(f"{n} = {k}" for n, k in d.sizes.items())
    where = f" at {sizes}" if sizes else ""
    return (
        f"Operations on numbers are counted{where}; [a -> b] is the total before and after a step."
    )


def line(one: Line) -> str:
    """One step: number, rule, place, counts; then before and after."""
    return "\n".join([_head(one), *_body(one)])


def _head(one: Line) -> str:
    before, after = one.operations
    counts = f"[{before:,} -> {after:,}]" if before != after else f"[{after:,}]"
    if not one.needed:
        counts = "[not needed for the result]"
    rule = one.rule + (f" inside {one.block}" if one.block else "")
    if one.stage == "simplify":
        rule = f"{rule}: {one.algebra}   ({one.kind})"
    place = f"   {one.place}" if one.place else ""
    return f"{one.number:3}. {rule}{place}   {counts}"


def _body(one: Line) -> list[str]:
    pad = " " * 5
    if one.stage == "simplify":
        return [f"{pad}   {one.before}", f"{pad}-> {one.after}"]
    if one.before:
        return [f"{pad}through {one.before}", f"{pad}{one.after}"]
    return [f"{pad}{one.after}"]


def _summary(d: Derivation) -> list[str]:
    """How often each rule was used and what it saved."""
    rows = [
        (r.name, str(r.times), f"{r.operations:+,}" if r.operations else "0", r.kind)
        for r in d.rules
    ]
    if not rows:
        return [f"Total: {d.simplified:,} operations."]
    head = ("rule", "times", "operations", "rounding")
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(4)]
    found = ["Summary"]
    for row in (head, *rows):
        a, b, c, k = row
        found.append(f"  {a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {k}".rstrip())
    saved = d.derived - d.simplified
    share = f", {100 * saved / d.derived:.0f} % less" if saved > 0 else ""
    found.append(f"Total: {d.derived:,} operations as derived, {d.simplified:,} simplified{share}.")
    return found
