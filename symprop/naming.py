"""What an unnamed value, an axis and a loop are called.

In: nodes, with the names and origins beside them. Out: short words for the names of generated
code: ``exp_logits``, ``sum_exp_logits``, ``d_hidden``.

Guarantees: a function of the graph and its names alone, never of creation; a name that the user
gave wins. Uniqueness and legality are ``codegen.names``' business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache

from codegen.index import Dim, Ix, Loop
from symprop import term as t
from symprop.graph import (
    At,
    IndexOf,
    Leaf,
    Node,
    Output,
    Reduce,
    Region,
    Scan,
    hint,
    make_output,
    origin,
    suggested,
)

__all__ = [
    "LONGEST",
    "Axes",
    "Roles",
    "adjoint",
    "adjoint_of",
    "by_rule",
    "dim_name",
    "divisor",
    "first_form",
    "function_of",
    "loop_names",
    "rewritten",
]

LONGEST = 26  # of a made-up name: a longer one says less than a short word
LETTERS = "ijklmnpqrsuvw"

# Rules of ``origin`` that say what a value is, and the word for it.
_RULES = {
    "softmax": "softmax",
    "logsumexp": "logsumexp",
    "mean": "mean",
    "argmax": "argmax",
    "argmin": "argmin",
    "max": "max",
    "min": "min",
    "sum": "sum",
    "cumsum": "cumsum",
    **{f"conv{rank}d": "conv" for rank in (1, 2, 3)},
    **{f"conv_transpose{rank}d": "upscaled" for rank in (1, 2, 3)},
    "upsample": "upscaled",
    "pool": "pool",
    "concat": "concat",
    "pad": "padded",
    "transpose": "transposed",
    "reshape": "reshaped",
}
_WORDS = {"sum": "sum", "max": "max", "min": "min"}
_OPERATORS = {
    "+": "total",
    "-": "difference",
    "*": "product",
    "@": "product",
    "/": "quotient",
    "where": "chosen",
}


class Roles:
    """Words for values, memoised; "" where nothing short can be said."""

    def __init__(self, given: Mapping[Node, str]) -> None:
        self._found: dict[Node, str] = dict(given)

    def __call__(self, node: Node) -> str:
        """The user's name of a value, or its role."""
        pending = [node]
        while pending:  # iterative: chains of unnamed values are deep
            top = pending[-1]
            if top in self._found:
                pending.pop()
                continue
            needed = self._needed(top)
            missing = [n for n in needed if n not in self._found and n not in pending]
            if missing:
                pending.append(missing[0])
                continue
            word = "" if _local(top) else hint(top)
            if not word:
                word = self._role(top, [self._found.get(n, "") for n in needed])
                word = word if len(word) <= LONGEST else ""
            self._found[top] = word
            pending.pop()
        return self._found[node]

    def _needed(self, node: Node) -> list[Node]:
        """The values whose names make up this one's."""
        if hint(node) or suggested(node) or isinstance(node, Leaf):
            return []
        source = origin(node)
        if source.inputs:
            primal = source.inputs[0]
            if adjoint(source.rule) and _local(primal):
                return []
            if adjoint(source.rule) or rewritten(source.rule):
                return [primal]
            if source.rule == "@":
                return list(source.inputs)
        inner = function_of(node)
        if inner is not None:
            return [inner[1]]
        return [source.inputs[0]] if source.inputs and source.rule in _RULES else []

    def _role(self, node: Node, names: list[str]) -> str:
        if suggested(node):
            return suggested(node)
        source = origin(node)
        first = names[0] if names else ""
        if first and source.inputs:
            if adjoint(source.rule):
                return f"d_{first}"
            if rewritten(source.rule):
                return first
            if source.rule == "@" and all(names):
                return "_times_".join(names)
        inner = function_of(node)
        if first and inner is not None:
            return f"{inner[0]}_{first}"
        if first and source.rule in _RULES:
            return f"{_RULES[source.rule]}_{first}"
        if isinstance(node, Output) and isinstance(node.of, Scan | Region):
            return self._result(node, node.of)
        return _per(node) or _filled(node)

    def _result(self, node: Output, of: Scan | Region) -> str:
        """A result of a block: the name of the block's first result, and what it is inside."""
        inside = of.block.outputs[node.n]
        if isinstance(of, Scan):
            return self._turned(node.n, of, inside)
        title = hint(make_output(of, 0)) or of.block.name or "value"
        if not node.n:
            return title
        roles = Roles(dict(zip(of.block.leaves, of.block.names, strict=True)))
        own = f"{title}_{roles(inside)}" if roles(inside) and not _local(inside) else ""
        return own if own and len(own) <= LONGEST else f"{title}_saved{node.n}"

    def _turned(self, n: int, of: Scan, inside: Node) -> str:
        """A result of a scan: the last value of a carry, or all values of one thing."""
        names = dict(zip(of.block.leaves, of.block.names, strict=True))
        if n < of.ncarry:
            word = of.block.names[n]
            return f"last_{word}" if word else ""
        word = names[inside] if isinstance(inside, Leaf) and inside in names else hint(inside)
        return f"all_{word}" if word else f"{of.block.name or 'scan'}_output{n - of.ncarry or ''}"


