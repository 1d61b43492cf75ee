"""Back-propagation: a chapter that runs.

Run:  python examples/chapter.py [FOLDER] [--quick]

Read this file from top to bottom beside what it prints. Each section says what it shows, shows the
mathematics as symprop prints it, and checks what a student would derive by hand with `prop.same`.
In: a folder for the figures, `chapter` by default; --quick trains less (the text stays).
Out: the chapter as text, and four figures (PNG). Nothing is downloaded: the handwritten digits come
with scikit-learn (extra `examples`), the figures are drawn by matplotlib (extra `plot`).
"""

import argparse
import inspect
import re
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sympy

import symprop as prop
from symprop import digits
from symprop.errors import install
from symprop.graph import Leaf
from symprop.spelling import Spelling
from symprop.walk import topological

Draw = Callable[[str, str], Any]  # (file name, title) -> context manager of a figure


def heading(text: str) -> None:
    print(f"\n\n{text}\n{'=' * len(text)}")


def say(text: str) -> None:
    print("\n" + inspect.cleandoc(text))


def show(thing: Any) -> None:
    print("\n" + "\n".join(f"    {line}".rstrip() for line in str(thing).splitlines()))


def verdict(answer: prop.Same) -> None:
    """What `prop.same` says, its long lines folded."""
    lines = str(answer).splitlines()
    show("\n".join(textwrap.fill(line, 92, subsequent_indent="    ") for line in lines))


def mathematics(text: str) -> None:
    """A section of `prop.explain`, which has its own layout."""
    print("\n" + text.strip("\n"))


def operations(function: prop.Function) -> str:
    """What one run costs, from the header of the code."""
    return next(line for line in function.source().splitlines() if line.startswith("operations"))


# --- The network of sections 3 to 6 ---------------------------------------------------------------
#
# Two inputs, three hidden units, two outputs, sigmoids, squared error: small enough to follow
# every number. It is written with bare products, as in a course; layers would print the same.

X = prop.input("x", "batch feature=2")
T = prop.input("t", "batch out=2")
W1 = prop.parameter("W1", "unit=3 feature=2", prop.Glorot())
B1 = prop.parameter("b1", "unit=3", prop.Zeros())
W2 = prop.parameter("W2", "out=2 unit=3", prop.Glorot())
B2 = prop.parameter("b2", "out=2", prop.Zeros())
PARAMETERS = [W1, B1, W2, B2]

Z1 = (X @ W1.T + B1).named("z1")
H1 = prop.sigmoid(Z1).named("h1")
Z2 = (H1 @ W2.T + B2).named("z2")
H2 = prop.sigmoid(Z2).named("h2")
LOSS = prop.mse(H2, T).named("L")

SAMPLE = {"x": np.array([[0.5, -1.0], [1.0, 2.0]]), "t": np.array([[1.0, 0.0], [0.0, 1.0]])}


def explained() -> dict[str, str]:
    """The sections of `prop.explain` for this network, by what they are about."""
    page = prop.explain(LOSS, at=SAMPLE)
    keys = [section["section"] for section in page.to_json()]
    texts = re.split(r"^\d+\. .*\n─+\n", page.text(), flags=re.MULTILINE)[1:]
    return dict(zip(keys, texts, strict=True))


def credit_assignment() -> None:
    heading("1. Credit assignment: a network is a composition of functions")
    say("""
        A network applies one function after another, and the loss is the last of them. When the
        loss is too large, which of the thousands of weights is to blame, and how much? That is the
        problem of credit assignment. Its answer is the gradient: for every weight, how fast the
        loss changes when this weight alone is moved a little.

        One could move each weight and look. For the network of the digits,""")
    step = digits.declare()
    weights = sum(int(np.prod(p.shape)) for p in step.parameters)
    forward = operations(prop.compile(step.loss))
    both = operations(prop.compile([step.loss, *step.gradients]))
    show(f"loss alone            {forward}\nloss and gradients    {both}")
    say(f"""
        there are {weights:,} weights, so that is {weights:,} forward passes more for one gradient.
        Back-propagation gives all of it for little more than the price of one more forward pass,
        however many weights there are. The rest of this chapter is how.""")


