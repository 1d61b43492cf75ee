"""GRAPH -> PROGRAM: the only road from values to ordered assignments over named buffers.

In: named outputs, the updates that happen at once after they are computed, the width that "float"
takes. Out: a ``codegen.program.Program``; ``codegen.verify`` accepts it.

    leaf    -> an argument (input, scalar, parameter, state) or a constant
    Reduce  -> one Assign; an accumulation at computed positions where a guard fixes an output loop
    Scan    -> a Scan step, Region -> a Block step: one sub-program for all equal blocks
    Output  -> a target of its step

Guarantees: arguments are inputs in the order in which the user's expressions read them, then
scalars, parameters and states; names and text follow the user's names and the graph, never the
order of creation; an update reads old values only, and is computed in place where nothing else
needs it; the value of every output is unchanged.

It does not simplify: what it is handed is what is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from codegen import program as p
from codegen.index import Dim, Gather, Guard, Ix, Loop, dim, gather, guard, loop, transform
from codegen.names import Names, comment_safe
from codegen.program import BufferSource, Dtype, Load, Program, Scalar
from symprop.arguments import arguments, with_sizes
from symprop.constants import check_data, check_formula
from symprop.errors import DeclarationError, UnsupportedError, quoted
from symprop.formulas import formula
from symprop.graph import (
    INTS,
    At,
    Block,
    IndexOf,
    Leaf,
    Node,
    Opaque,
    Origin,
    Reading,
    Reduce,
    Region,
    Scan,
    hint,
    origin,
    outputs_of,
    suggested,
)
from symprop.naming import (
    LONGEST,
    Axes,
    Roles,
    adjoint_of,
    by_rule,
    dim_name,
    first_form,
    function_of,
    loop_names,
)
from symprop.scalars import FLOATS, Kind, Place, Reads, scalar
from symprop.scatter import scattered
from symprop.schedule import Schedule, schedule
from symprop.sections import derived, sections
from symprop.settle import settled
from symprop.term import Prod, coefficient

__all__ = ["lower"]

_LIMITS: dict[str, Any] = {"int32": np.iinfo("int32"), "int64": np.iinfo("int64")}


def lower(
    outputs: Sequence[tuple[str, Node]],
    updates: Sequence[tuple[Leaf, Node]] = (),
    dtype: Dtype = "float32",
    name: str = "function",
    doc: str = "",
    declared: Sequence[Leaf] = (),
) -> Program:
    """The program of the outputs, in order.

    Args:
        outputs: (name, value); the name is used where the value has none of its own.
        updates: (state or parameter, its new value), all from old values.
        dtype: what "float" means.
        name: of the program, and of the function that a text backend prints.
        doc: the header, lines of text.
        declared: leaves that may be asked for although no value needs them: the first that has a
            free size which nothing else shows is an argument, too.
    """
    common = _Common(dtype)
    return common.program(outputs, updates, name, doc, declared)


class _Common:
    """What the sub-programs of one program share."""

    def __init__(self, dtype: Dtype) -> None:
        self.dtype = dtype
        self.blocks: dict[tuple[Any, ...], Program] = {}
        self.dims: dict[str, Dim] = {}
        self.legal: dict[Dim, Dim] = {}
        self.dim_names = Names()

    def program(
        self,
        outputs: Sequence[tuple[str, Node]],
        updates: Sequence[tuple[Leaf, Node]],
        name: str,
        doc: str,
        declared: Sequence[Leaf] = (),
    ) -> Program:
        roots = [n for _, n in outputs]
        plan = schedule(roots, updates)
        found = with_sizes(
            arguments([*roots, *(n for pair in updates for n in pair)]), plan.values, declared
        )
        for node in (*found, *plan.values):
            for d in node.dims:
                self.ix(d)
        return _Lowering(self, name, doc, found, plan, outputs, updates).made()

    def block(self, block: Block) -> Program:
        """The sub-program of a block: equal blocks give one object."""
        key = (block,)
        if key not in self.blocks:
            values = settled(block.outputs)
            outputs = [(hint(n), n) for n in values]
            plan = schedule(values, ())
            named: dict[Node, str] = dict(zip(block.leaves, block.names, strict=True))
            self.blocks[key] = _Lowering(
                self, block.name or "block", "", list(block.leaves), plan, outputs, (), named
            ).made()
        return self.blocks[key]

    def width(self, dtype: str) -> Dtype:
        """The storage dtype of a node's."""
        return self.dtype if dtype == "float" else cast(Dtype, dtype)

    def legal_dim(self, d: Dim) -> Dim:
        """The dimension under a name that code can use."""
        found = self.legal.get(d)
        if found is None:
            other = self.dims.setdefault(d.name, d)
            if other is not d:
                raise DeclarationError(
                    f"the dimension {quoted(d.name)} is declared twice with different bounds: "
                    "declare it once with prop.Dim and use that everywhere"
                )
            word = self.dim_names(d.name, "size")
            found = d if word == d.name else dim(word, d.lower, d.nominal, d.capacity)
            self.legal[d] = found
        return found

    def ix(self, ix: Ix) -> Ix:
        """A combination of dimensions alone, under legal names."""
        return transform(ix, lambda a: self.legal_dim(a).ix() if isinstance(a, Dim) else None)


