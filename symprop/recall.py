"""What was compiled before, found again from the graph: no pass has to run.

In: the values and updates of a program before its passes. Out: ``name``: a name for the machine
code that they lead to (``codegen.llvm.kept``), or None where that cannot be said.

The name is the hash of all that the passes read: the structural digests of the values, in order
(the data of constants and the declarations of leaves are in them), the names and roles that values
carry, the rules that made them, the settings of ``Work``, the versions of Python, SymPy, mpmath and
NumPy, and the text of symprop and codegen themselves. Where a user's own function is in a formula
there is no name: its definition is code that no digest sees; nor is there one where that text
changed after this process began to load it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import mpmath
import numpy as np
import sympy

from codegen import STARTED
from symprop.graph import Leaf, Node, Opaque, Reduce, Region, Scan, origin, suggested
from symprop.term import Call, Term, children
from symprop.walk import topological

if TYPE_CHECKING:
    from symprop.pipeline import Work

__all__ = ["name"]


def name(work: Work) -> str | None:
    """The name of the machine code for this computer."""
    from codegen.llvm.kept import name_of
    from codegen.llvm.target import host
    from symprop.ops.control import UPDATE

    sources = _sources()
    if sources is None:
        return None
    known: set[Term] = set()
    parts = [sources, _versions(), _settings(work)]
    for node in _everything(work.roots):
        if isinstance(node, Reduce) and _of_the_user(node.body, known):
            return None
        if isinstance(node, Opaque) and node.atom is not UPDATE:
            return None
        parts.append(node.digest)
        if not isinstance(node, Leaf):
            parts += [node.name.encode(), suggested(node).encode(), _rule(node)]
    return name_of(parts, host())


def _versions() -> bytes:
    """Those of what the passes compute with."""
    packages = (sympy.__version__, mpmath.__version__, np.__version__)
    return repr((sys.version, packages)).encode()


def _settings(work: Work) -> bytes:
    """What is asked for beside the values."""
    titles = tuple((title, node.digest) for title, node in work.outputs)
    updates = tuple((leaf.digest, node.digest) for leaf, node in work.updates)
    declared = tuple(leaf.digest for leaf in work.declared)
    rest = (work.dtype, work.backend, work.name, work.marked)
    return repr((titles, updates, declared, rest)).encode()


def _rule(node: Node) -> bytes:
    """The rule that made a value, and what it was made of."""
    source = origin(node)
    return b" ".join([source.rule.encode(), *(n.digest for n in source.inputs)])


def _everything(roots: Iterable[Node]) -> Iterator[Node]:
    """All values, those within scans and regions too."""
    seen: set[object] = set()
    for node in topological(roots):
        yield node
        if isinstance(node, Scan | Region) and node.block not in seen:
            seen.add(node.block)
            yield from _everything(node.block.outputs)


def _of_the_user(term: Term, known: set[Term]) -> bool:
    """Whether a function of the user's is in a formula: its name has an @."""
    if term in known:
        return False
    known.add(term)
    if isinstance(term, Call) and "@" in term.fn.name:
        return True
    return any(_of_the_user(part, known) for part in children(term))


@cache
def _sources() -> bytes | None:
    """What tells the text of both packages from any other; None where it cannot be had.

    Reading all of it would take longer than everything else here, so it is told by the place, the
    size and the times of each file: nobody but the system sets the time of a file's last change.
    """
    found = sha256()
    count = 0
    try:
        for package in ("symprop", "codegen"):
            for path in sorted((Path(__file__).parents[1] / package).rglob("*.py")):
                s = path.stat()
                # An installer sets the time of a change to that of its archive: the other one is
                # that of the system.
                if max(s.st_mtime_ns, s.st_ctime_ns) > STARTED:
                    return None
                facts = (str(path), s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
                found.update(f"{facts}\n".encode())
                count += 1
    except OSError:
        return None
    return found.digest() if count else None