def chain_rule() -> None:
    heading("2. The chain rule")
    say("""
        For scalars. The derivative of a composition is the product of the derivatives, each taken
        where it is applied. For f(u) = exp(sin(u^2)):  f'(u) = exp(sin(u^2)) cos(u^2) 2u.
        Derive it by hand, then ask whether it equals what symprop derives:""")
    u = prop.input("u", ())
    f = prop.exp(prop.sin(u * u))
    derived = prop.gradient(f, u)
    verdict(prop.same(f * prop.cos(u * u) * 2 * u, derived))
    say("A common mistake is to forget the innermost derivative. The answer is a counterexample:")
    verdict(prop.same(f * prop.cos(u * u), derived))

    say("""
        For vectors. The derivative of h = f(x) is the Jacobian, the matrix of all dh[i]/dx[j], and
        the chain rule is the product of Jacobians. For one layer h = sigmoid(W x + b) it is
        diag(sigmoid'(z)) W. First that formula against the rows that symprop derives, then the
        product of the Jacobians of two layers against the Jacobian of both together:""")
    x = prop.input("sample", "feature=2")
    hidden = prop.sigmoid(x @ W1.T + B1)
    out = prop.sigmoid(hidden @ W2.T + B2)

    def jacobian(of: prop.Expr, by: prop.Expr, rows: int) -> prop.Expr:
        return prop.stack([prop.gradient(of[i], by) for i in range(rows)])

    first, second = jacobian(hidden, x, 3), jacobian(out, hidden, 2)
    verdict(prop.same((hidden * (1 - hidden))[:, None] * W1, first))
    verdict(prop.same(second @ first, jacobian(out, x, 2)))
    say("""
        Why backwards? The loss is one number, so its Jacobian is one row. Multiplied from the left
        (from the loss) each product is a row times a matrix, n^2 operations; from the right (from
        the weights) it is matrix times matrix, n^3. Same numbers, n times the work.""")


def forward_pass(page: dict[str, str]) -> None:
    heading("3. The forward pass")
    say("""
        Each layer is a linear map followed by an activation. First for one sample, a column; then
        for a batch, whose samples are the rows of a matrix. Every value is kept: the way back needs
        them.""")
    mathematics(page["forward"])


def output_error(page: dict[str, str]) -> None:
    heading("4. The output error and the delta recursion")
    say("""
        The error delta (δ) of a layer is the derivative of the loss with respect to z, what the
        layer computes before its activation. At the output it comes from the loss itself:""")
    mathematics(page["output"])
    say("From there each layer gets its error from the one above it, by the chain rule:")
    mathematics(page["recursion"])
    say("""
        Write it by hand, with sigma'(z) = h (1 - h), and compare. Both layers at once; then the
        hidden layer without sigma', the mistake that everybody makes once:""")
    delta1, delta2 = prop.gradient(LOSS, [Z1, Z2])
    mine2 = (H2 - T) / prop.size(X, 0) * H2 * (1 - H2)
    mine1 = mine2 @ W2 * H1 * (1 - H1)
    verdict(prop.same({"delta1": mine1, "delta2": mine2}, {"delta1": delta1, "delta2": delta2}))
    verdict(prop.same(mine2 @ W2, delta1))


def gradients(page: dict[str, str]) -> None:
    heading("5. The gradients")
    say("""
        The error of a layer, times what the layer read, is the gradient of its weights. Checked
        against what is derived from the loss directly:""")
    mathematics(page["gradients"])
    delta1, delta2 = prop.gradient(LOSS, [Z1, Z2])
    mine = [delta1.T @ X, delta1.sum(0), delta2.T @ H1, delta2.sum(0)]
    verdict(prop.same(mine, prop.gradient(LOSS, PARAMETERS)))
    say("The same with numbers, each gradient beside a central difference of the loss:")
    mathematics(page["numbers"])


