"""The header of generated code: the forward formulas, conventions, the number of operations.

In: the values as the user wrote them; the program they became. Out: lines of text such as

    hidden = x @ hidden_weight.T + hidden_bias
    logits = relu(hidden) @ logits_weight.T + logits_bias
    loss = mean(logsumexp(logits) - logits[y])

    conventions: relu'(0) = 0

    operations: 28,440*batch + 102,437

Guarantees: deterministic; the counts are exact for the program as written (a function of the
table is one operation, every point of the loops is counted, masked or not), formulas in the named
dimensions. The formulas are for readers: long ones are cut.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction

from codegen.names import identifier
from codegen.polynomial import Poly, added, product, size_of, spelled
from codegen.program import (
    Assign,
    Block,
    Cast,
    IndexValue,
    Library,
    Load,
    Number,
    Program,
    Scalar,
    Scan,
    walk,
)
from symprop import term as t
from symprop.graph import (
    At,
    Leaf,
    Node,
    Output,
    Reduce,
    Region,
    hint,
    origin,
)
from symprop.graph import Scan as Recurrence
from symprop.schedule import ordered
from symprop.walk import gathered

__all__ = ["called", "conventions", "counts", "formulas", "operations"]

LONGEST = 90  # characters of a formula
LINES = 14
DEPTH = 12  # of unnamed values inside one formula

_SIGNS = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=", "&", "|")

# --- formulas ------------------------------------------------------------------------------------


def formulas(outputs: Sequence[tuple[str, Node]]) -> list[str]:
    """A line for each value that has a name, the user's own values first to last."""
    titles = {n: title for title, n in reversed(outputs) if title and not hint(n)}
    nameless = [n for title, n in outputs if not title and not hint(n)]
    if len(nameless) == 1:
        titles[nameless[0]] = "output"
    order, _ = ordered([n for _, n in outputs], {})
    given = {f: s for f, s in t.given_names(_functions(order)).items() if f != s}
    lines = []
    for node in order:
        name = titles.get(node) or hint(node)
        if not name or isinstance(node, Leaf) or _derived(node):
            continue
        text = f"{identifier(name)} = {_right(node, DEPTH)}"
        for full, short in given.items():
            text = text.replace(full, short)
        lines.append(text if len(text) <= LONGEST else f"{text[: LONGEST - 4].rstrip()} ...")
    if len(lines) > LINES:
        half = LINES // 2
        lines = [*lines[:half], "...", *lines[-half:]]
    return lines


def conventions(outputs: Sequence[tuple[str, Node]]) -> list[str]:
    """What was chosen at singular points: a line with those of the values and derivatives here.

    A derivative that is infinite at a point is no choice, and not said.
    """
    order = _with_blocks([n for _, n in outputs])
    derivatives = [origin(n).inputs[1] for n in order if origin(n).rule == "chain rule"]
    said: dict[str, None] = {}
    for fn in _functions(order):
        flat = all(fn.partial(k) is None for k in range(fn.arity))  # no value shows a slope of 0
        said.update(dict.fromkeys(_choices(fn, bool(derivatives) and flat)))
    for fn in _functions(derivatives):
        said.update(dict.fromkeys(_choices(fn, True)))
    if not said:
        return []
    return ["", *textwrap.wrap(f"conventions: {'; '.join(said)}", LONGEST, subsequent_indent="  ")]


def _with_blocks(roots: Sequence[Node]) -> list[Node]:
    """The values in order, and after them those within scans and regions, each block once."""
    order, _ = ordered(roots, {})
    blocks = dict.fromkeys(n.block for n in order if isinstance(n, Recurrence | Region))
    inside = (n for block in blocks for n in _with_blocks(block.outputs))
    return list(dict.fromkeys([*order, *inside]))


