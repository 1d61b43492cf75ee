"""Handwritten digits: declare a 64-64-10 network, read its training step, train with it."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import symprop as prop

images, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    images / 16, labels, test_size=0.25, stratify=labels, random_state=0
)

x = prop.input("x", "batch pixel=64")
y = prop.labels("y", "batch", classes=10)
net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
logits = net(x)
loss = prop.cross_entropy(logits, y)

step = prop.training_step(loss, prop.Adam(1e-3), outputs={"logits": logits}, metrics=["accuracy"])
print(step.source("numpy"))  # forward, backward and update, as a page of NumPy

trainer = step.compile("numpy", seed=0)
history = trainer.fit({"x": x_train, "y": y_train}, epochs=30, batch_size=32, seed=0)
print(f"test accuracy {trainer.evaluate({'x': x_test, 'y': y_test})['accuracy']:.4f}")
