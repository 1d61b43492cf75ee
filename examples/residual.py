"""A small residual network on handwritten digits: blocks that add to what they are given.

K. He et al., Deep residual learning for image recognition, 2015. Needs scikit-learn.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symprop as prop

EPOCHS = 25


def block(channels: int, name: str) -> prop.Residual:
    """x + f(x): where f is 0 the block is no obstacle, neither to values nor to gradients."""
    return prop.Residual(
        prop.Conv2D(channels, 3, padding="same", name=f"{name}.first"),
        prop.BatchNorm(f"{name}.norm"),
        prop.relu,
        prop.Conv2D(channels, 3, padding="same", name=f"{name}.second"),
    )


def network() -> prop.Sequential:
    """1 x 8 x 8 to ten scores."""
    return prop.Sequential(
        prop.Conv2D(16, 3, padding="same", name="stem"),
        prop.relu,
        block(16, "first"),
        prop.relu,
        prop.MaxPool(2),
        block(16, "second"),
        prop.relu,
        prop.global_avg_pool,
        prop.Dense(10, name="logits"),
    )


def train(seed: int = 0, epochs: int = EPOCHS, backend: str = "native") -> float:
    """The accuracy on a quarter of the images that was not trained on."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    x = prop.input("image", "batch channel=1 row=8 column=8")
    y = prop.labels("label", "batch", classes=10)
    logits = network()(x)
    steps = epochs * (len(x_train) // 32)
    step = prop.training_step(
        prop.cross_entropy(logits, y),
        prop.Adam(prop.cosine_decay(0.01, steps)),
        outputs={"logits": logits},
        metrics=["accuracy"],
    )
    trainer = step.compile(backend, seed=seed)
    trainer.fit(
        {"image": x_train, "label": y_train},
        epochs=epochs, batch_size=32, seed=seed, progress=False,
    )  # fmt: skip
    return trainer.evaluate({"image": x_test, "label": y_test})["accuracy"]


if __name__ == "__main__":
    x = prop.input("x", "batch feature=4")
    layer = prop.Dense(4, name="f")
    page = prop.explain(prop.mean(prop.square(prop.Residual(layer, prop.tanh)(x))))
    print(page)  # the error passes the sum twice: as it is, and through f
    print(f"test accuracy {train():.4f}")
