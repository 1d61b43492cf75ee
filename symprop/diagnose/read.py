"""Layers, as a diagnosis means them, read off the graph of a loss.

    weights     a value made of parameters alone: a parameter, its transpose, its masked copy
    product     a sum of products of weights with data, over an index of both
    layer       the sum that a product enters (bias, other products, a residual x + f(x)): its
                pre-activation; and the scalar function of it alone that the network goes on with
    alone       such a function of another value (a normalised one, say) above a later product

In: the node of a loss. Out: `Network`: layers in topological order, and the names of scans.
Guarantees: nothing is asked but what the nodes compute: a network of bare products reads as one
of layers does. Regions are opened first; what is inside a scan is not seen, and the scan is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from codegen.index import Ix
from symprop import term as t
from symprop.diagnose.activations import Activation, Pointwise, is_activation
from symprop.graph import At, Leaf, Node, Reduce, Scan, hint, origin, suggested
from symprop.modes import resolved
from symprop.pipeline import collect_updates
from symprop.regions import opened
from symprop.simplify.inline import inline, is_map, is_view
from symprop.walk import topological, users

__all__ = ["Layer", "Network", "Product", "read_network"]

# Operations that multiply matrices; asked only where an axis of length 1 left no sum to see.
PRODUCTS = ("@", "einsum", "conv1d", "conv2d", "conv3d")


@dataclass(frozen=True)
class Product:
    """A sum of products of weights with data; `inner` are the extents that are summed over."""

    node: Reduce
    weights: Node
    data: tuple[Node, ...]
    inner: tuple[Ix, ...]
    units: tuple[int, ...]

    @property
    def parameter(self) -> Leaf | None:
        """The parameter whose elements the weights are, in any order; or None."""
        base = stripped(self.weights)
        return base if isinstance(base, Leaf) else None


@dataclass(frozen=True)
class Layer:
    """A pre-activation, and the scalar function that is applied to it, if there is one."""

    name: str
    value: Node
    products: tuple[Product, ...]
    biases: tuple[Node, ...]
    plain: bool  # the value is its products and biases, and nothing else
    activation: Activation | None
    units: tuple[int, ...]  # the axes that count units; the others count examples and places
    depth: int  # products on the longest way to it, its own counted

    @property
    def result(self) -> Node:
        """What the network goes on with."""
        return self.value if self.activation is None else self.activation.node


@dataclass(frozen=True)
class Network:
    """The layers of a loss, in topological order; `scans` are the loops that were not opened."""

    loss: Node
    layers: tuple[Layer, ...]
    scans: tuple[str, ...]
    readers: dict[Node, list[Node]]


def read_network(loss: Node) -> Network:
    """The layers of the loss; see the module's docstring."""
    (loss,) = opened(collect_updates(resolved([loss], training=True))[0])
    order = topological([loss])
    reader = Reader(order)
    scans = dict.fromkeys(n.block.name or "scan" for n in order if isinstance(n, Scan))
    return Network(loss, tuple(reader.layers()), tuple(scans), reader.readers)


def volume(dims: Sequence[Ix]) -> tuple[int, tuple[bytes, ...]]:
    """What equal numbers of elements have in common."""
    fixed, free = 1, []
    for d in dims:
        if d.value is None:
            free.append(d.digest)
        else:
            fixed *= d.value
    return fixed, tuple(sorted(free))


def same_elements(node: Node) -> bool:
    """Whether a node is a view that holds as many elements as what it reads."""
    if not is_view(node):
        return False
    assert isinstance(node, Reduce)
    return volume(node.dims) == volume(node.operands[0].dims)


def stripped(node: Node) -> Node:
    """The value under transposes and reshapes."""
    while same_elements(node):
        node = node.operands[0]
    return node


