"""The whole table: importing this module declares every case of `CASES`.

In: the files `cases_*.py`, each a chapter.  Out: `CASES`, in chapter order.
"""

from __future__ import annotations

from . import (
    cases_elementwise,
    cases_images,
    cases_layers,
    cases_networks,
    cases_normalise,
    cases_sequences,
    cases_structure,
    cases_windows,
)
from .table import CASES, Case, Reference, declare, read_reference

__all__ = [
    "CASES",
    "CHAPTERS",
    "Case",
    "Reference",
    "declare",
    "read_reference",
]

CHAPTERS = (
    cases_networks,
    cases_elementwise,
    cases_normalise,
    cases_images,
    cases_layers,
    cases_sequences,
    cases_structure,
    cases_windows,
)