def _users(values: Sequence[Node]) -> dict[Node, list[Node]]:
    found: dict[Node, list[Node]] = {}
    for node in values:
        for operand in node.operands:
            found.setdefault(operand, []).append(node)
    return found


class _Lowering:
    """One program under construction."""

    def __init__(
        self,
        common: _Common,
        name: str,
        doc: str,
        arguments: Sequence[Leaf],
        plan: Schedule,
        outputs: Sequence[tuple[str, Node]],
        updates: Sequence[tuple[Leaf, Node]],
        titles: Mapping[Node, str] | None = None,
    ) -> None:
        self.common, self.name, self.doc = common, name, doc
        self.plan, self.outputs, self.updates = plan, outputs, updates
        self.titles = titles or {}
        self.axes = Axes()
        self.buffers: list[p.Buffer] = []
        self.by_node: dict[Node, p.Buffer] = {}
        self.by_name: dict[str, p.Buffer] = {}
        self.by_origin: dict[Origin, p.Buffer | None] = {}  # None: several values have that origin
        self.kept: dict[Node, p.Buffer] = {}  # old values of arguments that are overwritten
        self.positions: dict[str, int] = {}
        self.steps: list[p.Step] = []
        self.dims: dict[Dim, None] = {}
        self.moved: dict[Ix, Ix] = {}  # indices without gathers, over legal dimensions
        self.arguments = arguments
        self.given = {n: title for title, n in reversed(outputs) if title and not hint(n)}
        self.given |= {n: f"new_{leaf.name}" for leaf, n in updates if not hint(n)}
        self.given |= self.titles
        for _, n in outputs[: 1 if titles else None]:  # a block's others are saved values
            if n not in self.given and not isinstance(n, Leaf) and not Roles(self.titles)(n):
                self.given[n] = "output"
        self.roles = Roles(self.given)
        self.updating = {new for _, new in updates}  # their code says all
        self.users = _users(plan.values)
        self.sections = sections(plan.values, self.updating, [n for _, n in outputs])
        if titles and any(derived(n) for _, n in outputs):  # a derivative's block, all of it
            self.sections = dict.fromkeys(self.sections, "backward")
        self.names: Names

    def made(self) -> Program:
        """The finished program."""
        common = self.common
        self.names = Names([d.name for d in common.legal.values()])
        for leaf in self.arguments:
            self.argument(leaf)
        for node in self.plan.values:
            if isinstance(node, Reduce):
                self.reduce(node)
            elif isinstance(node, Scan | Region | Opaque):
                self.many(node)
        self.copies()
        names = [self.output(n) for _, n in self.outputs]
        return Program(
            Names()(self.name, "function"), self.doc, tuple(self.dims), tuple(self.buffers),
            tuple(self.steps), tuple(names),
        )  # fmt: skip

    # --- buffers ---------------------------------------------------------------------------------

    def ix(self, ix: Ix) -> Ix:
        """An index over buffers instead of nodes."""
        found = self.moved.get(ix)
        if found is None:
            found = self.over_buffers(ix)
            if not ix.gathers:
                self.moved[ix] = found
        return found

    def over_buffers(self, ix: Ix) -> Ix:
        """The same, worked out."""

        def change(atom: object) -> Ix | None:
            if isinstance(atom, Dim):
                legal = self.common.legal_dim(atom)
                self.dims.setdefault(legal)
                return None if legal is atom else legal.ix()
            if isinstance(atom, Loop):
                extent = self.ix(atom.extent)
                return None if extent is atom.extent else loop(atom.position, extent).ix()
            if isinstance(atom, Gather):
                b = self.by_node[cast(Node, atom.source)]
                low, high = self.bounds(cast(Node, atom.source))
                source = BufferSource(b.name, low, high)
                return gather(source, [transform(i, change) for i in atom.indices])
            return None

        return transform(ix, change)

    def loop(self, item: Loop) -> Loop:
        """A loop over legal dimensions."""
        return loop(item.position, self.ix(item.extent))

    def guards(self, guards: Sequence[Guard]) -> tuple[Guard, ...]:
        found = (guard(self.ix(g.ix), g.kind) for g in guards)
        return tuple(g for g in found if isinstance(g, Guard))

    def bounds(self, node: Node) -> tuple[Ix, Ix]:
        return self.ix(node.low), self.ix(node.high)

    def argument(self, leaf: Leaf) -> None:
        """The buffer of a leaf."""
        title = self.titles.get(leaf, leaf.name)
        role = {"local": "input", "key": "input"}.get(leaf.kind, leaf.kind)
        data = None
        if leaf.kind == "constant":
            data = tuple(np.asarray(leaf.init).ravel().tolist())
            check_data(data, self.common.width(leaf.dtype), leaf.where)
        label = leaf.name if leaf.kind != "local" else ""
        fallback = "value" if leaf.kind == "local" else leaf.kind
        self.new_buffer(leaf, self.names(title, fallback), cast(p.Role, role), label, data)

    def new_buffer(
        self, node: Node, name: str, role: p.Role, label: str = "", data: Any = None
    ) -> p.Buffer:
        """The buffer that holds a value."""
        axes = self.axes(node)
        dims = tuple(self.ix(d) for d in node.dims)
        low = high = None
        if node.dtype in INTS:
            low, high = self.bounds(node)
            limits = _LIMITS[node.dtype]
            if (low.value, high.value) == (limits.min, limits.max):
                low = high = None
        legal = tuple(dim_name(self.ix(d)) or a for a, d in zip(axes, node.dims, strict=True))
        made = p.Buffer(
            name, dims, legal, self.common.width(node.dtype), role, label, low, high, data
        )
        self.positions[name] = len(self.buffers)
        self.buffers.append(made)
        self.by_node[node] = self.by_name[name] = made
        source = origin(first_form(node))
        self.by_origin[source] = None if source in self.by_origin else made
        return made

    def scratch(self, node: Node) -> p.Buffer:
        """The buffer of a computed value."""
        word = self.given.get(node) or hint(node) or suggested(node) or self.adjoint(node)
        word = word or self.roles(node) or self.part(node) or self.made_by(node)
        made = self.new_buffer(node, self.names(word, "value"), "scratch", hint(node))
        made = replace(made, section=self.sections.get(node, ""))
        self.buffers[self.positions[made.name]] = made
        self.by_node[node] = self.by_name[made.name] = made
        return made

    def adjoint(self, node: Node) -> str:
        """d_ and the name of what the value is the derivative of, where that has a buffer."""
        primal = adjoint_of(first_form(node))
        found = None if primal is None else self.by_origin.get(origin(first_form(primal)))
        word = "" if found is None else f"d_{found.name}"
        return word if len(word) <= LONGEST else ""

    def made_by(self, node: Node) -> str:
        """A word from the operation that the value is a result of, or a derivative of."""
        first = first_form(node)
        primal = adjoint_of(first)
        if primal is not None:
            word = f"d_{by_rule(first_form(primal))}"
            return word if word != "d_" and word[2:] not in self.by_name else ""
        inner = function_of(node)
        operand = None if inner is None else self.by_node.get(inner[1])
        word = f"{inner[0]}_{operand.name}" if inner and operand else by_rule(first)
        return word if len(word) <= LONGEST else ""

    def part(self, node: Node) -> str:
        """The name of an unnamed value that one named value reads: what it is of that."""
        users = self.users.get(node, ())
        if len(users) != 1 or not isinstance(node, Reduce):
            return ""
        whole = self.roles(users[0])
        if not whole or len(whole) > LONGEST - 8 or whole.startswith("new_"):
            return ""
        if len(node.loops) > node.nout:
            core = coefficient(node.body)[1]
            product = node.op == "sum" and isinstance(core, Prod) and len(core.factors) > 1
            return f"{whole}_{'product' if product else node.op}"
        return f"{whole}_{'scale' if len(node.dims) < len(users[0].dims) else 'part'}"

    # --- steps -----------------------------------------------------------------------------------

    def reduce(self, node: Reduce) -> None:
        """One assignment."""
        target_leaf = self.plan.in_place.get(node)
        words = self.loop_words(node)
        node_loops = dict(zip(node.loops, words, strict=True))
        index: tuple[Ix, ...] = tuple(item.ix() for item in node.outer)
        loops, guards, reads = node.loops, node.guards, node.reads
        if target_leaf is None:
            moved = scattered(node)
            if moved is not None:
                loops, index, guards, reads = moved
        body = self.body(node, reads)
        if target_leaf is None:
            target = self.scratch(node)
        else:
            target = self.by_node[node] = self.by_node[target_leaf]
        accumulator = self.common.width(node.accumulator)
        step = p.Assign(
            target.name,
            tuple(self.ix(i) for i in index),
            "=" if len(node.loops) == node.nout else node.op,
            tuple(self.loop(item) for item in loops),
            tuple(node_loops[item] for item in loops),
            self.guards(guards),
            body,
            accumulator,
            "",
            origin(node).place,
        )
        self.steps.append(
            replace(step, formula=comment_safe(formula(target.name, step, self.by_name)))
        )

    def loop_words(self, node: Reduce) -> list[str]:
        """Unique names for the loops of a node."""
        names = Names()
        taken = [self.by_node[o].name for o in node.operands if o in self.by_node]
        return [names(word, "i") for word in loop_names(node, self.axes, taken)]

    def body(self, node: Reduce, reads: Sequence[Reading]) -> Scalar:
        """The formula over buffers."""
        scalars: list[Scalar] = []
        kinds: list[Kind] = []
        places: list[Place] = []
        for r in reads:
            if isinstance(r, IndexOf):
                ix = self.ix(r.ix)
                scalars.append(p.IndexValue(ix))
                fixed = not any(isinstance(a, Loop | Gather) for a in ix.atoms())
                kinds.append("size" if fixed else "int64")
                places.append(Place(3, 0, fixed))
                continue
            assert isinstance(r, At)
            b = self.by_node[r.node]
            load = Load(b.name, tuple(map(self.ix, r.index)), self.guards(r.guards))
            scalars.append(load)
            kinds.append(cast(Kind, b.dtype))
            group = {"state": 0, "parameter": 2}.get(b.role, 1)
            places.append(Place(group, self.positions[b.name], not b.dims))
        dtype = self.common.width(node.dtype)
        compute = dtype if dtype in FLOATS else self.float_of(kinds)
        known = Reads(scalars, kinds, places)
        made = scalar(node.body, known, dtype, compute)
        check_formula(made, compute, origin(node).place)
        return made

    def float_of(self, kinds: Sequence[str]) -> Dtype:
        """The float in which a formula of an integer or truth value computes."""
        found = [k for k in kinds if k in FLOATS]
        return cast(Dtype, max(found)) if found else self.common.dtype

    def many(self, node: Scan | Region | Opaque) -> None:
        """A step with several targets."""
        if isinstance(node, Opaque):
            raise UnsupportedError(f"no backend has the operation {quoted(node.atom.name)} yet")
        body = self.common.block(node.block)
        for d in body.dims:
            self.dims.setdefault(d)
        targets = tuple(self.scratch(n).name for n in outputs_of(node))
        arguments = [self.by_node[a].name for a in node.arguments]
        place = origin(node).place
        if isinstance(node, Region):
            self.steps.append(p.Block(targets, tuple(arguments), body, "", place))
            return
        nc, ns = node.ncarry, node.nslice
        self.steps.append(
            p.Scan(
                targets,
                self.ix(node.length),
                node.reverse,
                tuple(arguments[:nc]),
                tuple(arguments[nc : nc + ns]),
                tuple(arguments[nc + ns :]),
                body,
                "",
                place,
            )
        )

    # --- the end ---------------------------------------------------------------------------------

    def copies(self) -> None:
        """Updates whose new values were computed aside: copied now, from old values alone."""
        updated = {leaf for leaf, _ in self.updates}
        for node in (*(n for _, n in self.outputs), *(new for _, new in self.plan.copies)):
            if node in updated and node not in self.kept:
                self.kept[node] = self.copy(node, None)
        for leaf, new in self.plan.copies:
            self.copy(leaf, self.kept.get(new, self.by_node[new]))

    def copy(self, node: Node, source: p.Buffer | None) -> p.Buffer:
        """``source`` into the buffer of ``node``; without a source, that buffer into a new one."""
        own = self.by_node[node]
        target = own
        if source is None:
            source = own
            name = self.names(f"old_{own.name}")
            target = replace(own, name=name, role="scratch", label="", data=None)
            self.positions[name] = len(self.buffers)
            self.buffers.append(target)
            self.by_name[name] = target
        loops = tuple(loop(k, d) for k, d in enumerate(target.dims))
        index = tuple(item.ix() for item in loops)
        names, letters = Names(), iter("ijklmnpq")
        words = tuple(names(a or next(letters, "i"), "i") for a in target.axes)
        body: Scalar = Load(source.name, index)
        if source.dtype != target.dtype:
            body = p.Cast(target.dtype, body)
        self.steps.append(p.Assign(target.name, index, "=", loops, words, (), body, target.dtype))
        return target

    def output(self, node: Node) -> str:
        """The name of a result."""
        return self.kept.get(node, self.by_node[node]).name