def update(page: dict[str, str]) -> None:
    heading("6. The update")
    say("""
        The gradient points to where the loss grows fastest, so a step goes the other way. Such a
        step should lower the loss by eta times the squared norm of the gradient, as long as eta is
        small enough for the loss to look straight:""")
    mathematics(page["update"])
    function = prop.compile([LOSS, *prop.gradient(LOSS, PARAMETERS)], dtype="float64")
    print("\n         eta  loss before   loss after   lowered by     expected")
    for eta in (0.01, 0.1, 1.0, 10.0, 100.0):
        weights = prop.initial_values([LOSS], seed=0, dtype="float64")
        before, *found = function(weights | SAMPLE)
        for parameter, gradient in zip(PARAMETERS, found, strict=True):
            weights[parameter.name] -= eta * gradient
        after, *_ = function(weights | SAMPLE)
        expected = eta * sum((g * g).sum() for g in found)
        print(f"    {eta:8g} {before:12.6f} {after:12.6f} {before - after:12.2e} {expected:12.2e}")
    say("""
        The small steps do as expected. The largest goes far beyond the point where the straight
        line was a good picture of the loss: that is a learning rate that is too large.""")


# --- 7. Activations -------------------------------------------------------------------------------

ACTIVATIONS = (prop.sigmoid, prop.tanh, prop.relu, prop.leaky_relu, prop.elu, prop.gelu)


def activations(page: dict[str, str], draw: Draw) -> None:
    heading("7. Activations, their derivatives, saturation and dying units")
    say("""
        Without an activation between them, two layers would be one: W2 (W1 x) = (W2 W1) x. Each is
        shown as its definition f, its derivative f', and the slope in the form that the generated
        code computes. (sech2(z) is 1/cosh(z)^2; normal_cdf and normal_pdf are the distribution and
        the density of a normal variable.) The slope is a factor of delta in every layer, so its
        size decides what arrives below.""")
    z, grid = prop.input("z", "n"), np.linspace(-5, 5, 501)
    with draw("activations", "Activations and their derivatives") as figure:
        panels = figure.subplots(2, 3, sharex=True, sharey=True).flat
        for op, axes in zip(ACTIVATIONS, panels, strict=True):
            f = op(z).named("f")
            slope = prop.gradient(prop.sum(f), z).named("slope")
            values, slopes = prop.compile([f, slope], dtype="float64")(z=grid)
            formula = op.definition.subs(op.symbols[0], sympy.Symbol("z"))
            print(f"\n{op.name}\n{'-' * len(op.name)}\n\n  f(z)")
            show(sympy.pretty(formula, use_unicode=True))
            print("\n  f'(z)")
            show(sympy.pretty(formula.diff(), use_unicode=True))
            print(f"\n  as computed: {Spelling().line(slope.node).removesuffix('   [n]')}")
            largest = slopes.max()
            print(f"  at z = -5: {slopes[0]:.2g}, at 5: {slopes[-1]:.2g}; largest: {largest:.2g}")
            draw_activation(axes, op.name, grid, values, slopes)
    say("Why two forms of one derivative? Because of what floats do to the textbook's:")
    mathematics(page["emitted"])


def saturation(draw: Draw, batch: dict[str, Any], quick: bool) -> None:
    say("""
        Saturation. The tails of sigmoid and tanh are flat: a unit whose z is far from 0 passes
        hardly any gradient, however wrong its output is. Large weights push units there. Measured
        by prop.diagnose on one hidden layer of 64 units, 256 digits, weights times a factor:""")
    factors = (0.5, 1, 2, 4, 8, 16)[:: 5 if quick else 1]
    saturated = {
        op.name: [measured(op, batch, factor, 0.0).saturated or 0 for factor in factors]
        for op in ACTIVATIONS[:2]
    }
    table("weights times", factors, saturated)
    say("""
        Dying units. ReLU has no slope at all below 0. A unit that is below 0 for every example gets
        no gradient and stays there: it is dead. One update that is too large, and leaves a bias far
        below 0, is enough. Leaky ReLU keeps a slope everywhere and ELU a small one, so their units
        can come back; far enough below 0, GELU is as flat as ReLU. The same layer, every bias moved
        down:""")
    shifts = (0, -1, -2, -3, -4, -6)[:: 5 if quick else 1]
    dead = {
        op.name: [measured(op, batch, 1.0, float(shift)).dead or 0 for shift in shifts]
        for op in ACTIVATIONS[2:]
    }
    table("bias", shifts, dead)
    with draw("saturation", "Saturated and dead units, as prop.diagnose finds them") as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        left.set_xscale("log")
        left.minorticks_off()
        curves(left, factors, saturated, "initial weights times", "share of saturated activations")
        curves(right, shifts, dead, "bias", "share of dead units")
        right.invert_xaxis()