def _choices(fn: t.Function, of_slope: bool) -> list[str]:
    """What an op says of its own values, or of its derivatives."""
    declared = getattr(getattr(fn, "op", None), "declaration", None)
    found = []
    for c in declared.conventions if declared is not None else ():
        infinite = any("inf" in str(x) for x in c.slopes)
        if not infinite and (of_slope or c.value is not None):
            found.append(c.says)
    return found


def _functions(order: Sequence[Node]) -> list[t.Function]:
    """The functions of all bodies, in order."""
    bodies = [n.body for n in order if isinstance(n, Reduce)]
    return [x.fn for body in bodies for x in t.subterms(body) if isinstance(x, t.Call)]


def _derived(node: Node) -> bool:
    """Whether a value is part of a derivative rather than of what the user wrote."""
    source = origin(node)
    return (
        source.rule == "chain rule"
        or source.rule.startswith("cotangent of")
        or hint(node).startswith(("grad_", "d_", "t_"))
    )


def _name(node: Node, depth: int) -> str:
    """A value inside a formula."""
    name = hint(node)
    if name:
        return identifier(name)
    return _right(node, depth - 1) if depth > 0 else "..."


def _right(node: Node, depth: int) -> str:
    """What a value is."""
    source = origin(node)
    rule, inputs = source.rule, source.inputs
    if isinstance(node, Output) and isinstance(node.of, Region):
        rule, inputs = node.of.block.name or rule, tuple(node.of.arguments)
    if isinstance(node, Reduce) and _number(node):
        return t.render(node.body, lambda k: "x")
    if rule in _COMPARISONS and len(inputs) == 2:
        return f"{_tight(inputs[0], depth)} {rule} {_tight(inputs[1], depth)}"
    if rule == "where" and len(inputs) == 1 and _indicator(node):
        return f"[{_name(inputs[0], depth)}]"
    if rule in ("+", "-", "*", "/", "@") and len(inputs) == 2 and _plain(node, rule):
        return _joined(rule, inputs, depth)
    if rule == "index" and inputs:
        inside = ", ".join(_name(n, depth) for n in inputs[1:]) or "..."
        return f"{_tight(inputs[0], depth)}[{inside}]"
    if rule == "transpose" and inputs and len(node.dims) == 2:
        return f"{_tight(inputs[0], depth)}.T"
    if isinstance(node, Reduce) and rule in ("+", "-", "*", "/", "**", "power", "") and _map(node):
        return _body(node, depth)
    called = isinstance(node, Reduce) and isinstance(node.body, t.Call) and _map(node)
    if called and (len(inputs) != node.body.fn.arity or node.body.fn.kind == "bool"):  # type: ignore[attr-defined]
        return _call(node, node.body, depth)  # type: ignore[arg-type, attr-defined] # with numbers
    if rule and inputs:
        return f"{rule}({', '.join(_name(n, depth) for n in inputs)})"
    return _body(node, depth) if isinstance(node, Reduce) and _map(node) else "..."


def _indicator(node: Node) -> bool:
    """Whether a value is 1 where its only operand holds, else 0."""
    return isinstance(node, Reduce) and node.body is t.select(t.read(0), 1, 0)


def _number(node: Reduce) -> bool:
    return not node.reads and not node.guards


def _map(node: Reduce) -> bool:
    return len(node.loops) == node.nout and not node.guards and len(node.reads) <= 6


def _plain(node: Node, rule: str) -> bool:
    """Whether the two operands of an operator are all there is."""
    if rule == "@":
        return True
    return isinstance(node, Reduce) and len(node.reads) == 2 and t.operations(node.body) <= 1


def _joined(rule: str, inputs: Sequence[Node], depth: int) -> str:
    left, right = inputs
    if rule == "+":
        return f"{_name(left, depth)} + {_name(right, depth)}"
    if rule == "-":
        return f"{_name(left, depth)} - {_tight(right, depth)}"
    mark = " @ " if rule == "@" else "*" if rule == "*" else "/"
    return f"{_tight(left, depth)}{mark}{_tight(right, depth)}"


