"""The small programs that every text backend is tested with."""

from __future__ import annotations

import numpy_programs_products
import numpy_programs_steps
import numpy_programs_views
from numpy_checks import Case

__all__ = ["CASES", "Case"]

CASES: tuple[Case, ...] = (
    *numpy_programs_products.cases,
    *numpy_programs_views.cases,
    *numpy_programs_steps.cases,
)