def draw_activation(axes: Any, name: str, z: Any, values: Any, slopes: Any) -> None:
    """An activation and its derivative; grey on tails where it is below 5 % of its largest."""
    small = np.abs(slopes) < 0.05 * slopes.max()
    flat = np.minimum.accumulate(small) | np.minimum.accumulate(small[::-1])[::-1]
    jumps = np.append(np.abs(np.diff(slopes)) > 0.5, False)
    axes.plot(z, values, label="f(z)")
    axes.plot(z, np.where(jumps, np.nan, slopes), "--", label="f'(z)")
    shade = {"transform": axes.get_xaxis_transform(), "color": "grey", "alpha": 0.15}
    axes.fill_between(z, 0, 1, flat, label="flat", **shade)
    axes.set(title=name, xlabel="z", xlim=(-5, 5), ylim=(-1.5, 2.5))
    axes.label_outer()
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def measured(op: Any, batch: dict[str, Any], factor: float, shift: float) -> Any:
    """What prop.diagnose says of one hidden layer with these weights and biases."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), op, prop.Dense(10, name="logits"))
    step = prop.training_step(prop.cross_entropy(net(x), y), prop.SGD(0.05))
    trainer = step.compile(seed=0)
    trainer.parameters["hidden.weight"][...] *= factor
    trainer.parameters["hidden.bias"][...] = shift
    return prop.diagnose(trainer, batch).rows[0]


def table(title: str, at: Any, columns: dict[str, list[float]]) -> None:
    print(f"\n    {title:>14}", *(f"{name:>12}" for name in columns))
    for k, x in enumerate(at):
        print(f"    {x:14g}", *(f"{values[k]:12.0%}" for values in columns.values()))


def curves(axes: Any, x: Any, columns: dict[str, list[float]], below: str, beside: str) -> None:
    for k, (name, values) in enumerate(columns.items()):  # equal curves: the first shows around
        axes.plot(x, values, marker="osD^"[k], markersize=11 - 2 * k, label=name)
    axes.set(xlabel=below, ylabel=beside, xticks=x, xticklabels=map(str, x))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


# --- 8. Vanishing and exploding gradients ---------------------------------------------------------

DEPTH, WIDTH, RATE, EPOCHS = 20, 32, 0.05, 15


def plain(h: prop.Expr, layer: Any, f: Any) -> prop.Expr:
    return f(layer(h))


def normalised(h: prop.Expr, layer: Any, f: Any) -> prop.Expr:
    return f(prop.batch_norm(layer(h)))


def residual(h: prop.Expr, layer: Any, f: Any) -> prop.Expr:
    return h + f(layer(h))


def larger_he(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """He's weights, 1.5 times too large."""
    return 1.5 * prop.He()(rng, shape)


@dataclass(frozen=True)
class Deep:
    """How a network of 20 hidden layers is made."""

    title: str
    f: Any
    weights: Any
    layer: Callable[..., prop.Expr] = plain
    clip: Any = None
    look: str = "-"

    def trainer(self) -> prop.Trainer:
        x = prop.input("x", "batch pixel=64")
        y = prop.labels("y", "batch", classes=10)
        h = plain(x, prop.Dense(WIDTH, name="layer1", init=self.weights), self.f)
        for k in range(2, DEPTH + 1):
            dense = prop.Dense(WIDTH, name=f"layer{k}", init=self.weights)
            h = self.layer(h, dense, self.f)
        loss = prop.cross_entropy(prop.Dense(10, name="logits", init="glorot")(h), y)
        return prop.training_step(loss, prop.SGD(RATE), clip=self.clip).compile(
            seed=0,
            check_finite=False,  # some of these are meant to explode
        )


