"""symbols: which letter each value of a page gets.

In: a `Network`. Out: a symbol for every leaf, stage and cotangent, and names for free sizes.

    parameters   a short name of the user's (W1, b) is kept; else, where every pre-activation has
                 one weight of its own, W_l and b_l by the order of the graph; else the user's words
    stages       z_l, h_l, p (softmax), L; else the user's name or the value's role
    cotangents   delta_l of z_l; dL/dv of any other

Guarantees: no two values share a letter; the choice depends on the graph and its names alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codegen.index import Dim
from symprop import graph
from symprop.explain.algebra import ERROR
from symprop.explain.network import Network, base
from symprop.explain.notation import Symbol
from symprop.graph import Leaf, Node, Output, Reduce, Scan
from symprop.naming import Roles
from symprop.term import Call, Function, given_names, subterms
from symprop.walk import topological

__all__ = ["Key", "Symbols", "choose", "key_of", "made_up", "short"]

SHORT = re.compile(r"([A-Za-z])_?([0-9]{0,3})\Z|([A-Z])([a-z])\Z|([A-Za-z])_([a-z0-9]{1,6})\Z")


Key = tuple[object, ...]
CARRIED = "hcsqr"


def key_of(scan: Scan) -> Key:
    """What scans share that differ in the values they keep alone."""
    return scan.block.leaves, scan.arguments, scan.length, scan.reverse


def made_up(name: str) -> bool:
    """Whether a name of a scan's operand is no name of the user's."""
    return re.fullmatch(r"(carry|slice)\d+|", name) is not None


class Symbols:
    """The symbols of one page: by node, in the order of the page."""

    def __init__(self) -> None:
        self.of: dict[Node, Symbol] = {}
        self.cotangents: dict[Node, Symbol] = {}  # by the value whose cotangent it is
        self.sizes: dict[str, str] = {}
        self.functions: dict[str, str] = {}  # what they are called, by their names
        self.carries: dict[Key, list[tuple[str, str]]] = {}  # of each recurrence
        self.taken: set[tuple[str, str]] = set()

    def length(self, scan: Scan) -> str:
        """How many steps a recurrence has: a number, or the name of a size."""
        atom = scan.length.atom
        if scan.length.value is not None or not isinstance(atom, Dim):
            return str(scan.length.value or "T")
        return self.sizes.get(atom.name, atom.name)

    def letter(self, wanted: str, node: Node) -> Symbol:
        """A letter of some that nobody has; the first with a number where all are taken."""
        free = (c for c in wanted if (c, "") not in self.taken)
        return self.claim(next(free, wanted[0]), "", node)

    def claim(self, base: str, sub: str, node: Node, **facts: object) -> Symbol:
        """A symbol nobody else has."""
        words, number = sub, 2
        while (base, words) in self.taken:
            words = f"{sub}′" if number == 2 and sub else f"{sub}.{number}" if sub else str(number)
            number += 1
        self.taken.add((base, words))
        return Symbol(base, words, node, len(node.dims), **facts)  # type: ignore[arg-type]


def choose(net: Network) -> Symbols:
    """The symbols of a page."""
    found = Symbols()
    found.functions = given_names(_functions(net.order))
    for leaf in net.order:
        if isinstance(leaf, Leaf) and leaf.kind != "parameter":
            found.of[leaf] = _leaf(found, net, leaf)
    numbers = _numbers(net)
    _name_parameters(found, net, numbers)
    _name_carries(found, net)
    _name_stages(found, net, numbers)
    _name_cotangents(found, net)
    _name_sizes(found, net)
    _capitals(found)
    return found


def _functions(order: Sequence[Node]) -> list[Function]:
    """The functions of the graph, those of a recurrence's step too."""
    found: list[Function] = []
    for n in order:
        if isinstance(n, Scan):
            found += _functions(topological(n.block.outputs))
        if isinstance(n, Reduce):
            found += [x.fn for x in subterms(n.body) if isinstance(x, Call)]
    return found


def parameters(net: Network) -> list[Leaf]:
    """What the network calls parameters, those that the page derives by first."""
    every = dict.fromkeys([*net.parameters, *(n for n in net.order if isinstance(n, Leaf))])
    return [n for n in every if n.kind == "parameter"]


