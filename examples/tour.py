"""One small network, stopped after every stage of the compiler, each printed.

Run:  python examples/tour.py

The stages: declaration, GRAPH, derivative, rewrites, PROGRAM, LOOPS as written and as scheduled,
NumPy text, Numba text, verification; then a bare training loop on the function that came out.
"""

from importlib.util import find_spec

import numpy as np

import symprop as prop
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from symprop import oracle
from symprop.errors import install
from symprop.graph import Leaf
from symprop.spelling import Spelling
from symprop.walk import topological


def stage(title: str, text: str) -> None:
    """A heading, and two sentences on what follows."""
    print(f"\n\n{title}\n{'=' * len(title)}\n{text}\n")


# --- Declaration ----------------------------------------------------------------------------------

stage(
    "1. Declaration",
    "Nothing is computed: names and dims are symbols, and every operator builds an expression.\n"
    "The batch has no size yet; it gets one each time the finished function is called.",
)
x = prop.input("x", "batch feature=2")
target = prop.input("target", "batch out=1")
net = prop.Sequential(
    prop.Dense(3, name="hidden", init="glorot"), prop.tanh, prop.Dense(1, name="output")
)
loss = prop.mse(net(x), target).named("loss")
parameters = list(net.parameters.values())
for value in (x, target, *parameters, loss):
    print(value)

# --- GRAPH ----------------------------------------------------------------------------------------

stage(
    "2. GRAPH",
    "Every value is of one kind: a formula over operands, reduced (sum, max, min) over loops.\n"
    "The layers are gone; each line is a number, the values it reads, and the formula.",
)


def graph(root: prop.Expr) -> None:
    """The values a result is computed from, operands first."""
    spelling, numbers = Spelling(), {}
    for node in topological([root.node]):
        numbers[node] = len(numbers) + 1
        reads = ", ".join(str(numbers[operand]) for operand in node.operands)
        text = f"{node.name} ({node.kind})" if isinstance(node, Leaf) else spelling.line(node)
        print(f"{numbers[node]:3}  {reads and f'reads {reads}':14}  {text}")


graph(loss)

# --- Derivative -----------------------------------------------------------------------------------

stage(
    "3. Derivative",
    "One rule gives the derivative of every such value, so gradients are values like any other.\n"
    "Below, the steps of the chain rule to the first weights, from the loss down.",
)
gradients = prop.gradient(loss, parameters)
derivation = prop.derivation(gradients[0])
for line in derivation:
    if line.stage == "backward":
        print(line)

# --- Rewrites -------------------------------------------------------------------------------------

stage(
    "4. Rewrites",
    "Named rules keep the values, never dearer; each says whether it may change the rounding.\n"
    "[a -> b] counts the operations of everything before and after a step, at a batch of 32.",
)
for line in derivation:
    if line.stage == "simplify":
        print(line)
print()
for rule in derivation.rules:
    print(f"{rule.name:22}{rule.times:3} times {rule.operations:+7,} operations   {rule.kind}")
print(f"as derived {derivation.derived:,} operations, simplified {derivation.simplified:,}")

# --- PROGRAM --------------------------------------------------------------------------------------

stage(
    "5. PROGRAM",
    "Values become assignments in order, in index notation: what is summed over is written out.\n"
    "From here on nothing knows that networks or gradients exist.",
)
function = prop.compile([loss, *gradients], dtype="float64", name="tour")
print(function.program)

# --- LOOPS ----------------------------------------------------------------------------------------

stage(
    "6. LOOPS, one nest a step",
    "Each assignment becomes a nest of loops, with its accumulator if it sums.\n"
    "Nothing is shared yet: every value is a whole array, written by one nest, read by the next.",
)
print(from_program(function.program))

stage(
    "7. LOOPS, under the default schedule",
    "The schedule is the list of directives at the end, applied from top to bottom: nests are\n"
    "fused, so that one walk over the batch does what several did, and arrays become locals.",
)
print(function.loops)

# --- Text -----------------------------------------------------------------------------------------

stage(
    "8. NumPy text",
    "From the same PROGRAM, whole arrays at a time: a product of matrices is @, a sum is .sum.\n"
    "This is what runs by default, and it imports NumPy alone.",
)
print(function.source())

stage(
    "9. Numba text",
    "From the scheduled LOOPS: plain loops, which Numba compiles to machine code.\n"
    "The names are those of the PROGRAM, so every line can be found in the stages above.",
)
compiled = prop.compile([loss, *gradients], backend="numba", dtype="float64", name="tour")
print(compiled.source())

# --- Verification ---------------------------------------------------------------------------------

stage(
    "10. Verification",
    "The oracle evaluates GRAPH by brute force, here with 40 digits; it shares no code with the\n"
    "compiler. The texts, and the nests run by an interpreter, are compared with it.",
)
rng = np.random.default_rng(0)
weights = prop.initial_values([loss], seed=0, dtype="float64")
data = {"x": rng.normal(size=(4, 2)), "target": rng.normal(size=(4, 1))}
exact = [e.astype(float) for e in oracle.evaluate([loss, *gradients], weights | data, 40)]
arguments = {b.name: (weights | data)[b.label] for b in function.loops.arguments}
results = {"numpy": function(weights | data), "loops": interpret(function.loops, arguments)}
if find_spec("numba"):
    results["numba"] = compiled(weights | data)
else:
    print(f"Numba is not installed, so its text is shown and not run: {install('numba')}")
for backend, computed in results.items():
    for name, ours, theirs in zip(["loss", *net.parameters], computed, exact, strict=True):
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(f"{backend}: {name:14} differs from 40 digits by {error:.1e}")

# --- A bare loop ----------------------------------------------------------------------------------

stage(
    "11. A bare training loop",
    "No trainer is needed: the function gives the loss and the gradients, NumPy does the rest.\n"
    "The target is the product of the two inputs, which no linear map can give.",
)
eta = 0.2
x_train = rng.normal(size=(256, 2))
batch = {"x": x_train, "target": x_train[:, :1] * x_train[:, 1:]}
for iteration in range(201):
    value, *grads = function(weights | batch)
    if iteration % 40 == 0:
        print(f"step {iteration:3}   loss {value:.4f}")
    for name, grad in zip(net.parameters, grads, strict=True):
        weights[name] -= eta * grad