class Reader:
    """One walk over a graph; remembers who reads what."""

    def __init__(self, order: list[Node]) -> None:
        self.order, self.readers = order, users(order)
        self.position = {node: k for k, node in enumerate(order)}
        self.weights = weights_only(order)
        self.trained = dependent(order, lambda n: isinstance(n, Leaf) and n.kind == "parameter")
        self.products = {n: p for n in order if (p := self.product(n)) is not None}
        self.linear = self.linear_values()
        self.before = leading_to(order, self.products)
        self.pointwise = Pointwise(self.readers, self.position, self.before)

    def layers(self) -> Iterator[Layer]:
        """Every layer, in topological order."""
        groups: dict[Node, list[Product]] = {}
        chains: dict[Node, list[Node]] = {}
        for node, product in self.products.items():
            chain = self.chain(node)
            groups.setdefault(chain[-1], []).append(product)
            chains.setdefault(chain[-1], []).extend(chain)
        alone = self.alone(groups)
        depths = self.depths(groups)
        taken: dict[str, int] = {}
        for value in sorted([*groups, *alone], key=lambda n: self.position[n]):
            products = groups.get(value, [])
            found = alone.get(value) or self.pointwise.of(value)
            title = self.title(chains.get(value, [value]), products, found)
            taken[title] = taken.get(title, 0) + 1
            if taken[title] > 1:
                title = f"{title} ({taken[title]})"
            biases, plain = self.addends(chains.get(value, []))
            yield Layer(title, value, tuple(products), biases, plain and bool(products), found,
                        units(value, products), depths[value])  # fmt: skip

    # --- products and the sums they enter ----------------------------------------------------

    def product(self, node: Node) -> Product | None:
        """The node as a sum of weights times data, or None."""
        if not isinstance(node, Reduce) or node.op != "sum" or node in self.weights:
            return None
        if len(node.loops) == node.nout and origin(node).rule not in PRODUCTS:
            return None
        form = self.spelled(node)
        _, body = t.coefficient(form.body)
        factors = body.factors if isinstance(body, t.Prod) else ((body, 1),)
        if not all(isinstance(base, t.Read) and n == 1 for base, n in factors):
            return None
        reads = [form.reads[base.k] for base, _ in factors if isinstance(base, t.Read)]
        values = [r for r in reads if isinstance(r, At) and self.varies(form, r)]
        weights = [r for r in values if r.node in self.weights]
        data = [r.node for r in values if r.node not in self.weights]
        if len(weights) != 1 or not data:
            return None
        loops = {a for ix in weights[0].index for a in ix.loops}
        own = tuple(k for k, item in enumerate(form.outer) if item in loops)
        return Product(node, weights[0].node, tuple(data), tuple(i.extent for i in form.inner), own)

    def spelled(self, node: Reduce) -> Reduce:
        """A sum of a product that is a value of its own (sum(x*w)), as one formula."""
        first = node.reads[0] if node.reads else None
        if not isinstance(node.body, t.Read) or not isinstance(first, At):
            return node
        if not is_map(first.node) or is_view(first.node) or len(self.readers[first.node]) != 1:
            return node
        found = inline(node, 0)
        return found if isinstance(found, Reduce) and len(found.loops) == len(node.loops) else node

    def varies(self, form: Reduce, r: At) -> bool:
        """Whether a factor depends on what is summed over (always, where nothing is)."""
        if not form.inner:
            return True
        mentioned = {a for ix in r.index for a in ix.loops}
        return any(item in mentioned for item in form.inner)

    def linear_values(self) -> set[Node]:
        """Products, and sums and rearrangements of products and weights."""
        found: set[Node] = set(self.products)
        for node in self.order:
            parts = summands(node)
            if any(p in found for p in parts) and all(p in found | self.weights for p in parts):
                found.add(node)
        return found

    def chain(self, node: Node) -> list[Node]:
        """The product, and the sums and views it enters as long as nothing else reads it."""
        chain = [node]
        above: set[Node] | None = None
        while len(self.readers[chain[-1]]) == 1:
            (reader,) = self.readers[chain[-1]]
            parts = summands(reader)
            if reader in self.products or not parts:
                break
            others = [p for p in parts if p not in self.linear and p not in self.weights]
            others = [p for p in others if p is not chain[-1]]
            if others:  # a residual x + f(x) adds what f was made of; a target is not
                above = above or set(topological([node]))
                if any(p not in above for p in others):
                    break
            chain.append(reader)
        return chain

    def addends(self, chain: Iterable[Node]) -> tuple[tuple[Node, ...], bool]:
        """The weights that were added, and whether nothing else was."""
        nodes = list(chain)
        parts = [p for n in nodes if n not in self.products for p in summands(n)]
        biases = dict.fromkeys(p for p in parts if p in self.weights)
        return tuple(biases), all(p in self.weights or p in self.linear for p in parts)

    # --- functions of other values -------------------------------------------------------------

    def alone(self, layers: Iterable[Node]) -> dict[Node, Activation]:
        """Activations whose argument is no layer's value, above a later product."""
        values = set(layers)
        inside = {n for v in values for n in self.pointwise.closure(v)}
        found: dict[Node, Activation] = {}
        for node in self.order:
            if node in inside or node not in self.before or node not in self.trained:
                continue
            if not is_activation(node) or node in self.weights:
                continue
            argument = node.operands[0]
            own = self.pointwise.of(argument)
            if own is not None and argument in self.trained and argument not in self.weights:
                found.setdefault(argument, own)
        return found

    # --- names and depths ------------------------------------------------------------------------

    def title(
        self, chain: Sequence[Node], products: Sequence[Product], found: Activation | None
    ) -> str:
        """The user's name of the value, else that of its weights, else what it is and where."""
        named = [hint(n) for n in chain if hint(n)]
        if named:
            return named[0]
        for product in products:
            if product.parameter is not None:
                return product.parameter.name
        role = suggested(chain[-1]) or (found.name if found else "") or "product"
        place = origin(chain[-1]).place
        return f"{role} at {place}" if place else role

    def depths(self, values: Iterable[Node]) -> dict[Node, int]:
        """For every node, how many of the values are on the longest way to it, itself counted."""
        counted = set(values)
        depth: dict[Node, int] = {}
        for node in self.order:
            below = max((depth[o] for o in node.operands), default=0)
            depth[node] = below + (node in counted)
        return depth


