"""sections: the pages of a loss, in the order of a course.

In: a loss, parameters, an optimizer, a notation. Out: sections as data (``blocks``) and the
symbols they use.

    symbols -> forward pass -> error at the output -> recursion -> gradients -> update
            -> textbook form and emitted form (-> numbers, from ``numbers``)

Guarantees: every equation stands for a node; the order and the choice of lines follow from the
graph; one sample comes first where samples can be told apart, then the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Head, Line, Say, Section, Shape
from symprop.explain.claims import Claims, claims
from symprop.explain.emitted import emitted
from symprop.explain.equations import Lines
from symprop.explain.network import Network
from symprop.explain.notation import Equation, Symbol
from symprop.explain.recurrence import Recurrences
from symprop.explain.steps import result
from symprop.explain.symbol_table import table
from symprop.explain.symbols import Symbols
from symprop.explain.update import Update, update
from symprop.graph import Leaf, Node, Output, Scan
from symprop.walk import topological

__all__ = ["Page", "page"]


@dataclass
class Page:
    """The sections, and what prints them."""

    net: Network
    symbols: Symbols
    lines: Lines
    sections: list[Section]
    steps: Recurrences
    update: Update | None = None
    heads: dict[Node, Claims] = field(default_factory=dict)  # several outputs, each a softmax's

    @property
    def outputs(self) -> list[Node]:
        """The pre-activations that no other is made from."""
        stages = [n for n in self.net.stages if self.net.roles[n] == "pre" and n in self.net.exact]
        found: list[Node] = []
        below: set[Node] = set()
        for n in reversed(stages):
            if n not in below:
                found.append(n)
                below.update(topological([n]))
        return found[::-1]

    @property
    def output(self) -> Node | None:
        """The last pre-activation: its error starts the recursion."""
        last = self.outputs
        return last[0] if len(last) == 1 else None


def page(net: Network, symbols: Symbols, optimizer: object, rate: Leaf | None, index: bool) -> Page:
    """Every section but the one with numbers."""
    lines = Lines(net, symbols, index)
    made = Page(net, symbols, lines, [], Recurrences(lines))
    made.heads = _heads(made)
    forward: Section | None = _forward(made)
    output = _output_heads(made) if made.heads else _output(made)
    recursion = _recursion(made)
    gradients: Section | None = _gradients(made)
    forward, output, recursion, gradients = _stated(made, [forward, output, recursion, gradients])
    tables = _tables(made)
    step = _update(made, optimizer, rate)
    named = table(made, _equations([forward, output, recursion, gradients, *tables]))
    found = [named, forward, output, recursion, gradients, *tables, step, _emitted(made)]
    made.sections = [s for s in found if s is not None and s.blocks]
    return made


def _stated(made: Page, sections: list[Section | None]) -> list[Section | None]:
    """The sections, and what their lines read that no line states yet: the derivative in a value
    that reaches the loss beside the last pre-activation, a softmax that a derivative holds."""
    found = list(sections)
    done: set[Symbol] = set()
    while True:
        left = {s for e in _equations(found) for s in _symbols_in(e.left)}
        read = {s for e in _equations(found) for f in (*e.middle, e.right) for s in _symbols_in(f)}
        missing = read - left - done
        values = [n for n in reversed(made.net.stages) if n is not made.net.loss]
        values = [n for n in values if made.symbols.cotangents.get(n) in missing]
        shares = [n for n in dict.fromkeys(made.net.share.values())
                  if made.symbols.of.get(n) in missing]  # fmt: skip
        if not values and not shares:
            return found
        lines = made.lines
        both = [lines.stage(n, one) for n in shares for one in (True, False)]
        first = [Line(e) for e in both if e is not None]
        pairs = [(lines.cotangent(n, True), lines.cotangent(n, False)) for n in values]
        more = _pair(made, pairs)
        more += [b for n in values for b in _steps(made, made.net.readable[n])]
        done |= missing
        old = found[2].blocks if found[2] is not None else (Say("credit"),)
        # A softmax comes before the errors that read it.
        found[2] = Section("recursion", (old[0], *first, *old[1:], *more))


def _symbols_in(of: nt.Formula) -> list[Symbol]:
    return [f.symbol for f in nt.inside(of) if isinstance(f, nt.Sym | nt.Ref | nt.Flat)]


def _equations(sections: Sequence[Section | None]) -> list[Equation]:
    blocks = [b for s in sections if s is not None for b in s.blocks]
    return [b.equation for b in blocks if isinstance(b, Line)]


# --- lines -----------------------------------------------------------------------------------


def _pair(made: Page, equations: Sequence[tuple[Equation | None, Equation | None]],
          shapes: bool = False, says: tuple[Block, ...] = ()) -> list[Block]:  # fmt: skip
    """One sample, then the batch; only the batch where samples have no line of their own."""
    ones = [a for a, _ in equations if a is not None]
    alls = [b for _, b in equations if b is not None]
    if ones == alls or not ones:
        return [Line(e, shapes) for e in alls]
    blocks: list[Block] = [Head("one"), *says[:1], *(Line(e, shapes) for e in ones)]
    if any(e.loops for e in alls):  # each value of a sample has axes of its own
        rest = [b for a, b in equations if a is None and b is not None]
        heads: list[Block] = [Head("batch")] if rest else []
        return [*blocks, Say("batch_index"), *heads, *(Line(e, shapes) for e in rest)]
    return [*blocks, Head("batch"), *says[1:], *(Line(e, shapes) for e in alls)]


def _separate(made: Page) -> bool:
    """Whether samples have formulas of their own."""
    return made.net.size is not None and not made.lines.index


def _forward(made: Page) -> Section:
    lines = made.lines
    pairs = [(lines.stage(n, True), lines.stage(n, False)) for n in made.net.stages]
    says = (Say("forward_one"), Say("forward_batch")) if _separate(made) else ()
    if any(a is not None for a, _ in pairs):
        blocks = _pair(made, pairs, True, says)
        blocks += [b for n in made.net.stages for b in _steps(made, n)]
    else:  # in order, a recurrence where its results are first read
        blocks = []
        for n, (_, whole) in zip(made.net.stages, pairs, strict=True):
            blocks += [Line(whole, True)] if whole is not None else _steps(made, n)
    inputs = [n for n in made.net.order if isinstance(n, Leaf) and n.kind == "input" and n.dims]
    if made.net.size is None and any(n.dims[0].value is None for n in inputs):
        blocks.insert(0, Say("together"))
    return Section("forward", tuple(blocks))


def _steps(made: Page, node: Node) -> list[Block]:
    """What a result of a recurrence is, and its steps, once for each recurrence."""
    if not isinstance(node, Output) or not isinstance(node.of, Scan):
        return []
    name = ("name", nt.Sym(made.lines.names[node]))
    blocks: list[Block] = [] if made.steps.known(node.of) else _recurrence(made, node.of)
    found = made.steps.of(node.of)
    if node.n in found.sums:
        return [*blocks, Line(made.steps.total(found, node.n, made.lines.names[node], node))]
    if node.n < node.of.ncarry:
        value = nt.Sym(found.after[node.n], found.clock)
        return [*blocks, Say("recurrence_last", (name, ("value", value)))]
    inner = result(node.of, node.n)
    if inner not in found.symbols:
        return [*blocks, Say("recurrence_all", (name, ("value", name[1])))]
    value = nt.Sym(found.symbols[inner], found.clock)
    return [*blocks, Say("recurrence_all", (name, ("value", value)))]


def _recurrence(made: Page, scan: Scan) -> list[Block]:
    """The step of a recurrence: what its letters stand for, and its lines."""
    found = made.steps.of(scan)
    key = "recurrence_back" if scan.reverse else "recurrence_words"
    blocks: list[Block] = [Say(key, (("length", made.symbols.length(scan)),))]
    rows: list[tuple[Cell, ...]] = [(nt.Sym(s), Shape(nt.Sym(s)), say) for s, say in found.rows]
    blocks.append(Grid(("symbol", "shape", "meaning"), tuple(rows)))
    return [*blocks, *map(Line, found.lines)]


def _output(made: Page) -> Section | None:
    """How the loss becomes the error of the last pre-activation."""
    value = made.output
    if value is None:
        return None
    one, whole = made.lines.cotangent(value, True), made.lines.cotangent(value, False)
    assert whole is not None
    account = claims(made.net, made.symbols, value, one or whole, made.lines.index)
    before = [Line(e) for e in _shares(made)]
    after = _after(made, value)
    pairs = [(made.lines.cotangent(n, True), made.lines.cotangent(n, False)) for n in after]
    if account is None:
        say = Say("output_chain") if after else Say("output_linear")
        return Section("output", (say, *before, *_pair(made, [*pairs, (one, whole)])))
    blocks: list[Block] = [*before]
    if account.delta:  # the graph's own lines come first
        blocks += [Say("output_chain"), *_pair(made, [*pairs, (one, whole)])]
    return Section("output", (*blocks, *_account(made, value, account)))


def _account(made: Page, value: Node, account: Claims) -> list[Block]:
    """How the softmax and its loss become (p - onehot(y))/B."""
    blocks: list[Block] = []
    if account.loss is not None:
        blocks += [Say("textbook_loss"), Line(account.loss)]
    blocks += [Say("jacobian"), *map(Line, account.jacobian)]
    blocks += [Say("collapse"), Line(account.collapse)]
    both = made.lines.cotangent(value, True), made.lines.cotangent(value, False)
    own = account.delta or tuple(e for e in both if e is not None)
    return [*blocks, Say("output_delta"), *map(Line, dict.fromkeys(own))]


def _heads(made: Page) -> dict[Node, Claims]:
    """Several outputs with a cross entropy each, and nothing between them and the loss."""
    outputs = made.outputs
    if len(outputs) < 2:
        return {}
    others = [n for n in made.net.stages if n not in outputs and n is not made.net.loss]
    if any(n in outputs for other in others for n in topological([other])):
        return {}
    found: dict[Node, Claims] = {}
    for value in outputs:
        one, whole = made.lines.cotangent(value, True), made.lines.cotangent(value, False)
        line = one or whole
        account = claims(made.net, made.symbols, value, line, made.lines.index) if line else None
        if account is None or account.delta:
            return {}
        found[value] = account
    return found


def _output_heads(made: Page) -> Section:
    """The errors of several outputs, one after the other."""
    blocks: list[Block] = [Say("output_heads")]
    for value, account in made.heads.items():
        scores = nt.Sym(made.symbols.of[value])
        blocks += [Say("scores", (("scores", scores),)), *map(Line, _shares(made, value))]
        blocks += _account(made, value, account)
    return Section("output", tuple(blocks))


def _shares(made: Page, value: Node | None = None) -> list[Equation]:
    """p = softmax(z) where the loss holds logsumexp(z) only; of one z, where it is given."""
    found = []
    for node in dict.fromkeys(made.net.share.values()):
        own = value is None or made.net.normalised[node].of is value
        if own and node not in made.net.stages:
            for one in (True, False):
                line = made.lines.stage(node, one)
                found += [line] if line is not None else []
    return found


def _after(made: Page, value: Node) -> list[Node]:
    """The stages between the last pre-activation and the loss, the loss's side first."""
    place = made.net.stages.index(value)
    later = [n for n in made.net.stages[place + 1 :] if n in made.net.exact]
    return [n for n in reversed(later) if n is not made.net.loss]


