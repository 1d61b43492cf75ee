"""A variational auto-encoder: a picture of a digit becomes two numbers, and two numbers a digit."""

from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symprop as prop

EPOCHS, HIDDEN, CODE, BATCH = 150, 128, 2, 32

images = load_digits().data / 16
training, held_out = train_test_split(images, test_size=0.25, random_state=0)

# The encoder answers a picture with a cloud of codes, normal about a middle; one is drawn from it.
x = prop.input("x", "batch pixel=64")
seen = prop.tanh(prop.Dense(HIDDEN, "encoder")(x))
middle = prop.Dense(CODE, "middle", init="lecun")(seen)
log_variance = prop.Dense(CODE, "log_variance", init="lecun")(seen)
noise = prop.random_normal(middle, "noise")  # drawn anew at every step; it has no derivative
code = middle + prop.exp(log_variance / 2) * noise

decoder = prop.Sequential(
    prop.Dense(HIDDEN, "decoder"), prop.tanh, prop.Dense(HIDDEN, "wide"), prop.tanh,
    prop.Dense(64, "pixels"),
)  # fmt: skip
# A picture costs its 64 pixels, given the code, and how far its cloud is from the normal one around
# 0. The sum is a bound: -log p(picture) is no more.
pixels = 64 * prop.binary_cross_entropy(decoder(code), x)
distance = prop.normal_kl(middle, log_variance)
loss = pixels + distance

step = prop.training_step(
    loss, prop.Adam(prop.one_cycle(4e-3, EPOCHS * -(-len(training) // BATCH))),
    metrics={"pixels": pixels, "code": distance},
)  # fmt: skip
print("What the distance pulls at the middle and at the logarithm of the variance:\n")
m, v = prop.input("middle", "batch code=2"), prop.input("log_variance", "batch code=2")
pull = prop.compile(prop.gradient(prop.normal_kl(m, v), [m, v]), "numpy", name="pull")
print("def" + pull.source().split("def")[-1])

trainer = step.compile(seed=0)
trainer.fit({"x": training}, epochs=EPOCHS, batch_size=BATCH)
parts = trainer.evaluate({"x": held_out})
print(f"held out: at most {parts['loss']:.2f} nats a picture: its pixels {parts['pixels']:.2f}, "
      f"its code {parts['code']:.2f}\n")  # fmt: skip

# Digits that nobody wrote: the decoder alone, at the places of a grid.
place = prop.input("place", f"batch code={CODE}")
draw = prop.compile(prop.sigmoid(decoder(place)))


def drawn(side: int) -> np.ndarray:
    """One picture of side x side digits, from codes between -2 and 2."""
    line = np.linspace(-2, 2, side)
    places = np.stack(np.meshgrid(line, line), -1).reshape(-1, CODE)
    weights = {name: trainer.parameters[name] for name in decoder.parameters}
    pictures = draw({"place": places, **weights}).reshape(side, side, 8, 8)
    return pictures.swapaxes(1, 2).reshape(8 * side, 8 * side)


for row in drawn(5):
    print("".join(2 * " .:-=+*#%@"[int(9.99 * value)] for value in row).rstrip())
if find_spec("matplotlib"):
    from matplotlib.image import imsave

    imsave("vae.png", drawn(15), cmap="gray_r")
    print("\n15 by 15 of them: vae.png")