def short(name: str) -> tuple[str, str]:
    """("W", "1") for W1 and W_1; the name itself as one word otherwise."""
    match = SHORT.fullmatch(name)
    if match is None:
        return name, ""
    letter, sub = [g for g in match.groups() if g is not None]
    return letter, sub


def _leaf(found: Symbols, net: Network, leaf: Leaf) -> Symbol:
    letter, sub = short(leaf.name or "c")
    batch = net.sharing.axis.get(leaf)
    return found.claim(letter, sub, leaf, batch=batch, code=leaf.name)


# --- layers, by the graph alone --------------------------------------------------------------


def weights(net: Network, node: Node) -> tuple[list[Leaf], list[Leaf]]:
    """The parameters of a pre-activation: those in a product, those that are added."""
    inside: list[Leaf] = []
    added: list[Leaf] = []
    pending = [node]
    while pending:
        top = pending.pop()
        for o in top.operands:
            value = base(o)
            if isinstance(value, Leaf):
                if value.kind == "parameter":
                    (inside if _multiplied(top) else added).append(value)
            elif value not in net.roles:
                pending.append(value)
    return list(dict.fromkeys(inside)), list(dict.fromkeys(added))


def _multiplied(node: Node) -> bool:
    return isinstance(node, Reduce) and bool(node.inner)


def _numbers(net: Network) -> dict[Node, str]:
    """l for the pre-activations and their parameters, where they are a chain: each feeds the next
    and has one weight of its own."""
    found: dict[Node, str] = {}
    before: Node | None = None
    for k, node in enumerate([n for n in net.stages if net.roles[n] == "pre"], 1):
        inside, added = weights(net, node)
        own = [*inside, *added]
        if len(inside) != 1 or len(added) > 1 or any(p in found for p in own):
            return {}
        if before is not None and before not in topological([node]):
            return {}
        found.update(dict.fromkeys([node, *own], str(k)))
        before = node
    return found


def _name_parameters(found: Symbols, net: Network, numbers: dict[Node, str]) -> None:
    shown = parameters(net)
    keep = all(SHORT.fullmatch(p.name) for p in shown)
    letters = _letters(net)
    for p in shown:
        letter, sub = short(p.name)
        if not keep and p in letters and (p in numbers or letter != letters[p]):
            letter = letters[p]
            sub = numbers[p] if p in numbers else _word(p, letters)
        found.of[p] = found.claim(letter, sub, p, code=p.name)


def _letters(net: Network) -> dict[Leaf, str]:
    """W for a parameter in the product of a pre-activation, b for one that is added."""
    found: dict[Leaf, str] = {}
    for node in net.stages:
        if net.roles[node] == "pre":
            inside, added = weights(net, node)
            for p in inside:
                found.setdefault(p, "W" if len(p.dims) > 1 else "w")
            for p in added:
                found.setdefault(p, "b")
    return found


def _word(p: Leaf, letters: dict[Leaf, str]) -> str:
    """What tells a parameter from the others of its letter: "hidden" of hidden.weight."""
    same = [q.name for q in letters if letters[q] == letters[p]]
    front, _, last = p.name.rpartition(".")
    for word, others in (
        (front, [n.rpartition(".")[0] for n in same]),
        (last, [n.rpartition(".")[2] for n in same]),
    ):
        if word and others.count(word) == 1:
            return word
    return p.name


def _name_carries(found: Symbols, net: Network) -> None:
    """h for what a recurrence carries on, the user's word where there is one."""
    for scan in (n for n in net.order if isinstance(n, Scan)):
        letters: list[tuple[str, str]] = []
        for k in range(scan.ncarry):
            name = scan.block.names[k]
            words = [short(name)[0]] if not made_up(name) else []
            free = [c for c in (*words, *CARRIED) if (c, "") not in found.taken]
            letters.append((free[0] if free else f"carry{k}", ""))
            found.taken.add(letters[-1])
        found.carries.setdefault(key_of(scan), letters)