VANISHING = Deep("sigmoid", prop.sigmoid, prop.Glorot())
EXPLODING = Deep("ReLU, weights 1.5 x He", prop.relu, larger_he)
CURES = (
    Deep("ReLU, He weights", prop.relu, prop.He(), look="--"),
    Deep("sigmoid, normalised", prop.sigmoid, prop.Glorot(), normalised, look="--"),
    Deep("sigmoid, residual", prop.sigmoid, prop.Glorot(), residual, look="--"),
    Deep("ReLU, 1.5 x He, clipped", prop.relu, larger_he, clip=prop.ClipGlobalNorm(5.0), look=":"),
)


def deep_networks(draw: Draw, data: dict[str, Any], batch: dict[str, Any], quick: bool) -> None:
    heading(f"8. Vanishing and exploding gradients, on a network of {DEPTH} layers")
    say(f"""
        Going down one layer multiplies delta by the derivative of the activation and by the
        weights. Over {DEPTH} layers these factors multiply: 0.25^20 is 1e-12, and 1.5^20 is 3,300.
        What prop.diagnose finds before training, for a network whose activation shrinks the
        gradient and one whose weights enlarge it:""")
    epochs = 1 if quick else EPOCHS
    norms: dict[Deep, list[float]] = {}
    losses: dict[Deep, list[float]] = {}
    for deep in (VANISHING, EXPLODING, *CURES):
        trainer = deep.trainer()
        found = prop.diagnose(trainer, batch)
        norms[deep] = [row.delta.rms for row in found.rows if row.product and row.delta][:DEPTH]
        if deep in (VANISHING, EXPLODING):
            show(textwrap.fill(f"{deep.title}: {found.findings[0].sentence}", 92))
        with np.errstate(all="ignore"):  # the exploding one overflows, which is what it is to show
            history = trainer.fit(data, epochs=epochs, batch_size=32, seed=0, progress=False)
        losses[deep] = [found.measured.loss, *history["loss"]]
    say("""
        The causes have cures. ReLU has slope 1 where it is active, and He's weights make up for the
        half that is not. Normalisation brings every z back to the range where sigmoid is steep. A
        residual connection h + f(h) has a Jacobian I + J: even if J is tiny, the gradient passes.
        Clipping only shortens the gradient: it does not change the network, but the step stays
        finite, and training goes on where it would have ended in NaN. All with the same rate:""")
    print(f"\n{'delta, layer 1':>45}{f'layer {DEPTH}':>12}   loss before     after")
    for deep, deltas in norms.items():
        first, last = losses[deep][0], losses[deep][-1]
        print(f"    {deep.title:26}{deltas[0]:15.1e}{deltas[-1]:12.1e}{first:14.3g}{last:10.3g}")
    say(f"""
        A loss of 2.3 = log(10) is what guessing costs. The plain sigmoids do not get below it:
        their lower layers receive nothing to learn from. With {EPOCHS} epochs every cure does.""")
    draw_deep(draw, norms, losses)


