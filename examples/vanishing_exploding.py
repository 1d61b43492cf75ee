"""Gradients that vanish and explode in twenty layers, and three cures.

The error of a layer is that of the layer above, times weights and a slope. Twenty factors below 1
leave nothing of it, twenty above 1 leave nothing else: S. Hochreiter, 1991; X. Glorot and
Y. Bengio, 2010. Cures: a residual sum, a norm in every layer, and a bound on the gradient.
Needs scikit-learn.
"""

from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits

import symprop as prop

DEPTH = 20


def normal(deviation: float) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
    """Weights of one size, whatever the layer's width."""
    return lambda rng, shape: rng.normal(0.0, deviation, size=shape)


def small(k: int) -> list[Callable]:
    """A dense layer under tanh, from weights that are too small."""
    return [prop.Dense(32, name=f"layer{k}", init=normal(0.1)), prop.tanh]


def large(k: int) -> list[Callable]:
    """The same from weights that are too large, with no bound on its values."""
    return [prop.Dense(32, name=f"layer{k}", init=normal(0.35)), prop.relu]


def residual(k: int) -> list[Callable]:
    """x + f(x): one of the two ways back has no factor."""
    return [prop.Residual(*small(k))]


def normalised(k: int) -> list[Callable]:
    """Every layer's values are brought to one scale, so their gradients are too."""
    dense = prop.Dense(32, name=f"layer{k}")
    return [dense, prop.LayerNorm(f"norm{k}"), prop.tanh]


def trainer(layer: Callable, depth: int = DEPTH, clip: float | None = None) -> prop.Trainer:
    """A classifier of `depth` equal layers."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    hidden = [part for k in range(depth) for part in layer(k)]
    first = [prop.Dense(32, name="first"), prop.tanh]
    logits = prop.Sequential(*first, *hidden, prop.Dense(10, name="logits"))(x)
    bound = None if clip is None else prop.ClipGlobalNorm(clip)
    step = prop.training_step(
        prop.cross_entropy(logits, y), prop.Momentum(0.01),
        outputs={"logits": logits}, metrics=["accuracy"], clip=bound,
    )  # fmt: skip
    return step.compile("numpy", seed=0)


def digits() -> dict[str, np.ndarray]:
    """Images of 64 numbers from 0 to 1, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return {"x": (images / 16).astype(np.float32), "y": labels}


def report(name: str, layer: Callable, clip: float | None, epochs: int, depth: int) -> float:
    """Prints what arrives at the first layer, and what training makes of it."""
    data = digits()
    network = trainer(layer, depth, clip)
    diagnosis = prop.diagnose(network, {k: v[:64] for k, v in data.items()})
    errors = {row.name: row.delta.rms for row in diagnosis.rows if row.delta is not None}
    share = errors["first"] / errors["logits"]
    try:
        network.fit(data, epochs=epochs, batch_size=64, seed=0, progress=False)
        reached = f"{network.evaluate(data)['accuracy']:.2f}"
    except prop.NonFiniteError:
        reached = "overflow"
    print(f"{name:32}{share:>24.1e}{reached:>12}")
    return share


CASES = {
    "too small weights": (small, None),
    "  cured by residual sums": (residual, None),
    "  cured by layer norm": (normalised, None),
    "too large weights": (large, None),
    "  cured by clipping": (large, 1.0),
}


def main(epochs: int = 15, depth: int = DEPTH) -> dict[str, float]:
    """The table; and the ratio of errors, first layer to last, by case."""
    print(f"{'':32}{'error, first : last':>24}{'accuracy':>12}")
    return {name: report(name, *case, epochs, depth) for name, case in CASES.items()}


if __name__ == "__main__":
    batch = {k: v[:64] for k, v in digits().items()}
    print(prop.diagnose(trainer(small), batch))  # the compiler says it in words
    main()
