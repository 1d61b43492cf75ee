"""network: the values of a graph that a page names, and their derivatives.

In: the loss and its parameters. Out: a `Network`: the stages of the forward pass in order (each
with a role), the cotangent of every stage, and a cotangent written for reading, in which the
slope of an activation is one value f'(z).

    role := "pre"    an affine value that holds a product with a parameter: z
          | "post"   a function of each entry of one such value: h
          | "softmax" | "loss" | "value"

Guarantees: everything follows from the graph: a network of layers and the same network of ``@``
have the same stages. The readable cotangent has the value of the exact one; the exact one is what
``prop.gradient`` makes, and is the node that an equation stands for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from codegen.index import Gather, Ix
from symprop import graph
from symprop import term as t
from symprop.chain import pull_reduce
from symprop.explain.elements import Normalised, Slope
from symprop.explain.structure import (
    Sharing,
    follow,
    is_map,
    is_view,
    normalised,
    samples,
    share,
    through,
    written_out,
)
from symprop.graph import FLOATS, At, Leaf, Node, Output, Reduce, Scan
from symprop.make import filled, fresh, make
from symprop.walk import topological

__all__ = ["Network", "network"]

LONGEST = 9  # operands of one line; a longer formula is given in two


@dataclass
class Network:
    """A graph as a page shows it."""

    loss: Node
    order: list[Node]
    parameters: list[Leaf]
    sharing: Sharing
    normalised: dict[Node, Normalised]
    stages: list[Node] = field(default_factory=list)
    roles: dict[Node, str] = field(default_factory=dict)
    uses: dict[Node, list[Node]] = field(default_factory=dict)
    exact: dict[Node, Node] = field(default_factory=dict)
    readable: dict[Node, Node] = field(default_factory=dict)
    slopes: dict[Node, Slope] = field(default_factory=dict)
    share: dict[Node, Node] = field(default_factory=dict)  # logsumexp -> softmax

    @property
    def size(self) -> Ix | None:
        """How many samples there are, or None where they cannot be told apart."""
        return self.sharing.extent


def network(loss: Node, parameters: Sequence[Leaf]) -> Network:
    """The stages and cotangents of a loss."""
    loss = written_out(loss)
    order = topological([loss])
    known = normalised(order)
    net = Network(loss, order, list(parameters), samples(order), known)
    net.order = _visible(loss, known)
    net.uses = _uses(net)
    _choose_stages(net)
    _differentiate(net, order)
    return net


def operands(node: Node, known: Mapping[Node, Normalised]) -> tuple[Node, ...]:
    """What a value is shown to be made of: a softmax of its scores, and of what masks them."""
    if node not in known:
        return node.operands
    masks = [a.source for g in known[node].guards for a in g.ix.atoms() if isinstance(a, Gather)]
    return tuple(dict.fromkeys((known[node].of, *masks)))  # type: ignore[arg-type]


def _visible(loss: Node, known: Mapping[Node, Normalised]) -> list[Node]:
    """The values that are shown, operands first."""
    order: list[Node] = []
    seen: set[Node] = {loss}
    stack = [(loss, iter(operands(loss, known)))]
    while stack:
        node, rest = stack[-1]
        for child in rest:
            if child not in seen:
                seen.add(child)
                stack.append((child, iter(operands(child, known))))
                break
        else:
            order.append(node)
            stack.pop()
    return order


def _uses(net: Network) -> dict[Node, list[Node]]:
    """Who reads each value, once each, views looked through."""
    found: dict[Node, list[Node]] = {n: [] for n in net.order}
    for node in net.order:
        if is_view(node) and node is not net.loss:
            continue
        bases = [base(o) for o in operands(node, net.normalised)]
        for o in dict.fromkeys(bases):
            found[o].append(node)
    return found


def base(node: Node) -> Node:
    """The value behind views."""
    return through(node, [v.ix() for v in fresh(node.dims)])[0] if is_view(node) else node


# --- stages ----------------------------------------------------------------------------------


def _choose_stages(net: Network) -> None:
    """Every value that gets a symbol of its own, leaves left out."""
    sizes: dict[Node, int] = {}
    products: dict[Node, bool] = {}  # whether it holds a product with a parameter, read through
    sums: dict[Node, bool] = {}
    for node in net.order:
        kind = _kind(node, net)
        below = [base(o) for o in operands(node, net.normalised)]
        inlined = [o for o in below if o not in net.roles and not isinstance(o, Leaf)]
        sizes[node] = 1 + sum(sizes.get(o, 1) for o in inlined) + (len(below) - len(inlined))
        products[node] = (kind == "contract" and _has_parameter(node)) or (
            kind == "affine" and any(products.get(o, False) for o in inlined)
        )  # fmt: skip
        sums[node] = _reduces(kind, inlined, sums)
        role = _role(node, kind, products[node], sums[node], sizes[node], net)
        if role:
            net.roles[node] = role
            net.stages.append(node)


def _kind(node: Node, net: Network) -> str:
    """What sort of formula a value is."""
    if isinstance(node, Leaf):
        return "leaf"
    if node in net.normalised:
        return net.normalised[node].word
    if not isinstance(node, Reduce):
        return "result" if isinstance(node, Output) else "many"
    if is_view(node):
        return "view"
    if not any(isinstance(r, At) for r in node.reads):
        return "number"
    if node.op != "sum" or node.dtype not in FLOATS:
        return "extremum"
    if node.inner:
        _, rest = t.coefficient(node.body)
        return "contract" if isinstance(rest, t.Prod) and len(rest.reads) > 1 else "total"
    return "affine" if _affine(node) else "map"


def _affine(node: Reduce) -> bool:
    """A sum of multiples of operands."""
    body = node.body
    parts = [x for x, _ in body.terms] if isinstance(body, t.Sum) else [body]
    return all(isinstance(x, t.Read) or _scaled(node, x) for x in parts)


def _scaled(node: Reduce, x: t.Term) -> bool:
    """A read times numbers and sizes."""
    if not isinstance(x, t.Prod):
        return False
    wide = [b for b, _ in x.factors
            if b.reads and not (isinstance(b, t.Read) and _constant(node, b.k))]  # fmt: skip
    return len(wide) == 1 and isinstance(wide[0], t.Read) and (wide[0], 1) in x.factors


def _constant(node: Reduce, k: int) -> bool:
    r = node.reads[k]
    return not isinstance(r, At) or not (r.node.operands or isinstance(r.node, Leaf))


def _has_parameter(node: Node) -> bool:
    return any(isinstance(base(o), Leaf) and base(o).kind == "parameter" for o in node.operands)  # type: ignore[attr-defined]


def _reduces(kind: str, inlined: Sequence[Node], found: Mapping[Node, bool]) -> bool:
    """Whether a value is a sum over something, read through."""
    own = kind in ("contract", "total")
    return own or (kind == "affine" and any(found.get(o, False) for o in inlined))


def _role(node: Node, kind: str, product: bool, sums: bool, size: int, net: Network) -> str:
    """The role of a value, or "" where its formula stands in its place."""
    if node is net.loss:
        return "loss"
    if kind in ("leaf", "view", "number", "many") or (is_map(node) and node.dtype not in FLOATS):
        return ""
    if kind == "softmax":
        return "softmax"
    if kind in ("extremum", "result"):
        return "value"
    readers = net.uses[node]
    if kind == "map" and _activation(node, net):
        return "post"
    if product:
        plain = len(readers) == 1 and _kind(readers[0], net) == "affine"
        joins = plain and _wide(readers[0]) == _wide(node) and not graph.hint(node)
        joins = joins and _only_weights(readers[0], net)
        return "" if joins and size < LONGEST else "pre"
    if graph.hint(node):
        return "value"
    if kind == "logsumexp":
        return "" if len(readers) == 1 else "value"
    if len(readers) > 1 or size > LONGEST or (kind == "map" and graph.suggested(node)):
        return "value"
    after = _kind(readers[0], net) if readers else ""
    curve = bool(readers) and _unary(readers[0])
    entry = curve and _enters_product(readers[0], net)  # the argument of an activation
    if sums:
        return "" if after == "affine" or not _wide(node) or (curve and not entry) else "value"
    if kind == "map" and after in ("contract", "softmax"):
        return "value"
    return "value" if entry else ""


def _only_weights(node: Node, net: Network) -> bool:
    """Whether an affine value adds parameters and products alone: W x + b, not W x - target."""
    for o in map(base, node.operands):
        if isinstance(o, Leaf) and o.kind != "parameter":
            return False
        if o in net.roles and net.roles[o] != "pre":
            return False
    return True


def _wide(node: Node) -> list[Ix]:
    """The sizes of a value, axes of one element left out."""
    return [d for d in node.dims if d.value != 1]


def _activation(node: Node, net: Network) -> bool:
    """A function of each entry of one affine value, or of one that leads to a product."""
    if not _unary(node):
        return False
    below = base(node.operands[0])
    if net.roles.get(below) == "pre":
        return len(net.uses[below]) == 1 or not _weighed(node, net)
    return below in net.roles and _enters_product(node, net)


def _weighed(node: Node, net: Network) -> bool:
    """Whether the loss only adds up a value's entries, each times data: softplus(z) - y z is the
    loss's own, and its softplus no activation."""
    pending = [node]
    while pending:
        value = pending.pop()
        for user in net.uses[value]:
            if user in net.normalised or not isinstance(user, Reduce) or user.op != "sum":
                return False
            reads = enumerate(user.reads)
            held = [k for k, r in reads if isinstance(r, At) and base(r.node) is value]
            others = [user.reads[j] for k in held for j in t.diff(user.body, k).reads]
            if any(isinstance(r, At) and _depends(net, r.node) for r in others):
                return False
            pending.append(user)
    return True


