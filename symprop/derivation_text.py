"""The page of a derivation as text.

In: a ``Derivation``. Out: headings, numbered lines with their counts, a table of the rules, words.
Guarantees: 100 columns where formulas allow it; long pages are cut in the middle of a stage, and
say by how much; nothing but the lines' own text, which holds legal names only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symprop.derivation import Derivation, Line

__all__ = ["WORDS", "line", "page"]

LIMIT = 200  # lines of a stage: past it the rest is counted, not shown
HEADINGS = {
    "forward": ("Forward: what was declared",),
    "backward": (
        "Backward: the chain rule, from the result up to the variables",
        "  d_x is the derivative of the result with respect to x. A step passes to each of its",
        "  operands its own derivative times that of the step, summed where values were repeated.",
    ),
    "simplify": ("Simplification: the same values, never dearer",),
}

# Each rule in plain words; those that a page uses are printed below it.
WORDS = {
    "start": "where the chain rule begins: what no variable can change",
    "chain rule": "the derivative of a step times what has come down to the step",
    "add contributions": "a value with several uses gets the sum of what comes down from each",
    "read through views": "a transpose or slice is not written out: elements are read in place",
    "read through free maps": "a sign or a constant is written where it is used",
    "cancel": "a factor above and below the bar goes, proved not to be 0",
    "pull factors out of sums": "a factor that is the same in every term stands before the sum",
    "drop zero sums": "a sum that is proved to be 0 is left out",
    "residue split": "a sum with gaps of even spacing becomes sums without gaps",
    "drop implied guards": "a condition goes where a factor is 0 outside of it anyway",
    "fuse single use": "a value that is used once is computed where it is used",
    "hoist": "a part that is the same along an axis is computed once",
    "share sums": "sums that are equal but for factors are summed once",
    "simplify blocks": "the body of a loop or of a repeated block, by the same rules",
}


def page(d: Derivation) -> str:
    """The whole page."""
    parts = [f"{d.title}, derived in {len(d.lines)} step{'s' * (len(d.lines) != 1)}", _counted(d)]
    for stage, heading in HEADINGS.items():
        own = [one for one in d.lines if one.stage == stage]
        if own:
            parts += ["", *heading, *map(line, own[:LIMIT])]
        if len(own) > LIMIT:
            parts.append(f"... and {len(own) - LIMIT} more")
    parts += ["", *_summary(d), *_words(d)]
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
    return [f"{pad}{one.after}", *([f"{pad}({one.note})"] if one.note else [])]


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


def _words(d: Derivation) -> list[str]:
    """What the names of the rules on this page mean."""
    rules = (one.rule for one in d.lines if one.stage != "forward")
    used = dict.fromkeys(rule for rule in rules if rule in WORDS)  # the others are the user's
    if not used:
        return []
    width = max(map(len, used))
    return ["", "Words", *(f"  {rule:<{width}}  {WORDS[rule]}" for rule in used)]