def _recursion(made: Page) -> Section | None:
    value = made.output
    stages = [n for n in made.net.stages if n in made.net.exact and n is not made.net.loss]
    earlier = stages[: stages.index(value)] if value is not None else stages
    earlier = [n for n in earlier if n not in made.heads]
    lines = made.lines
    pairs = [(lines.cotangent(n, True), lines.cotangent(n, False)) for n in reversed(earlier)]
    blocks = [*_chain_rules(made), *_pair(made, pairs)]
    blocks += [b for n in reversed(earlier) for b in _steps(made, made.net.readable[n])]
    for node in (made.net.readable[p] for p in made.net.parameters if p in made.net.readable):
        if isinstance(node, Output) and isinstance(node.of, Scan) and not made.steps.known(node.of):
            blocks += _recurrence(made, node.of)
    return Section("recursion", (Say("credit"), *blocks)) if blocks else None


def _chain_rules(made: Page) -> list[Block]:
    """delta_l = (dh/dz)^T (dz_next/dh)^T delta_next, in the course's terms, where it is so."""
    found: list[Block] = []
    for node in reversed(made.net.stages):
        line = _chain_rule(made, node)
        if line is not None:
            found.append(line)
    return found


def _chain_rule(made: Page, node: Node) -> Line | None:
    """dL/dz = (dh/dz)^T (dz'/dh)^T dL/dz' for z -> h -> z' and nothing beside them."""
    net = made.net
    if net.roles[node] != "pre" or node not in net.exact or made.lines.index:
        return None
    above = _only_reader(net, node)
    if above is None or net.roles.get(above) != "post":
        return None
    last = _only_reader(net, above)
    if last is None or net.roles.get(last) != "pre" or last not in net.exact:
        return None
    sizes = [len(n.dims) - (n in net.sharing.axis) for n in (node, above, last)]
    if sizes != [1, 1, 1]:
        return None
    z, h, z2 = (made.symbols.of[n] for n in (node, above, last))
    one = made.lines.cotangent(node, True) or made.lines.cotangent(node, False)
    assert one is not None
    at = one.sample
    first = nt.Transposed(nt.Partial(nt.Sym(h, at), nt.Sym(z, at)))
    second = nt.Transposed(nt.Partial(nt.Sym(z2, at), nt.Sym(h, at)))
    delta = made.symbols.cotangents
    chain = nt.Mat((first, second, nt.Sym(delta[last], at)))
    factors = one.right.factors if isinstance(one.right, nt.Mul) else ()
    slopes = [f for f in factors if isinstance(f, nt.Call) and f.prime]
    if len(slopes) != 1 or len(factors) != 2:
        return None
    rest = next(f for f in factors if f is not slopes[0])
    right = al.mat(nt.Diagonal(slopes[0]), rest)
    left = nt.Sym(delta[node], at)
    return Line(Equation(left, right, net.exact[node], "chain", (), at, (chain,)))