def called(node: Node) -> str:
    """A value inside a formula, by its name or as the formula that it is."""
    text = _name(node, DEPTH)
    for full, short in t.given_names(_functions(ordered([node], {})[0])).items():
        text = text.replace(full, short)
    return text


def _tight(node: Node, depth: int) -> str:
    text = _name(node, depth)
    inside = text.partition("[")[0] if text.endswith("]") else text
    closed = inside.replace("_", "a").replace(".", "a").isalnum() or text == "..."
    head, _, rest = text.partition("(")
    called = head.replace("@", "_").isidentifier() and rest.endswith(")") and _balanced(rest[:-1])
    return text if closed or called else f"({text})"


def _balanced(text: str) -> bool:
    depth = 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if depth < 0:
            return False
    return depth == 0


def _body(node: Reduce, depth: int) -> str:
    """An elementwise formula over its operands."""
    return t.render(node.body, lambda k: _read(node, k, depth), _full)


def _full(fn: t.Function) -> str:
    """A function's whole name; `formulas` puts what readers call it in its place."""
    return fn.name


def _call(node: Reduce, call: t.Call, depth: int) -> str:
    """A function of operands and numbers: clip(x, -1, 2), x <= 0.5."""

    def argument(a: t.Term, tight: bool) -> str:
        if isinstance(a, t.Num):
            return _decimal(a.value)
        if isinstance(a, t.Read):
            r = node.reads[a.k]
            whole = isinstance(r, At) and not tight and not any(map(list, map(gathered, r.index)))
            return _name(r.node, depth) if whole else _read(node, a.k, depth)  # type: ignore[union-attr]
        if isinstance(a, t.Call):
            return _call(node, a, depth)
        return t.render(a, lambda k: _read(node, k, depth), _full)

    sign = _SIGNS.get(call.fn.name)
    args = [argument(a, sign is not None) for a in call.args]
    if sign is None:
        name = "where" if call.fn is t.SELECT else call.fn.name
        return f"{name}({', '.join(args)})"
    if isinstance(call.args[0], t.Num):  # x > 2, not 2 < x
        args, sign = args[::-1], {"<": ">", "<=": ">="}.get(sign, sign)
    return f"{args[0]} {sign} {args[1]}"


def _read(node: Reduce, k: int, depth: int) -> str:
    """An operand inside a formula."""
    r = node.reads[k]
    if not isinstance(r, At):
        return repr(r.ix)
    sources = dict.fromkeys(s for ix in r.index for s in gathered(ix))
    if sources:
        inside = ", ".join(_name(s, depth) for s in sources)
        return f"{_tight(r.node, depth)}[{inside}]"
    return _tight(r.node, depth)


def _decimal(value: Fraction) -> str:
    """0.25; 1/3 for what no short decimal is."""
    short = repr(float(value))
    exact = value.denominator > 1 and Fraction(short) == value
    return short if exact else str(value)


# --- counts --------------------------------------------------------------------------------------


def counts(program: Program) -> list[str]:
    """Operations as a formula in the named dimensions; memory is for each backend to say, as it
    depends on what of the values a text keeps."""
    return [f"operations: {spelled(operations(program))}"]


def operations(program: Program) -> Poly:
    """Scalar operations of one run, as a polynomial in the dimensions."""
    return added(_step(s) for s in program.steps)


def _step(step: object) -> Poly:
    if isinstance(step, Assign):
        points: Poly = {(): 1}
        for item in step.loops:
            points = product(points, size_of(item.extent))
        each = _scalar(step.body) + (step.op != "=")
        return product(points, {(): each})
    if isinstance(step, Scan):
        return product(size_of(step.length), operations(step.body))
    if isinstance(step, Block):
        return operations(step.body)
    assert isinstance(step, Library)
    return {}


def _scalar(s: Scalar) -> int:
    return sum(not isinstance(x, Number | Load | IndexValue | Cast) for x in walk(s))