def _unary(node: Node) -> bool:
    """A declared function of one operand, entry by entry."""
    if not isinstance(node, Reduce) or not is_map(node) or not isinstance(node.body, t.Call):
        return False
    plain = len(node.reads) == 1 and isinstance(node.reads[0], At) and len(node.body.args) == 1
    op = getattr(node.body.fn, "op", None)
    return plain and isinstance(node.body.args[0], t.Read) and op is not None


def _enters_product(node: Node, net: Network) -> bool:
    return any(_kind(n, net) == "contract" for n in net.uses[node])


# --- cotangents ------------------------------------------------------------------------------


def _differentiate(net: Network, order: Sequence[Node]) -> None:
    """Both cotangents of every stage and every parameter."""
    from symprop.gradient import pull

    wanted = [n for n in (*net.stages, *net.parameters) if n.dtype in FLOATS]
    wanted = [n for n in wanted if _depends(net, n)]
    one = filled(t.num(1), (), net.loss.dtype)
    exact = pull([net.loss], [one], wanted)
    found = zip(wanted, exact, strict=True)
    net.exact = {n: d for n, d in found if n in net.parameters or not _zero(d)}
    for node, known in list(net.normalised.items()):
        if known.word == "logsumexp":
            net.share[node] = share(node, order)
            net.normalised.setdefault(net.share[node], Normalised("softmax", known.of))
    readable = _pulled(net, one)
    net.readable = {n: readable.get(n, d) for n, d in net.exact.items()}
    for node in topological([*net.readable.values(), *net.exact.values(), *net.share.values()]):
        seen = node in net.sharing.axis or node in net.sharing.mixed
        if not seen and not isinstance(node, Leaf):
            follow(node, net.sharing, False)