def _per(node: Node) -> str:
    """per_batch for 1/batch."""
    size = divisor(node)
    return f"per_{dim_name(size)}" if size is not None and dim_name(size) else ""


def divisor(node: Node) -> Ix | None:
    """n, of a value that is 1/n for a size n."""
    if not isinstance(node, Reduce) or node.loops or len(node.reads) != 1:
        return None
    r = node.reads[0]
    return r.ix if isinstance(r, IndexOf) and node.body is t.power(t.read(0), -1) else None


def _filled(node: Node) -> str:
    """zeros, for a value that is 0 everywhere."""
    zero = isinstance(node, Reduce) and not node.reads and node.body is t.num(0)
    return "zeros" if zero and node.dims else ""


def _local(node: Node) -> bool:
    """Whether a node is the leaf of a block: equal leaves of different blocks are one object."""
    return isinstance(node, Leaf) and node.kind == "local"


def adjoint_of(node: Node) -> Node | None:
    """The value of which this is the derivative, or a part of it; None for other values."""
    source = origin(node)
    return source.inputs[0] if adjoint(source.rule) and source.inputs else None


def first_form(node: Node) -> Node:
    """The value as it was made, before the simplifier gave it other formulas."""
    seen: set[Node] = set()
    while node not in seen:
        seen.add(node)
        source = origin(node)
        if rewritten(source.rule) and source.inputs:
            node = source.inputs[0]
    return node


def by_rule(node: Node) -> str:
    """A word from what made the value: index_logits, product; "" where that is no word."""
    source = origin(node)
    word = _OPERATORS.get(source.rule, source.rule)
    if not word.isidentifier():
        return ""
    first = source.inputs[0] if source.inputs else node
    long = f"{word}_{hint(first)}" if hint(first) and word == source.rule else word
    return long if len(long) <= LONGEST else word


def adjoint(rule: str) -> bool:
    """Whether a value is the cotangent of the first input of its rule, or a part of it."""
    return rule == "chain rule" or rule.startswith("cotangent of")


def rewritten(rule: str) -> bool:
    """Whether a rule is the simplifier's: its value is the one before under another formula."""
    return rule in _rewriting()


@cache
def _rewriting() -> frozenset[str]:
    from symprop.simplify.rules import RULES, SHARED

    return frozenset(r.name for r in (*RULES, SHARED))


