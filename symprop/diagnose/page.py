"""A diagnosis as text, as a table on a terminal, as HTML and as data.

In: the numbers and the findings. Out: `Diagnosis`. Guarantees: all four show the same cells; names
are escaped where they could act (HTML, terminal colours, control characters); numbers that are not
finite are null in JSON. Rich is imported when a table is printed, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from textwrap import fill
from typing import Any

from symprop.diagnose.findings import Finding, usual
from symprop.diagnose.measure import LayerRow, Measured, ParameterRow
from symprop.errors import quoted

__all__ = ["Diagnosis"]

FORWARD = (
    "layer", "shape", "z mean", "z std", "z max", "z gain", "predicted", "f", "h std",
    "h = 0", "flat", "dead",
)  # fmt: skip
BACKWARD = ("layer", "delta rms", "delta max", "delta gain", "predicted")
PARAMETERS = ("parameter", "shape", "rms", "gradient rms", "update / weight")
GAINS = (
    "A gain is a ratio of rms values: of z to that of the layer before (of the first layer: "
    "to the data), of delta to that of the layer after. Predicted: from the variance of the "
    "weights and f' under a normal z, sqrt(fan_in*Var(w)*E f(z)^2 + E b^2) for z and "
    "sqrt(fan_out*Var(w)*E f'(z)^2) for the gain of delta."
)
# The column without which a sentence is left out, and the sentence.
LEGEND = (
    ("z max", "z is a pre-activation, delta the gradient of the loss with respect to it."),
    ("f", "h = f(z) is what follows it."),
    ("z max", GAINS),
    ("h = 0", "h = 0: elements that are exactly 0."),
    ("flat", "Flat: elements on a tail of f."),
    ("dead", "Dead: units without a slope on every example."),
)
WIDTH = 100
NO_LAYERS = (
    "No product of weights with data was found outside of scans, so only parameters are shown."
)


@dataclass(frozen=True)
class Diagnosis:
    """Numbers a layer and a parameter on one batch, and what they say.

    `rows` are the layers in the order of computation, `parameters` the parameters in that of
    declaration, `findings` the sentences with their cures, gravest first.
    """

    measured: Measured
    findings: tuple[Finding, ...]

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The layers."""
        return self.measured.layers

    @property
    def parameters(self) -> tuple[ParameterRow, ...]:
        """The parameters."""
        return self.measured.parameters

    @property
    def sentences(self) -> list[str]:
        """What there is to know, one sentence or two each."""
        found = [str(f) for f in self.findings]
        if not found:
            found = [usual(self.measured)]
        if not self.rows:
            found.append(NO_LAYERS)
        for name in self.measured.scans:
            found.append(f"What happens inside of the scan {quoted(name)} is not shown.")
        return found

    # --- cells -------------------------------------------------------------------------------

    def tables(self) -> list[tuple[Sequence[str], list[list[str]]]]:
        """Headings and cells, all text: forward, backward, parameters."""
        found: list[tuple[Sequence[str], list[list[str]]]] = []
        if self.rows:
            found.append(used(FORWARD, [forward_cells(row) for row in self.rows]))
            found.append((BACKWARD, [backward_cells(row) for row in reversed(self.rows)]))
        found.append((PARAMETERS, [parameter_cells(p) for p in self.parameters]))
        return found

    @property
    def legend(self) -> str:
        """What the headings mean, those that are there."""
        shown = {h for headings, _ in self.tables() for h in headings}
        return " ".join(text for heading, text in LEGEND if heading in shown)

    def __str__(self) -> str:
        parts = [f"loss on this batch: {self.measured.loss:.4g}"]
        parts += [aligned(headings, cells) for headings, cells in self.tables()]
        notes = [*([self.legend] if self.rows else []), *self.sentences]
        parts += [fill(n, WIDTH, break_long_words=False, break_on_hyphens=False) for n in notes]
        return "\n\n".join(parts)

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.table import Table
        from rich.text import Text

        yield Text(f"loss on this batch: {self.measured.loss:.4g}\n")
        for headings, rows in self.tables():
            table = Table(pad_edge=False, box=None, padding=(0, 1, 0, 0), header_style="bold")
            for k, heading in enumerate(headings):
                table.add_column(heading, justify="left" if k < 1 else "right", overflow="fold")
            for cells in rows:
                table.add_row(*(Text(printable(c)) for c in cells))
            yield table
            yield Text("")
        if self.rows:
            yield Text(self.legend, style="dim")
        style = "bold red" if self.findings else "bold green"
        for sentence in self.sentences:
            yield Text(f"\n{printable(sentence)}", style=style)

    def print(self) -> None:
        """Show it on the terminal, in colour."""
        from rich.console import Console

        Console().print(self)

    def _repr_html_(self) -> str:
        parts = [f"<p>loss on this batch: {self.measured.loss:.4g}</p>"]
        for headings, rows in self.tables():
            head = "".join(f"<th>{escape(h)}</th>" for h in headings)
            body = "".join(
                f"<tr>{''.join(f'<td>{escape(printable(c))}</td>' for c in cells)}</tr>"
                for cells in rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p>{escape(self.legend)}</p>"] if self.rows else []
        parts += [f"<p><strong>{escape(s)}</strong></p>" for s in self.sentences]
        return "<div>" + "".join(parts) + "</div>"

    # --- data ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data for the json module; a number that is not finite is None."""
        found = {
            "loss": self.measured.loss,
            "layers": [asdict(row) for row in self.rows],
            "parameters": [asdict(p) for p in self.parameters],
            "findings": [asdict(f) for f in self.findings],
            "sentences": self.sentences,
            "scans": list(self.measured.scans),
        }
        cleaned: dict[str, Any] = plain(found)
        return cleaned


def forward_cells(row: LayerRow) -> list[str]:
    """One layer on the way forward, as text; "" where a number does not apply."""
    return [
        row.name,
        " x ".join(map(str, row.shape)) or "scalar",
        number(row.before.mean),
        number(row.before.std),
        number(row.before.largest),
        number(row.forward),
        number(row.forward_predicted),
        row.activation,
        number(row.after.std) if row.after else "",
        percent(row.zero),
        percent(row.saturated),
        percent(row.dead),
    ]


def backward_cells(row: LayerRow) -> list[str]:
    """One layer on the way back."""
    gains = [number(row.backward), number(row.backward_predicted)]
    if row.delta is None:
        return [row.name, "none", "none", *gains]
    return [row.name, number(row.delta.rms), number(row.delta.largest), *gains]


def parameter_cells(row: ParameterRow) -> list[str]:
    """One parameter as text."""
    shape = " x ".join(map(str, row.shape)) or "scalar"
    return [row.name, shape, number(row.value.rms), number(row.gradient.rms), number(row.update)]


def number(x: float | None) -> str:
    """Two digits: scales are compared, not computed with."""
    return "" if x is None else f"{x:.2g}"


def percent(x: float | None) -> str:
    """A share in percent; "<1%" for what is little but not nothing."""
    if x is None:
        return ""
    return "<1%" if 0 < x < 0.005 else f"{x:.0%}"


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def used(
    headings: Sequence[str], rows: Sequence[list[str]]
) -> tuple[Sequence[str], list[list[str]]]:
    """The columns that hold something."""
    chosen = [k for k in range(len(headings)) if any(cells[k] for cells in rows)]
    return [headings[k] for k in chosen], [[cells[k] for k in chosen] for cells in rows]


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    lines = [list(headings), *([printable(c) for c in cells] for cells in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headings))]
    shown = []
    for line in lines:
        first = line[0].ljust(widths[0])
        rest = (c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))
        shown.append("  ".join([first, *rest]).rstrip())
    return "\n".join(shown)


def plain(x: Any) -> Any:
    """Data that JSON can hold."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None
    return x
