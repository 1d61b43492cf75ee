"""What a check found, for a reader and for a program.

In: rows and sentences. Out: `Check`: `ok`, `rows`, `problems`, text, `to_json`.

Guarantees: `ok` is true only where every remainder has order 2 and every backend keeps its bound;
equal checks give equal text; names of the user are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Row"]


@dataclass(frozen=True)
class Row:
    """A parameter's gradient, or the loss itself (`order` is then None).

    `shares`: by backend and dtype, the largest error as a share of the bound that rounding has.
    """

    name: str
    order: float | None
    right: bool
    shares: Mapping[tuple[str, str], float]

    @property
    def kept(self) -> bool:
        """Whether every backend keeps the bound."""
        return all(share <= 1 for share in self.shares.values())


@dataclass(frozen=True)
class Check:
    """The findings of `prop.check`; `sizes` are those of the free dimensions."""

    name: str
    sizes: Mapping[str, int]
    rows: Sequence[Row]
    problems: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _lines(self) -> list[str]:
        said = "every gradient is right" if self.ok else "something is wrong"
        sizes = ", ".join(f"{_plain(n)} = {size}" for n, size in self.sizes.items())
        lines = [f"{_plain(self.name)}: {said}"]
        if sizes:
            lines.append(f"checked with {sizes}")
        keys = list(self.rows[0].shares)
        head = ["", "order", *(f"{backend} {dtype}" for backend, dtype in keys)]
        table = [head, *([_plain(r.name), _order(r.order), *map(_share, r.shares.values())]
                         for r in self.rows)]  # fmt: skip
        widths = [max(len(row[k]) for row in table) for k in range(len(head))]
        for row in table:
            cells = [row[0].ljust(widths[0])]
            cells += [text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines += [
            "order: of the remainder of a gradient; 2 is right, 1 is wrong, - has no remainder.",
            "backends: the largest error as a share of what rounding may cost; at most 1 is right.",
        ]
        return [*lines, *(f"WRONG: {problem}" for problem in self.problems)]

    def to_json(self) -> dict[str, Any]:
        """Data for a program; null is no number."""
        rows = [
            {
                "name": r.name,
                "order": _finite(r.order),
                "right": r.right and r.kept,
                "shares": {f"{b} {d}": _finite(share) for (b, d), share in r.shares.items()},
            }
            for r in self.rows
        ]
        return {
            "name": self.name,
            "ok": self.ok,
            "sizes": dict(self.sizes),
            "rows": rows,
            "problems": list(self.problems),
        }


def _plain(text: str) -> str:
    """A name that cannot garble a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _order(order: float | None) -> str:
    return "" if order is None else "-" if math.isinf(order) else f"{order:.3f}"


def _share(share: float) -> str:
    return "no number" if math.isinf(share) or math.isnan(share) else f"{share:.2g}"


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None