def function_of(node: Node) -> tuple[str, Node] | None:
    """(word, operand) where a value is one word of one operand: exp of z, sum of z."""
    if not isinstance(node, Reduce):
        return None
    reduced = len(node.loops) > node.nout
    body, words = node.body, []
    if reduced:
        words.append(_WORDS[node.op])
    while isinstance(body, t.Call) and len(body.args) >= 1:
        if body.fn.kind == "bool" or body.fn in t.STRUCTURAL:
            break
        if len(words) == 2:
            return None
        words.append(body.fn.given.partition("[")[0])
        body = body.args[0]
    if reduced and node.op == "sum" and body is t.power(t.read(0), 2):
        words, body = ["sum_squares"], t.read(0)
    if not words:
        return _centred(node)
    reads = [node.reads[k] for k in body.reads]
    nodes = list(dict.fromkeys(r.node for r in reads if isinstance(r, At)))
    if isinstance(body, t.Read) and nodes:
        return "_".join(words), nodes[0]
    if isinstance(body, t.Sum) and nodes:  # exp(z - max): named after what has the most axes
        return "_".join(words), max(nodes, key=lambda n: len(n.dims))
    return None


def _centred(node: Reduce) -> tuple[str, Node] | None:
    """("centred", x) for x minus a multiple of its own sum."""
    body, reads = node.body, node.reads
    if not isinstance(body, t.Sum) or len(body.terms) != 2 or len(reads) != 2:
        return None
    for part, k in body.terms:
        if isinstance(part, t.Read) and k == 1:
            first, second = reads[part.k], reads[1 - part.k]
            if isinstance(first, At) and isinstance(second, At) and isinstance(second.node, Reduce):
                total = second.node
                if total.operands == (first.node,) and len(total.loops) > total.nout:
                    return "centred", first.node
    return None


class Axes:
    """Names of the axes of values, inherited from what they read."""

    def __init__(self) -> None:
        self._found: dict[Node, tuple[str, ...]] = {}

    def give(self, node: Node, axes: Sequence[str]) -> None:
        """The axes of a leaf."""
        self._found[node] = tuple(axes)

    def __call__(self, node: Node) -> tuple[str, ...]:
        """The axes of a value whose operands were asked before."""
        found = self._found.get(node)
        if found is None:
            found = self._found[node] = self._axes(node)
        return found

    def _axes(self, node: Node) -> tuple[str, ...]:
        if isinstance(node, Leaf):
            return tuple(a or dim_name(d) for a, d in zip(node.axes, node.dims, strict=True))
        names = [dim_name(d) for d in node.dims]
        if isinstance(node, Reduce):
            loops = loop_axes(node, self)
            own: set[str] = set(filter(None, names))
            for k in range(node.nout):
                word = loops.get(k, "")
                if not names[k] and word and word not in own:
                    names[k] = word
                    own.add(word)
        elif isinstance(node, Output) and isinstance(node.of, Scan):
            pass
        return tuple(names)


def dim_name(d: Ix) -> str:
    """The name of a free dimension, or ""."""
    return d.atom.name if isinstance(d.atom, Dim) else ""


def loop_axes(node: Reduce, axes: Axes) -> dict[int, str]:
    """For each loop that runs over a named axis of an operand, that name.

    Wider operands are asked first: they are the data, the others are broadcast.
    """
    found: dict[int, str] = {}
    place = {item: k for k, item in enumerate(node.loops)}
    reads = [r for r in node.reads if isinstance(r, At)]
    for r in sorted(reads, key=lambda r: -len(r.index)):
        for name, ix, d in zip(axes(r.node), r.index, r.node.dims, strict=True):
            atom = ix.atom
            if name and isinstance(atom, Loop) and atom in place and d is atom.extent:
                found.setdefault(place[atom], name)
    return found


def loop_names(node: Reduce, axes: Axes, taken: Collection[str] = ()) -> list[str]:
    """Names for the loops of a node: the axes they run over, else letters that name no value of
    the same formula (``taken``); not yet unique."""
    known = loop_axes(node, axes)
    out = list(axes(node))
    names = [
        (out[k] if k < node.nout else "") or known.get(k, "") or dim_name(item.extent)
        for k, item in enumerate(node.loops)
    ]
    free = iter(c for c in LETTERS if c not in names and c not in taken)
    return [n or next(free, "i") for n in names]
