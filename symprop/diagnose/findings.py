"""What the numbers of a diagnosis say, in sentences, and what can be done about it here.

In: `Measured` numbers. Out: `Finding`s, the gravest first: a kind, the places, a sentence made of
the numbers, cures. Guarantees: a sentence appears only where its numbers pass the named threshold;
where one of them is not finite, the first such place is named and nothing else is concluded; every
cure is a name that symprop has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from symprop.diagnose.activations import FLAT
from symprop.diagnose.measure import LayerRow, Measured, ParameterRow
from symprop.diagnose.numbers import Scale
from symprop.errors import quoted

__all__ = ["CURES", "Finding", "findings", "usual"]

# From the last layer to the first, a gradient (or, the other way, a signal) that changes by this
# factor: the layers at one end learn a thousand times slower than those at the other.
FAR = 1e3
# A scale is kept where no layer changes it by more than the first factor (ten outputs above 64 ReLU
# units shrink a gradient by 0.4, which harms nothing), and all of them together by the second.
KEPT, KEPT_IN_ALL = 3.0, 10.0
# Deep ReLU networks make examples alike: with He's weights, at depths up to 30, batches of 16 to
# 128 and ten seeds, at most 0.59 of a layer's units were at 0 on every example. More is a fault.
MANY_DEAD = 0.7
# tanh of a normal variable is flat for half of its values when its deviation is 3.2: well out.
MANY_SATURATED = 0.5
# A step usually changes weights by a thousandth of their size; a third is no small step any more.
LARGE_UPDATE = 0.3
# A greatest slope so small shrinks the gradient in every layer, unless the weights are large.
SMALL_SLOPE = 0.5


@dataclass(frozen=True)
class Finding:
    """One thing to know: `where` are layers or parameters, `cures` what helps, by name."""

    kind: str
    where: tuple[str, ...]
    sentence: str
    cures: tuple[str, ...]

    def __str__(self) -> str:
        if not self.cures:
            return self.sentence
        return f"{self.sentence} What helps: {'; '.join(self.cures)}."


# Each cure names what symprop has: the tests look every `prop.` name up.
CURES: dict[str, tuple[str, ...]] = {
    "not finite": (
        "a smaller learning rate",
        "weights drawn by prop.He(), prop.Glorot() or prop.LeCun()",
        "clip=prop.ClipGlobalNorm(1.0) in prop.training_step",
        "check_finite=True in compile, which refuses such data",
    ),
    "gradient vanishes": (
        "prop.relu, prop.leaky_relu or prop.gelu with prop.He() weights",
        "a residual connection x + f(x)",
        "prop.layer_norm or prop.batch_norm between the layers",
    ),
    "weights too small": (
        "weights drawn by prop.He() before prop.relu, by prop.Glorot() before prop.tanh",
        "a residual connection x + f(x)",
        "prop.layer_norm or prop.batch_norm between the layers",
    ),
    "gradient explodes": (
        "weights drawn by prop.He(), prop.Glorot() or prop.Orthogonal()",
        "prop.layer_norm or prop.batch_norm between the layers",
        "clip=prop.ClipGlobalNorm(1.0) in prop.training_step",
    ),
    "signal fades": (
        "weights drawn by prop.He() before prop.relu, by prop.Glorot() before prop.tanh",
        "prop.layer_norm or prop.batch_norm between the layers",
    ),
    "signal grows": (
        "weights drawn by prop.He(), prop.Glorot() or prop.Orthogonal()",
        "prop.layer_norm or prop.batch_norm between the layers",
    ),
    "dead units": (
        "biases that start at prop.Zeros()",
        "prop.leaky_relu or prop.elu, whose slope is nowhere 0",
        "weights drawn by prop.He()",
        "a smaller learning rate",
    ),
    "saturated": (
        "smaller weights, such as those of prop.Glorot() or prop.LeCun()",
        "prop.layer_norm or prop.batch_norm before the activation",
        "data of mean 0 and standard deviation 1",
    ),
    "large update": (
        "a smaller learning rate",
        "clip=prop.ClipGlobalNorm(1.0) in prop.training_step",
    ),
    "no gradient": (
        "weights drawn by prop.He() or prop.Glorot() instead of prop.Zeros()",
        "prop.leaky_relu where units are dead",
    ),
}


def findings(measured: Measured) -> tuple[Finding, ...]:
    """All findings; empty where nothing is unusual."""
    broken = not_finite(measured)
    if broken is not None:
        return (broken,)
    found: list[Finding] = []
    found += gradient_trend(measured)
    found += signal_trend(measured)
    found += shares(measured)
    found += parameters(measured)
    return tuple(found)


def finding(kind: str, where: Sequence[str], sentence: str) -> Finding:
    return Finding(kind, tuple(where), sentence, CURES[kind])


# --- numbers that are none -----------------------------------------------------------------------


def places(measured: Measured) -> Iterator[tuple[str, str, Scale]]:
    """Every measured value in the order of computation: what it is, its name, its scale."""
    for name, scale in measured.data.items():
        yield "the data", name, scale
    for p in measured.parameters:
        yield "the parameter", p.name, p.value
    for row in measured.layers:
        yield "the pre-activation of", row.name, row.before
        if row.after is not None:
            yield f"{row.activation} of", row.name, row.after
    loss = abs(measured.loss)
    yield "the loss, which is computed from", last(measured), Scale(loss, 0.0, loss, loss)
    for row in reversed(measured.layers):
        if row.delta is not None:
            yield "the gradient of the pre-activation of", row.name, row.delta
    for p in measured.parameters:
        yield "the gradient of", p.name, p.gradient


def last(measured: Measured) -> str:
    """The last layer, or the first parameter where no layer was seen."""
    rows: Sequence[LayerRow | ParameterRow] = measured.layers or measured.parameters[:1]
    return rows[-1].name


def not_finite(measured: Measured) -> Finding | None:
    """The first place, in the order of computation, that is not finite."""
    for what, name, scale in places(measured):
        if not scale.finite:
            return finding(
                "not finite", [name],
                f"The first numbers that are not finite are in {what} {quoted(name)}: what is "
                "computed from them means nothing.",
            )  # fmt: skip
    return None


# --- from layer to layer -------------------------------------------------------------------------


def by_depth(
    measured: Measured, number: Callable[[LayerRow], float | None]
) -> list[tuple[LayerRow, float]]:
    """At each depth the layer where the number is greatest, first depth first.

    The strongest of parallel layers counts: gradients reach what is below through it.
    """
    found: dict[int, tuple[LayerRow, float]] = {}
    for row in measured.layers:
        own = number(row) if row.product else None
        if own is not None and (row.depth not in found or own > found[row.depth][1]):
            found[row.depth] = (row, own)
    return [found[depth] for depth in sorted(found)]


def per_layer(total: float, layers: int) -> float:
    """The geometric mean of the factors of so many layers."""
    return float(total ** (1 / layers)) if layers else 1.0


class Change(NamedTuple):
    """The rms of a quantity at two layers, and how many layers lie between them."""

    start: str
    end: str
    before: float
    after: float
    layers: int

    @property
    def total(self) -> float:
        return self.after / self.before

    @property
    def factor(self) -> float:
        """Of one layer, on average."""
        return per_layer(self.total, self.layers)

    @property
    def way(self) -> str:
        return (
            f"from {quoted(self.start)} to {quoted(self.end)} "
            f"(rms {self.before:.2g} to {self.after:.2g})"
        )


def gradient_change(measured: Measured) -> Change | None:
    """The gradient of the pre-activations, from the last layer to the first."""
    rows = by_depth(measured, lambda row: None if row.delta is None else row.delta.rms)
    while rows and not rows[0][1]:  # exactly 0: dead units, or too small for the width
        rows.pop(0)
    return change(rows[::-1])


def signal_change(measured: Measured) -> Change | None:
    """The pre-activations, from the first layer to the last."""
    rows = by_depth(measured, lambda row: row.before.rms)
    while rows and not rows[-1][1]:  # exactly 0: the units before are dead
        rows.pop()
    return change(rows)


def change(rows: Sequence[tuple[LayerRow, float]]) -> Change | None:
    """From the first of these to the last; None where there are no two, or nothing but 0."""
    if len(rows) < 2 or not rows[0][1]:
        return None
    (start, before), (end, after) = rows[0], rows[-1]
    return Change(start.name, end.name, before, after, abs(end.depth - start.depth))


def gradient_trend(measured: Measured) -> list[Finding]:
    """Whether the gradient vanishes or explodes on its way from the last layer to the first."""
    found = gradient_change(measured)
    if found is None or 1 / FAR <= found.total <= FAR:
        return []
    where, factor = (found.start, found.end), found.factor
    if found.total > 1:
        why = predicted(measured, factor) or "no single layer explains it"
        text = f"The gradient grows by {factor:.2g} a layer {found.way}: it explodes; {why}."
        return [finding("gradient explodes", where, text)]
    slope = slopes(measured)
    why = slope or predicted(measured, factor) or "no single layer explains it"
    text = f"The gradient shrinks by {factor:.2g} a layer {found.way}: it vanishes; {why}."
    cures = CURES["gradient vanishes" if slope else "weights too small"]
    return [Finding("gradient vanishes", where, text, cures)]


def slopes(measured: Measured) -> str:
    """What the activations do to a gradient that vanishes, or ""."""
    rows = [row for row in measured.layers if row.activation and row.steepest is not None]
    flat = [row.saturated for row in rows if row.saturated is not None]
    if flat and sum(flat) / len(flat) > MANY_SATURATED:
        return f"{sum(flat) / len(flat):.0%} of the activations are saturated"
    steepest = {row.activation: row.steepest or 0.0 for row in rows}
    if steepest and max(steepest.values()) <= SMALL_SLOPE:
        name = max(steepest, key=lambda n: steepest[n])
        return f"the derivative of {name} is at most {steepest[name]:.2g}"
    dead = [row.dead for row in rows if row.dead is not None]
    if dead and max(dead) > MANY_DEAD:
        return f"up to {max(dead):.0%} of the units of a layer are dead"
    return ""


def predicted(measured: Measured, factor: float) -> str:
    """What the weights predict, where it points the same way, or ""."""
    gains = [row.backward_predicted for row in measured.layers if row.backward_predicted]
    mean = per_layer(math.prod(gains), len(gains))
    if not gains or (mean > 1) != (factor > 1):
        return ""
    return f"the weights predict {mean:.2g}, which is sqrt(fan_out*Var(w)*E f'(z)^2)"


def signal_trend(measured: Measured) -> list[Finding]:
    """Whether pre-activations fade or grow from the first layer to the last."""
    found = signal_change(measured)
    if found is None:
        return []
    where, by = (found.start, found.end), f"by {found.factor:.2g} a layer {found.way}"
    if found.total < 1 / FAR:
        text = f"The pre-activations shrink {by}: the signal fades."
        return [finding("signal fades", where, text)]
    if found.total > FAR:
        text = f"The pre-activations grow {by}: the signal grows too far."
        return [finding("signal grows", where, text)]
    return []


def usual(measured: Measured) -> str:
    """What there is to say without a finding: how far the scales are kept, from the numbers."""
    above = [row for row in measured.layers if row.product and row.depth > 1]
    looked = [
        (title, found, [g for g in gains if g] or [found.factor])
        for title, found, gains in (
            ("gradient", gradient_change(measured), [row.backward for row in measured.layers]),
            ("pre-activation", signal_change(measured), [row.forward for row in above]),
        )
        if found is not None
    ]
    if not looked:  # one layer has nothing to be compared with
        return "Nothing unusual in the layers and parameters of this network."
    layer = max(away(g) for _, _, gains in looked for g in gains)
    whole = max(away(found.total) for _, found, _ in looked)
    if layer <= KEPT and whole <= KEPT_IN_ALL:
        return (
            "Nothing unusual: gradients and activations keep their scale, within a factor of "
            f"{layer:.2g} from layer to layer and of {whole:.2g} in all."
        )
    said = "; ".join(
        f"the {title} changes {spread(found, gains)}"
        for title, found, gains in looked
        if away(found.total) > KEPT_IN_ALL or max(map(away, gains)) > KEPT
    )
    return f"Nothing extreme: {said}. A factor of {FAR:,.0f} in all, up or down, is reported."


def away(factor: float) -> float:
    """How far from 1, up or down."""
    return max(factor, 1 / factor)


def spread(found: Change, gains: Sequence[float]) -> str:
    """By how much a layer, from where to where, and in all."""
    low, high = f"{min(gains):.2g}", f"{max(gains):.2g}"
    by = low if low == high else f"{low} to {high}"
    text = f"by a factor of {by} a layer {found.way}"
    return text if found.layers == 1 else f"{text}, {found.total:.2g} in all"


# --- in each layer -------------------------------------------------------------------------------


def shares(measured: Measured) -> list[Finding]:
    """Layers whose units are dead, or whose activations are saturated."""
    found = []
    rows = [row for row in measured.layers if (row.dead or 0) > MANY_DEAD]
    if rows:
        worst = max(rows, key=lambda row: row.dead or 0)
        text = (
            f"{worst.dead:.0%} of the units of {quoted(worst.name)} are dead: {worst.activation} "
            f"has no slope there for any example of the batch, so they learn nothing"
        )
        found.append(finding("dead units", [r.name for r in rows], text + more(rows) + "."))
    rows = [row for row in measured.layers if (row.saturated or 0) > MANY_SATURATED]
    if rows:
        worst = max(rows, key=lambda row: row.saturated or 0)
        text = (
            f"{worst.saturated:.0%} of {worst.activation} of {quoted(worst.name)} is saturated: "
            f"its slope is below {FLAT:g} of the steepest"
        )
        found.append(finding("saturated", [r.name for r in rows], text + more(rows) + "."))
    return found


def more(rows: Sequence[LayerRow]) -> str:
    """How many other layers share the fault."""
    others = len(rows) - 1
    return f" ({others} other layer{'s' * (others > 1)} likewise)" if others else ""


def parameters(measured: Measured) -> list[Finding]:
    """Parameters that a step hardly leaves as they were, or leaves exactly so."""
    found = []
    large = [p for p in measured.parameters if (p.update or 0) > LARGE_UPDATE]
    if large:
        worst = max(large, key=lambda p: p.update or 0)
        text = (
            f"The next step changes {quoted(worst.name)} by {worst.update:.2g} of its size: steps "
            "that large overshoot."
        )
        found.append(finding("large update", [p.name for p in large], text))
    still = [p for p in measured.parameters if not p.gradient.largest]
    if still:
        names = ", ".join(quoted(p.name) for p in still[:3]) + (", ..." if len(still) > 3 else "")
        text = f"The gradient of {names} is exactly 0 on this batch: nothing there is learnt."
        found.append(finding("no gradient", [p.name for p in still], text))
    return found
