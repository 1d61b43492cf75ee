"""structure: what a page needs to know about a graph before it gives names.

In: the loss. Out: the same graph with repeated regions written out; which axis of each value
counts samples; which values are softmax or logsumexp, by their own structure; views resolved.

Guarantees: an axis counts samples only when no sample reads another and no parameter is read at
one, so that one sample may be shown alone. A softmax is recognised by its nodes (an exponential
over its own sum), never by who built it, and only when nothing else reads those nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codegen.index import Floor, Gather, Ix, Loop, Mod, constant, substitute
from symprop import term as t
from symprop.explain.elements import Normalised, moved
from symprop.graph import At, IndexOf, Leaf, Node, Opaque, Output, Reading, Reduce, Region
from symprop.make import fresh, make
from symprop.modes import MODE
from symprop.ops import elementwise as ops
from symprop.ops import stable
from symprop.ops.control import UPDATE
from symprop.walk import carry_over, rebuild, topological, users
from symprop.walk import substitute as replaced

__all__ = ["Sharing", "is_map", "is_view", "normalised", "samples", "through", "written_out"]


def is_map(node: Node) -> bool:
    """No loop is reduced, no guard holds anything back."""
    return _entrywise(node) and not node.guards  # type: ignore[attr-defined]


def _entrywise(node: Node) -> bool:
    """A map; where a guard fails it is 0."""
    return isinstance(node, Reduce) and len(node.loops) == node.nout


def is_view(node: Node) -> bool:
    """An operand at other places: a transpose, a reshape, a broadcast."""
    if not isinstance(node, Reduce) or not is_map(node) or not isinstance(node.body, t.Read):
        return False
    return isinstance(node.reads[0], At) and not node.reads[0].guards


def through(node: Node, index: Sequence[Ix]) -> tuple[Node, tuple[Ix, ...]]:
    """The value behind views, and the place of its element."""
    at = tuple(index)
    while is_view(node):
        assert isinstance(node, Reduce)
        read = node.reads[0]
        assert isinstance(read, At)
        mapping = dict(zip(node.outer, at, strict=True))
        node, at = read.node, tuple(substitute(i, mapping) for i in read.index)
    return node, at


def written_out(root: Node) -> Node:
    """The graph with every call of a region replaced by what it computes, and no updates."""
    new: dict[Node, Node] = {}
    order = topological([root])
    readers = users(order)
    for node in order:
        found = rebuild(node, new)
        if _only_reader(node, readers):
            found = _without_units(found)
        if isinstance(found, Output) and isinstance(found.of, Region):
            region = found.of
            mapping: dict[Node, Node] = {}
            mapping.update(zip(region.block.leaves, region.arguments, strict=True))
            found = written_out(replaced([region.block.outputs[found.n]], mapping)[0])
        of = found.of if isinstance(found, Output) else None
        if isinstance(of, Opaque) and of.atom in (UPDATE, MODE):
            found = of.arguments[0]  # a mark beside the value, or the value in training
        if found is not node:
            carry_over(node, found)
            new[node] = found
    return new.get(root, root)


def _only_reader(view: Node, readers: Mapping[Node, Sequence[Node]]) -> bool:
    """Whether nothing but a view reads the value behind it."""
    node = view
    while is_view(node):
        node = node.reads[0].node  # type: ignore[attr-defined]
        if len(readers[node]) > 1:
            return False
    return node is not view


def _without_units(node: Node) -> Node:
    """What a view of a sum is without the view, where that leaves out axes of one element: W x of
    a vector is a column."""
    if not is_view(node):
        return node
    of, index = through(node, [v.ix() for v in node.outer])  # type: ignore[attr-defined]
    if not isinstance(of, Reduce) or of.op != "sum" or len(of.loops) == of.nout:
        return node
    kept = [v for v, ix in zip(of.outer, index, strict=True) if isinstance(ix.atom, Loop)]
    plain = all(ix.value == 0 or isinstance(ix.atom, Loop) for ix in index)
    same = [ix.atom for ix in index if isinstance(ix.atom, Loop)] == list(node.outer)  # type: ignore[attr-defined]
    units = [v for v, ix in zip(of.outer, index, strict=True) if v not in kept]
    if not plain or not same or not units or any(v.extent.value != 1 for v in units):
        return node
    mapping: dict[Loop, Ix] = {v: constant(0) for v in units}
    guards = moved(of.guards, mapping)
    reads = [_read_at(r, mapping) for r in of.reads]
    if guards is None or None in reads:
        return node
    loops = [*kept, *of.inner]
    return make("sum", loops, len(kept), guards, of.body, [r for r in reads if r is not None],
                of.dtype, of.accumulator)  # fmt: skip


def _read_at(r: Reading, mapping: Mapping[Loop, Ix]) -> Reading | None:
    """A read at other places; None where a guard of its fails there."""
    if isinstance(r, IndexOf):
        return IndexOf(substitute(r.ix, mapping))
    guards = moved(r.guards, mapping)
    index = tuple(substitute(i, mapping) for i in r.index)
    return None if guards is None else At(r.node, index, guards)


# --- samples ---------------------------------------------------------------------------------


@dataclass
class Sharing:
    """``axis``: where each value counts samples; ``mixed``: values that samples share."""

    axis: dict[Node, int] = field(default_factory=dict)
    mixed: set[Node] = field(default_factory=set)
    extent: Ix | None = None


def samples(order: Sequence[Node]) -> Sharing:
    """The first axis of every input, if it counts samples in the whole graph; else nothing."""
    inputs = [n for n in order if isinstance(n, Leaf) and n.kind == "input" and n.dims]
    extents = dict.fromkeys(n.dims[0] for n in inputs)
    if len(extents) != 1 or next(iter(extents)).value == 1:
        return Sharing()
    found = Sharing(dict.fromkeys(inputs, 0), set(), next(iter(extents)))
    for node in order:
        if not isinstance(node, Leaf) and not follow(node, found, True):
            return Sharing()
    return found if found.mixed else Sharing()


def follow(node: Node, found: Sharing, strict: bool) -> bool:
    """Note the sample axis of one value; False where samples do not stay apart."""
    if not isinstance(node, Reduce):
        return not any(o in found.axis for o in node.operands)
    loops: dict[Loop | None, None] = {}
    for source, index in _places(node):
        if source in found.axis:
            atom = index[found.axis[source]].atom
            loops[atom if isinstance(atom, Loop) else None] = None
    if None in loops or len(loops) > 1:
        return False
    if not loops:
        if any(o in found.mixed for o in node.operands):
            found.mixed.add(node)
        return True
    loop = next(iter(loops))
    assert loop is not None
    if any(loop in ix.loops for ix in _other_indices(node, found)):
        return False
    if loop not in node.outer:
        found.mixed.add(node)
        return node.op == "sum"
    found.axis[node] = node.outer.index(loop)
    return not strict or not any(o in found.mixed for o in node.operands)


def _places(node: Reduce) -> Iterable[tuple[Node, tuple[Ix, ...]]]:
    """Everything a value reads, gathers included, and where."""
    for r in node.reads:
        if isinstance(r, At):
            yield r.node, r.index
    for ix in _indices(node):
        for atom in ix.atoms():
            if isinstance(atom, Gather):
                yield atom.source, atom.indices  # type: ignore[misc]


def _indices(node: Reduce) -> Iterable[Ix]:
    for g in node.guards:
        yield g.ix
    for r in node.reads:
        if isinstance(r, IndexOf):
            yield r.ix
        else:
            yield from r.index
            yield from (g.ix for g in r.guards)


def _other_indices(node: Reduce, found: Sharing) -> Iterable[Ix]:
    """The indices that must not hold the loop over samples."""
    for g in node.guards:
        yield from _bare(g.ix)
    for r in node.reads:
        if isinstance(r, IndexOf):
            yield r.ix
            continue
        for g in r.guards:
            yield from _bare(g.ix)
        if r.node in found.axis:
            own = found.axis[r.node]
            rest: Sequence[Ix] = [ix for k, ix in enumerate(r.index) if k != own]
        else:  # a number repeated for every sample reads no sample
            rest = () if r.node.common else through(r.node, r.index)[1]
        for ix in rest:
            yield from _bare(ix)


def _bare(ix: Ix) -> Iterable[Ix]:
    """The parts of an index outside gathers, those of a quotient or a remainder too."""
    for atom, _ in ix.terms:
        if isinstance(atom, Floor | Mod):
            yield from _bare(atom.of)
        elif not isinstance(atom, Gather):
            yield atom.ix()


# --- softmax and logsumexp -------------------------------------------------------------------


@dataclass(frozen=True)
class _Exponential:
    """e = exp(z - m) where the guards hold, and its sum s along the last axis; ``more``: the sum
    before 1 was put for 0 in rows of -inf alone."""

    e: Reduce
    s: Node
    of: Node
    shift: Node | None
    more: tuple[Node, ...] = ()

    def place(self, at: tuple[Ix, ...]) -> tuple[Ix, ...]:
        """Where the sum of the row of an element is: with or without an axis of one."""
        kept = len(self.s.dims) == len(at)
        return (*at[:-1], constant(0)) if kept else at[:-1]


def normalised(order: Sequence[Node]) -> dict[Node, Normalised]:
    """The values that are a softmax or a logsumexp along the last axis."""
    readers = users(order)
    found: dict[Node, Normalised] = {}
    for node in order:
        sums = _exponential_sum(node)
        if sums is None:
            continue
        own: dict[Node, Normalised] = {}
        for user in _beyond_views([sums.s], readers):
            if _is_share(user, sums):
                own[user] = Normalised("softmax", sums.of, sums.e.guards)
            elif _is_log(user, sums):
                own[user] = Normalised("logsumexp", sums.of)
        if own and _private(sums, own, readers):
            found.update(own)
    return found


def share(node: Node, order: Sequence[Node]) -> Node:
    """softmax(z) for a value that is logsumexp(z): e / s of the same nodes."""
    for n in order:
        sums = _exponential_sum(n)
        if sums is not None and _is_log(node, sums):
            over = fresh(sums.e.dims)
            at = tuple(v.ix() for v in over)
            reads = [At(sums.e, at), At(sums.s, sums.place(at))]
            return make("sum", over, len(over), (), t.read(0) / t.read(1), reads, node.dtype)
    raise AssertionError("a logsumexp is a sum of exponentials")


def _exponential_sum(node: Node) -> _Exponential | None:
    if isinstance(node, Reduce) and node.body is t.call(stable.one_if_zero.function, t.read(0)):
        r = node.reads[0]
        found = _exponential_sum(r.node) if isinstance(r, At) and _same_place(node, r) else None
        return None if found is None else replace(found, s=node, more=(found.s,))
    if not isinstance(node, Reduce) or node.op != "sum" or len(node.inner) != 1 or node.guards:
        return None
    if not isinstance(node.body, t.Read) or not isinstance(node.reads[0], At):
        return None
    e, index = node.reads[0].node, node.reads[0].index
    rows = [v for v in node.outer if v.extent.value != 1]
    if index != tuple(v.ix() for v in (*rows, *node.inner)) or not _entrywise(e):
        return None
    assert isinstance(e, Reduce)
    if not isinstance(e.body, t.Call) or e.body.fn is not ops.exp.function:
        return None
    return _shifted(e, node)


def _same_place(node: Reduce, r: At) -> bool:
    return r.index == tuple(v.ix() for v in node.outer) and not r.guards and not node.guards


def _shifted(e: Reduce, s: Node) -> _Exponential | None:
    """exp(z), or exp(z - stop(m)) with m constant along the last axis."""
    assert isinstance(e.body, t.Call)
    (arg,) = e.body.args
    at = tuple(v.ix() for v in e.outer)
    if isinstance(arg, t.Read) and _reads(e, arg.k, at):
        return _Exponential(e, s, e.reads[arg.k].node, None)  # type: ignore[union-attr]
    if not isinstance(arg, t.Sum) or arg.const or len(arg.terms) != 2:
        return None
    plain = [x for x, k in arg.terms if k == 1 and isinstance(x, t.Read)]
    stops = [x for x, k in arg.terms if k == -1 and isinstance(x, t.Call)]
    if len(plain) != 1 or len(stops) != 1 or stops[0].fn.name != "stop_gradient":
        return None
    (inner,) = stops[0].args
    if isinstance(inner, t.Call) and inner.fn is stable.finite_or_zero.function:
        (inner,) = inner.args
    if not isinstance(inner, t.Read) or not _reads(e, plain[0].k, at):
        return None
    shift = e.reads[inner.k]
    if not isinstance(shift, At) or any(e.outer[-1] in ix.loops for ix in shift.index):
        return None
    base, _ = through(shift.node, shift.index)
    return _Exponential(e, s, e.reads[plain[0].k].node, base)  # type: ignore[union-attr]


def _reads(node: Reduce, k: int, index: tuple[Ix, ...]) -> bool:
    r = node.reads[k]
    return isinstance(r, At) and r.index == index and not r.guards


def _is_share(node: Node, sums: _Exponential) -> bool:
    """e / s, where the guards hold."""
    if not isinstance(node, Reduce) or not _entrywise(node) or len(node.reads) != 2:
        return False
    if node.guards != sums.e.guards or node.outer != sums.e.outer:
        return False
    at = tuple(v.ix() for v in node.outer)
    places = [through(r.node, r.index) for r in node.reads if isinstance(r, At)]
    place = sums.place(at)
    if places == [(sums.e, at), (sums.s, place)]:
        return node.body is t.read(0) / t.read(1)
    return places == [(sums.s, place), (sums.e, at)] and node.body is t.read(1) / t.read(0)


def _is_log(node: Node, sums: _Exponential) -> bool:
    """log s, plus the shift, of every place."""
    if not isinstance(node, Reduce) or not is_map(node) or sums.e.guards:
        return False
    at = tuple(v.ix() for v in node.outer)
    terms = dict(node.body.terms) if isinstance(node.body, t.Sum) else {node.body: 1}
    seen: list[Node] = []
    for x, k in terms.items():
        if k != 1 or not isinstance(x, t.Call) or not isinstance(x.args[0], t.Read):
            return False
        r = node.reads[x.args[0].k]
        if not isinstance(r, At) or r.index != at or r.guards:
            return False
        if x.fn.name not in ("stop_gradient", "log"):
            return False
        if (x.fn.name == "log") != (r.node is sums.s):
            return False
        seen.append(r.node)
    return set(seen) == {sums.s, *([sums.shift] if sums.shift is not None else [])}


def _beyond_views(nodes: Sequence[Node], readers: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Who reads these values, views looked through."""
    found: list[Node] = []
    for node in nodes:
        for user in readers.get(node, ()):
            found += _beyond_views([user], readers) if is_view(user) else [user]
    return found


def _private(
    sums: _Exponential, own: Mapping[Node, Normalised], readers: Mapping[Node, Sequence[Node]]
) -> bool:
    """Whether nothing else reads the exponentials."""
    values = [sums.e, sums.s, *sums.more]
    inside = {*values, *own}
    return all(u in inside for u in _beyond_views(values, readers))