def _zero(node: Node) -> bool:
    """A derivative that is 0 everywhere: a shift that cancels."""
    body = node.body if isinstance(node, Reduce) else None
    return isinstance(body, t.Num) and body.value == 0


def _depends(net: Network, node: Node) -> bool:
    """Whether the value lies between a parameter and the loss."""
    if node in net.parameters:
        return node in net.uses
    return any(n in net.parameters for n in topological([node]))


def _pulled(net: Network, one: Node) -> dict[Node, Node]:
    """The chain rule over the values that are shown."""
    dependent: set[Node] = set(net.parameters)
    for node in net.order:
        if any(o in dependent for o in operands(node, net.normalised)):
            dependent.add(node)
    parts: dict[Node, list[Node]] = {net.loss: [one]}
    done: dict[Node, Node] = {}
    for node in reversed(net.order):
        if node not in parts or node not in dependent:
            continue
        g = done[node] = _added(parts[node])
        if isinstance(node, Reduce):
            for operand, part in _contributions(net, node, g, dependent):
                parts.setdefault(operand, []).append(part)
        elif isinstance(node, Output | Scan):
            return {}  # a recurrence: its block is differentiated as one
    return done


def _added(parts: Sequence[Node]) -> Node:
    if len(parts) == 1:
        return parts[0]
    loops = fresh(parts[0].dims)
    at = tuple(v.ix() for v in loops)
    body = t.add(*(t.read(k) for k in range(len(parts))))
    return make("sum", loops, len(loops), (), body, [At(p, at) for p in parts], parts[0].dtype)


def _contributions(
    net: Network, node: Reduce, g: Node, dependent: set[Node]
) -> list[tuple[Node, Node]]:
    known = net.normalised.get(node)
    if known is not None:
        return [(known.of, _pull_normalised(net, node, known, g))]
    slope = _slope(net, node)
    if slope is not None:
        operand = node.reads[0].node  # type: ignore[union-attr]
        return [(operand, _times(g, slope))]
    return pull_reduce(node, g, dependent)


def _slope(net: Network, node: Reduce) -> Node | None:
    """f'(z) as a value, for h = f(z) entry by entry."""
    if net.roles.get(node) != "post" or not is_map(node):
        return None
    r = node.reads[0]
    assert isinstance(r, At)
    assert isinstance(node.body, t.Call)
    at = tuple(v.ix() if v.extent.value != 1 else v.ix() * 0 for v in node.outer)
    if r.index != at or r.guards:
        return None
    d = t.diff(node.body, 0)
    if not d.reads:
        return None
    slope = make("sum", node.loops, node.nout, (), d, node.reads, node.dtype)
    if slope not in net.roles:
        net.slopes[slope] = Slope(node.body.fn, r.node)
    return slope


def _times(a: Node, b: Node) -> Node:
    loops = fresh(a.dims)
    at = tuple(v.ix() for v in loops)
    body = t.mul(t.read(0), t.read(1))
    return make("sum", loops, len(loops), (), body, [At(a, at), At(b, at)], a.dtype)


def _pull_normalised(net: Network, node: Node, known: Normalised, g: Node) -> Node:
    """logsumexp: g p. softmax: p (g - p.g)."""
    loops = fresh(known.of.dims)
    at = tuple(v.ix() for v in loops)
    if known.word == "logsumexp":
        reads = [At(g, at[:-1]), At(net.share[node], at)]
        return make("sum", loops, len(loops), (), t.read(0) * t.read(1), reads, g.dtype)
    both = [At(g, at), At(node, at)]
    mean = make("sum", loops, len(loops) - 1, (), t.read(0) * t.read(1), both, g.dtype)
    body = t.read(1) * (t.read(0) - t.read(2))
    return make("sum", loops, len(loops), (), body, [*both, At(mean, at[:-1])], g.dtype)