def draw_deep(draw: Draw, norms: dict[Deep, list[float]], losses: dict[Deep, list[float]]) -> None:
    """Delta in each layer, and the loss of each epoch."""
    with draw("gradients", "Size of the error delta in each layer, before training") as figure:
        axes = figure.subplots()
        for deep, deltas in norms.items():
            if deep.clip is None:  # clipping changes no delta
                axes.plot(range(1, DEPTH + 1), deltas, deep.look, marker=".", label=deep.title)
        axes.set(xlabel="layer", ylabel="rms of delta", yscale="log", xticks=range(1, DEPTH + 1))
        axes.grid(alpha=0.3)
        axes.legend()
    with draw("training", "Training the same networks") as figure:
        axes = figure.subplots()
        for deep, values in losses.items():
            lost = not np.isfinite(values[-1])
            label = deep.title + (" (NaN after the first epoch)" if lost else "")
            size = 14 if lost else 6
            axes.plot(values, deep.look, marker="x" if lost else ".", markersize=size, label=label)
        axes.axhline(np.log(10), color="grey", linewidth=1, label="guessing: log(10)")
        axes.set(xlabel="epoch (0: before training)", ylabel="training loss", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend()


# --- 9. and 10. -----------------------------------------------------------------------------------


def vectorisation(data: dict[str, Any]) -> None:
    heading("9. Vectorisation")
    say("""
        The gradient of a batch is the sum of the gradients of its samples, which is one product of
        matrices: sum_n delta_n x_n^T = Delta^T X. Proved, then computed both ways for the digits,
        256 samples one after another against all at once:""")
    (delta1,) = prop.gradient(LOSS, [Z1])
    verdict(prop.same(prop.sum(delta1[:, :, None] * X[:, None, :], 0), delta1.T @ X))
    step = digits.declare()
    function = prop.compile([step.loss, *step.gradients], dtype="float64")
    weights = prop.initial_values([step.loss], seed=0, dtype="float64")
    samples = 256
    x, y = data["x"][:samples], data["y"][:samples]

    start = time.perf_counter()
    totals = [np.zeros(p.shape) for p in step.parameters]
    for n in range(samples):
        _, *found = function(weights | {"x": x[n : n + 1], "y": y[n : n + 1]})
        for total, gradient in zip(totals, found, strict=True):
            total += gradient / samples
    middle = time.perf_counter()
    _, *batched = function(weights | {"x": x, "y": y})
    end = time.perf_counter()
    pairs = zip(totals, batched, strict=True)
    error = max(np.abs(one - all_).max() / np.abs(all_).max() for one, all_ in pairs)
    show(f"largest relative difference of the gradients: {error:.0e}")
    show(f"one after another takes {(middle - start) / (end - middle):.0f} times as long")
    assert error < 1e-12


def computation_graph() -> None:
    heading("10. The computation graph and its optimisation")
    say("""
        A formula is a tree: what is used twice is written twice. A graph keeps every value once.
        The logistic map u <- 4 u (1 - u), repeated, shows what that is worth. Its derivative by
        SymPy as one formula, and by symprop as a graph, in operations:""")
    print(f"\n    {'repeated':>10}{'formula':>12}{'graph':>10}")
    s, u = sympy.Symbol("u"), prop.input("u", ())
    formula, value = s, u
    for repeated in range(1, 9):
        formula, value = 4 * formula * (1 - formula), 4 * value * (1 - value)
        graph = prop.derivation(prop.gradient(value, u)).simplified
        print(f"    {repeated:10}{sympy.count_ops(formula.diff(s)):12,}{graph:10,}")
    say("The graph of the loss of section 3: a number for each value, and which values it reads.")
    spelling, numbers = Spelling(), {}
    for node in topological([LOSS.node]):
        numbers[node] = len(numbers) + 1
        reads = ", ".join(str(numbers[n]) for n in node.operands)
        text = f"{node.name} ({node.kind})" if isinstance(node, Leaf) else spelling.line(node)
        print(f"    {numbers[node]:3}  {reads and f'reads {reads}':14}  {text}")
    say("""
        The gradient is a graph too. How that of W1 came to be: the chain rule first, then rewrites
        that keep the value and never raise the cost, with the operations before and after each.""")
    show(prop.derivation(prop.gradient(LOSS, W1)))
    say("The code of the loss and all gradients, as it runs:")
    show(prop.compile([LOSS, *prop.gradient(LOSS, PARAMETERS)], name="backpropagation").source())


# --- The chapter ----------------------------------------------------------------------------------


def drawing(folder: Path) -> Draw:
    """What makes a figure, and writes it to the folder when its `with` ends; no window opens."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit(f"the figures need matplotlib: run  {install('matplotlib')}") from None
    folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def draw(name: str, title: str) -> Iterator[Any]:
        figure = Figure(figsize=(10, 6), layout="constrained")
        figure.suptitle(title)
        yield figure
        figure.savefig(folder / f"{name}.png", dpi=120)
        print(f"\n[figure: {folder / name}.png]")

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description="Back-propagation: a chapter that runs.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("chapter"))
    parser.add_argument("--quick", action="store_true", help="train less")
    options = parser.parse_args()
    draw = drawing(options.folder)
    data = digits.load(seed=0).train
    data["x"] = (data["x"] - data["x"].mean()) / data["x"].std()
    batch = {name: array[:256] for name, array in data.items()}

    page = explained()
    credit_assignment()
    chain_rule()
    forward_pass(page)
    output_error(page)
    gradients(page)
    update(page)
    activations(page, draw)
    saturation(draw, batch, options.quick)
    deep_networks(draw, data, batch, options.quick)
    vectorisation(data)
    computation_graph()


if __name__ == "__main__":
    main()
