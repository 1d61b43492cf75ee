"""Every value of a graph at one point, in floats of a width: to look for the first bad one.

In: nodes, arrays by the names of their leaves, a width. Out: `Values`: an array a node, and scalar
formulas evaluated at single elements in floats of that width.

The graph is printed as NumPy code with all its values as outputs, and runs: nothing is simplified,
so that each value is the one that the user's formula has. `symprop.oracle` reads single elements.

Guarantees: the model is not changed, marks of updates are not carried out; an array that is missing
or does not fit is a DataError, and so is a graph with more than `LARGEST` elements in all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from codegen.functions import FUNCTIONS, python_callable
from codegen.index import evaluate
from codegen.program import Dtype
from symprop import term as t
from symprop.data import Door
from symprop.errors import DataError
from symprop.graph import FLOATS, At, Node, Output, Reading, Reduce
from symprop.oracle import Array, Oracle, Point
from symprop.pipeline import PASSES, Work, collect_updates, run
from symprop.regions import opened
from symprop.simplify.stable import stabilise
from symprop.walk import leaves, topological

__all__ = ["Values", "written"]

WIDTHS = {"float32": np.float32, "float64": np.float64}
LARGEST = 1 << 27  # elements of all values together: half a gigabyte in float32
AS_WRITTEN = [one for one in PASSES if one.name in ("lower", "verify", "emit")]


def written(roots: Sequence[Node]) -> list[Node]:
    """The values as they are compiled before anything is simplified: in stable forms, without
    marks of updates, and without calls of regions."""
    return stabilise(opened(collect_updates(roots)[0]))


class Values(Oracle):
    """The oracle in floats of one width, which is told every array."""

    def __init__(self, roots: Sequence[Node], given: Mapping[str, Any], dtype: str) -> None:
        super().__init__(None)
        self.dtype, self.round = dtype, WIDTHS[dtype]
        known = [leaf for leaf in leaves(roots) if leaf.kind != "constant"]
        wanted = {leaf.name: given[leaf.name] for leaf in known if leaf.name in given}
        arrays, self.dims = Door(known, dtype)(wanted)
        for leaf in leaves(roots):
            own = arrays[leaf.name] if leaf.kind != "constant" else np.asarray(leaf.init)
            self.values[leaf] = own
        self._run([n for n in topological(roots) if isinstance(n, Reduce | Output)], arrays)

    def _run(self, nodes: Sequence[Node], arrays: Mapping[str, Array]) -> None:
        """The arrays of all nodes."""
        if not nodes:
            return
        total = 0
        for node in nodes:
            total += int(np.prod([evaluate(d, {}, self.dims) for d in node.dims], dtype=float))
        if total > LARGEST:
            raise DataError(
                f"the loss and its gradients have {total:,} values, too many to look at each (at "
                f"most {LARGEST:,}): hand in fewer examples"
            )
        named = tuple((f"value{k}", n) for k, n in enumerate(nodes))
        work = Work(named, (), cast(Dtype, self.dtype), "numpy", "values", marked=False)
        done, _ = run(work, AS_WRITTEN)
        assert done.program is not None
        assert done.emitted is not None
        with np.errstate(all="ignore"):
            found = done.emitted.function(*[arrays[b.label] for b in done.program.arguments])
        results = (found,) if len(nodes) == 1 else found
        for node, array in zip(nodes, results, strict=True):
            self.values[node] = np.asarray(array)

    # --- single elements -----------------------------------------------------------------------

    def number(self, x: Any) -> Any:
        return self.round(x)

    def reader(self, r: Reading, loops: Any) -> Callable[[Point], Any]:
        plain = super().reader(r, loops)
        floats = isinstance(r, At) and r.node.dtype in FLOATS
        return (lambda p: self.round(plain(p))) if floats else plain

    def function(self, fn: t.Function) -> Callable[..., Any]:
        if fn.name not in FUNCTIONS or fn in t.STRUCTURAL:
            return super().function(fn)
        plain = python_callable(fn.name)
        return lambda *args: self.round(plain(*map(float, args)))