def summands(node: Node) -> tuple[Node, ...]:
    """The values that a map adds up or a view rearranges; () for any other node."""
    if same_elements(node):
        return node.operands
    if not isinstance(node, Reduce) or not is_map(node) or node.guards:
        return ()
    terms = node.body.terms if isinstance(node.body, t.Sum) else ()
    if not terms or not all(isinstance(x, t.Read) and abs(k) == 1 for x, k in terms):
        return ()
    reads = [node.reads[x.k] for x, _ in terms if isinstance(x, t.Read)]
    if not all(isinstance(r, At) and not r.guards for r in reads):
        return ()
    return tuple(r.node for r in reads if isinstance(r, At))


def weights_only(order: Iterable[Node]) -> set[Node]:
    """Values made of parameters, and of constants where nothing is summed, alone."""
    found: set[Node] = set()
    for node in order:
        if isinstance(node, Leaf) and node.kind == "parameter":
            found.add(node)
        elif isinstance(node, Reduce) and any(o in found for o in node.operands):
            others = [o for o in node.operands if o not in found]
            fixed = is_map(node) and all(fixed_value(o) for o in others)
            if not others or fixed:
                found.add(node)
    return found


def fixed_value(node: Node) -> bool:
    """Whether a value is the same in every run."""
    return node.common or (isinstance(node, Leaf) and node.kind == "constant")


def dependent(order: Iterable[Node], first: Callable[[Node], bool]) -> set[Node]:
    """The nodes of which `first` holds, and all that is made of them."""
    found: set[Node] = set()
    for node in order:
        if first(node) or any(o in found for o in node.operands):
            found.add(node)
    return found


def leading_to(order: Sequence[Node], targets: Iterable[Node]) -> set[Node]:
    """The nodes that a target is made of."""
    found: set[Node] = set()
    wanted = set(targets)
    for node in reversed(order):
        if node in wanted or node in found:
            found.update(node.operands)
    return found


def units(value: Node, products: Sequence[Product]) -> tuple[int, ...]:
    """The axes of a value that its weights have; where unknown, all but the first."""
    for product in products:
        if product.node.dims == value.dims and product.units:
            return product.units
    return tuple(range(min(1, len(value.dims) - 1), len(value.dims)))