def _result(found: Symbols, node: Output, scan: Scan, facts: dict[str, object]) -> Symbol | None:
    """h_T for the last of a carry, H for a carry of every step; else None."""
    letters = found.carries[key_of(scan)]
    if node.n < scan.ncarry:
        last = "1" if scan.reverse else found.length(scan)
        return found.claim(letters[node.n][0], last, node, **facts)
    for k, letter in enumerate(letters):
        whole = (letter[0], "every")
        if scan.block.outputs[k] is scan.block.outputs[node.n] and whole not in found.taken:
            found.taken.add(whole)
            return Symbol(*letter, node, len(node.dims), **facts)  # type: ignore[arg-type]
    return None


def _name_stages(found: Symbols, net: Network, numbers: dict[Node, str]) -> None:
    roles = Roles({})
    count = 0
    for node in net.stages:
        facts: dict[str, object] = {"batch": net.sharing.axis.get(node), "code": graph.hint(node)}
        role = net.roles[node]
        if role == "pre":
            count += 1
            sub = numbers.get(node) or _of_weight(found, net, node) or str(count)
            found.of[node] = found.claim("z", sub, node, **facts)
        elif role == "post":
            below = found.of.get(base(node.operands[0]))
            sub = below.sub if below is not None and below.base == "z" else ""
            found.of[node] = found.claim("h", sub, node, **facts)
        elif role == "loss":
            found.of[node] = found.claim("L", "", node, **facts)
        else:
            found.of[node] = _other(found, node, role, roles, facts)
    for node in net.share.values():
        if node not in found.of:
            batch = net.sharing.axis.get(node)
            found.of[node] = found.claim("p", "", node, batch=batch)


def _of_weight(found: Symbols, net: Network, node: Node) -> str:
    """The subscript of the one weight of a pre-activation: z_q of W_q."""
    inside, _ = weights(net, node)
    own = len(inside) == 1 and sum(inside[0] in weights(net, n)[0] for n in net.stages) == 1
    return found.of[inside[0]].sub if own else ""


def _other(found: Symbols, node: Node, role: str, roles: Roles, facts: dict[str, object]) -> Symbol:
    """A value that is no layer: the user's name, or its role in a word."""
    if isinstance(node, Output) and isinstance(node.of, Scan) and not graph.hint(node):
        result = _result(found, node, node.of, facts)
        if result is not None:
            return result
    word = graph.hint(node) or graph.suggested(node)
    if role == "softmax" and not word:
        return found.claim("p", "", node, **facts)
    if not word:
        word = roles(node).strip("_") or "v"
    letter, sub = short(word)
    return found.claim(letter, sub, node, **facts)


def _name_cotangents(found: Symbols, net: Network) -> None:
    loss = found.of[net.loss]
    for node in net.exact:
        of = found.of[node]
        batch = net.sharing.axis.get(node)
        if net.roles.get(node) == "pre":
            symbol = found.claim(ERROR, of.sub, net.exact[node], batch=batch)
        else:
            symbol = Symbol(loss.base, "", net.exact[node], len(node.dims), batch, of)
        found.cotangents[node] = symbol


def _name_sizes(found: Symbols, net: Network) -> None:
    """B for the number of samples, or N beside the whole of an input b; other free sizes keep
    their names."""
    leaves = [s for n, s in found.of.items() if isinstance(n, Leaf) and n.kind == "input"]
    inputs = {s.base.upper() for s in leaves if s.rank >= 2 and not s.sub}
    free = [c for c in "BN" if (c, "") not in found.taken and c not in inputs]
    for node in net.order:
        for d in node.dims:
            for atom in d.atoms():
                if isinstance(atom, Dim) and atom.name not in found.sizes:
                    counts = net.size is not None and net.size.atom is atom
                    letter = free[0] if counts and free else atom.name
                    found.sizes[atom.name] = letter
                    found.taken.add((letter, ""))


def _capitals(found: Symbols) -> None:
    """X for the whole of x, where no other value is called X."""
    for symbol in (*found.of.values(), *found.cotangents.values()):
        kept = isinstance(symbol.node, Leaf) and symbol.node.kind == "parameter"
        rows = symbol.rank >= 2 and not kept and len(symbol.base) == 1
        capital = symbol.base.upper()
        if rows and capital != symbol.base and (capital, symbol.sub) not in found.taken:
            object.__setattr__(symbol, "capital", capital)
