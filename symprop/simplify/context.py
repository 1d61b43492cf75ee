"""What a rule is, and what it may ask.

In: nothing. Out: ``Rule`` (a row of ``symprop.simplify.rules``) and ``Context`` (the uses of each
value in the graph before the pass). A rule is pure and local.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from symprop.graph import Node, Reduce

Class = Literal["exact", "reorders rounding", "needs an assumption"]


@dataclass
class Context:
    """What a rule may ask of the pass: uses of each operand in the graph before it."""

    uses: dict[Node, int] = field(default_factory=dict)
    keep: set[Node] = field(default_factory=set)

    def single(self, node: Node) -> bool:
        """Read by exactly one node, and not asked for by the caller."""
        return self.uses.get(node, 2) == 1 and node not in self.keep


@dataclass(frozen=True)
class Rule:
    """One rewrite; ``algebra`` is what it says, ``kind`` what it does to rounding."""

    name: str
    algebra: str
    kind: Class
    apply: Callable[[Reduce, Context], Node | None]
