"""Reading through a map: one node's body put into the body that reads it.

In: a node and one of its reads of an elementwise node. Out: the node without that read, or None
where the value at a point outside the guards, or its strong zero, could change.

Guarantee: exact. A guarded map read through becomes guarded reads, and only where every product of
its body then vanishes with them and nothing in it can be infinite there.
"""

from __future__ import annotations

from collections.abc import Callable

from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod, guard, substitute
from symprop import term as t
from symprop.graph import FLOATS, At, IndexOf, Node, Reading, Reduce
from symprop.make import make
from symprop.order import mapped, moved

CONDITIONS = (t.SELECT, t.NOT, t.AND, t.OR)


def is_map(node: Node) -> bool:
    """No reduced loop."""
    return isinstance(node, Reduce) and len(node.loops) == node.nout


def is_view(node: Node) -> bool:
    """A map whose body is one read of a node."""
    return (
        isinstance(node, Reduce)
        and is_map(node)
        and isinstance(node.body, t.Read)
        and isinstance(node.reads[0], At)
    )


def simple(ix: Ix) -> bool:
    """A constant, a size, or c + k*loop: what a slice can say."""
    loops = [a for a, _ in ix.terms if not isinstance(a, Dim)]
    return all(isinstance(a, Loop) for a in loops) and len(loops) <= 1


def complexity(ix: Ix) -> int:
    """Atoms of an index, floors and mods counted."""
    return sum(1 for a in ix.atoms() if not isinstance(a, Dim | Gather)) + 2 * sum(
        1 for a in ix.atoms() if isinstance(a, Floor | Mod)
    )


def slice_like(node: Reduce) -> bool:
    """A view that reads each axis at a constant, a slice, or a gather."""
    r = node.reads[0]
    assert isinstance(r, At)
    seen: set[Loop] = set()
    for ix in r.index:
        if any(isinstance(a, Floor | Mod) for a in ix.atoms()):
            return False
        if not any(isinstance(a, Gather) for a in ix.atoms()):
            if not simple(ix) or seen & set(ix.loops):
                return False
            seen.update(ix.loops)
    return True


def inline(node: Reduce, k: int, fits: Callable[[Node], bool] = lambda n: True) -> Node | None:
    """``node`` with its read number k, of a map, replaced by the map's body."""
    r = node.reads[k]
    assert isinstance(r, At)
    assert isinstance(r.node, Reduce)
    source = r.node
    if not _types_agree(node, k, source):
        return None
    mapping = mapped(source.outer, r.index)
    guards: list[Guard] = [*r.guards]
    for g in source.guards:
        own = guard(substitute(g.ix, mapping), g.kind)
        if own is False:
            return _without(node, k, t.num(0), ())
        if isinstance(own, Guard) and own not in node.guards and own not in guards:
            guards.append(own)
    reads: list[Reading] = [moved(x, mapping) for x in source.reads]
    body = source.body
    if guards and is_map(node) and not isinstance(body, t.Read) and _factor(node.body, k):
        # The reader is 0 wherever what it reads is: the guards become its own.
        made = _without(node, k, body, tuple(reads), tuple(guards))
        return made if fits(made) else None
    if guards:
        if not isinstance(body, t.Read) and not _vanishes(body, source.reads):
            return None
        reads = [_guarded(x, guards) for x in reads]
    made = _without(node, k, body, tuple(reads))
    return made if fits(made) else None


def _guarded(r: Reading, guards: list[Guard]) -> Reading:
    if isinstance(r, IndexOf):
        return r
    both = dict.fromkeys((*r.guards, *guards))
    return At(r.node, r.index, tuple(sorted(both, key=lambda g: (g.kind, g.digest))))


def _vanishes(body: t.Term, reads: tuple[Reading, ...]) -> bool:
    """The body is exactly 0, and finite, when every node it reads gives 0."""
    if isinstance(body, t.Read):
        return isinstance(reads[body.k], At)
    if isinstance(body, t.Sum):
        return body.const == 0 and all(_vanishes(x, reads) for x, _ in body.terms)
    if isinstance(body, t.Prod):
        plain = all(n > 0 and isinstance(b, t.Read) for b, n in body.factors)
        return plain and any(_vanishes(b, reads) for b, _ in body.factors)
    return False


def _factor(body: t.Term, k: int) -> bool:
    """Read k is a factor of the whole body."""
    _, rest = t.coefficient(body)
    if isinstance(rest, t.Prod):
        return any(n > 0 and isinstance(b, t.Read) and b.k == k for b, n in rest.factors)
    return isinstance(rest, t.Read) and rest.k == k


def _without(
    node: Reduce, k: int, body: t.Term, reads: tuple[Reading, ...], extra: tuple[Guard, ...] = ()
) -> Node:
    """The node's read k replaced by a term over new reads, under extra guards."""
    count = len(node.reads)
    inner = t.replace(body, [t.read(count + j) for j in range(len(reads))])
    mapping = [inner if j == k else t.read(j) for j in range(count)]
    return make(
        node.op, node.loops, node.nout, (*node.guards, *extra), t.replace(node.body, mapping),
        [*node.reads, *reads], node.dtype, node.accumulator,
    )  # fmt: skip


def _types_agree(node: Reduce, k: int, source: Reduce) -> bool:
    """The body means the same inside the reader: one dtype, or a truth value used as one."""
    if source.dtype == node.dtype:
        return True
    if isinstance(source.body, t.Read) and isinstance(source.reads[0], At):
        return source.reads[0].node.dtype == source.dtype  # a pure move converts nothing
    if source.dtype == "bool":
        return _only_condition(node.body, k) and _one_dtype(source)
    return node.dtype == "bool" and source.dtype in FLOATS and _one_dtype(node)


def _one_dtype(node: Reduce) -> bool:
    """Every value read is of one dtype, so that comparisons mean the same anywhere."""
    found = {r.node.dtype if isinstance(r, At) else "int64" for r in node.reads}
    return len(found) <= 1


def _only_condition(body: t.Term, k: int) -> bool:
    """Read k stands only where a truth value is asked for."""
    for x in t.subterms(body):
        for n, child in enumerate(t.children(x)):
            if isinstance(child, t.Read) and child.k == k:
                asked = isinstance(x, t.Call) and x.fn in CONDITIONS
                if not asked or (isinstance(x, t.Call) and x.fn is t.SELECT and n > 0):
                    return False
    return not (isinstance(body, t.Read) and body.k == k)
