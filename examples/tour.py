"""One small network, stopped after every stage: formula, graph, derivation, program, code, check.

Run:  python examples/tour.py
"""

import numpy as np

import symprop as prop
from symprop import oracle

# 1. Declare. Nothing is computed: names and dims are symbols.
x = prop.input("x", "batch feature=2")
target = prop.input("target", "batch out=1")
net = prop.Sequential(prop.Dense(3, name="hidden"), prop.tanh, prop.Dense(1, name="output"))
loss = prop.mse(net(x), target).named("loss")

# 2. Differentiate: gradients are expressions like any other.
parameters = list(net.parameters.values())
gradients = prop.gradient(loss, parameters)
print("gradient:", gradients[0], "\n")

# 3. Read how one came to be, rule by rule.
print(prop.derivation(gradients[0]), "\n")

# 4. Compile: the program in index notation, then the NumPy that runs.
function = prop.compile([loss, *gradients], dtype="float64", name="tour")
print(function.program, "\n")
print(function.source())

# 5. Check the code against the oracle: the same graph at 40 digits.
rng = np.random.default_rng(0)
values = prop.initial_values([loss], seed=0, dtype="float64")
values |= {"x": rng.normal(size=(4, 2)), "target": rng.normal(size=(4, 1))}
computed = function(values)
exact = oracle.evaluate([loss, *gradients], values, precision=40)
for name, ours, theirs in zip(["loss", *net.parameters], computed, exact, strict=True):
    error = np.max(np.abs(ours - theirs.astype(float))) / np.max(np.abs(theirs.astype(float)))
    print(f"{name:15s} differs from 40 digits by {error:.1e}")