def _only_reader(net: Network, node: Node) -> Node | None:
    """The one stage that is computed from a value."""
    found: dict[Node, None] = {}
    pending = list(net.uses.get(node, ()))
    while pending:
        user = pending.pop()
        if user in net.roles:
            found[user] = None
        else:
            pending += net.uses.get(user, ())
    return next(iter(found)) if len(found) == 1 else None


def _gradients(made: Page) -> Section:
    shown = [p for p in made.net.parameters if p in made.net.exact]
    lines = made.lines
    pairs = [(lines.cotangent(p, True), lines.cotangent(p, False)) for p in shown]
    say = "gradient_words" if _separate(made) else "gradient_words_single"
    matrices = all(e is not None and not e.loops for pair in pairs for e in pair[1:])
    sums = all(a is None or a.sample is None for a, _ in pairs)
    says = (Say(say),) if made.output is not None and matrices and sums else ()
    ones = [a for a, _ in pairs]
    steps = [b for p in shown for b in _steps(made, made.net.readable[p])]
    if any(ones) and _separate(made):
        both = [Line(e) for a, b in pairs for e in _merged(a, b)]
        return Section("gradients", (*says, *both, *steps))
    return Section("gradients", (*says, *_pair(made, pairs), *steps))


def _merged(one: Equation | None, whole: Equation | None) -> list[Equation]:
    """dL/dW = sum_n delta_n h_n^T = Delta^T H: one line for both."""
    found = [e for e in (one, whole) if e is not None]
    if one is None or whole is None or one.sample is not None:
        return found
    if one.loops or one.right == whole.right:
        return [whole]
    if whole.loops:
        return [one]
    return [replace(whole, middle=(one.right,))]


def _tables(made: Page) -> list[Section]:
    """The positions that the lines above read."""
    lines: list[Block] = []
    done = 0
    while done < len(made.lines.extra):
        node = made.lines.extra[done]
        equation = made.lines.stage(node, False)
        lines += _steps(made, node)
        done += 1
        if equation is not None:
            lines.append(Line(equation))
    return [Section("tables", tuple(lines))] if lines else []


def _update(made: Page, optimizer: object, rate: Leaf | None) -> Section | None:
    shown = [p for p in made.net.parameters if p in made.net.exact]
    if not shown:
        return None
    symbol = made.symbols.of[shown[0]]
    made.update = update(optimizer, symbol, made.symbols.cotangents[shown[0]], rate)
    blocks: list[Block] = [Say("update_words", (("parameter", nt.Sym(symbol)),))]
    if made.update.states:
        blocks.append(Say("update_state"))
    return Section("update", (*blocks, *map(Line, made.update.lines)))


def _emitted(made: Page) -> Section | None:
    """Both forms of every slope on the page."""
    steps = [e.right for found in made.steps.made.values() for e in found.lines]
    calls = [f for of in steps for f in nt.inside(of) if isinstance(f, nt.Call) and f.prime]
    return emitted(made.net, [f.fn for f in calls])
