"""Trains digits from an emitted step alone: run as `python -I` where only NumPy can be imported.

In: the path of the emitted module, of an .npz with data and starting arrays, the epochs.
Out: a line with the test accuracy; an error if anything but NumPy and the standard library loads.
"""

import importlib.util
import inspect
import sys

import numpy as np


class OnlyNumpy:
    """Refuses every package that is neither NumPy nor part of Python."""

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top != "numpy" and top not in sys.stdlib_module_names:
            raise ImportError(f"the bare environment has no {name}")


sys.meta_path.insert(0, OnlyNumpy())

for forbidden in ("symprop", "sympy"):
    try:
        __import__(forbidden)
    except ImportError:
        continue
    raise SystemExit(f"{forbidden} can be imported here, so this proves nothing")

module_path, data_path, epochs = sys.argv[1:]
spec = importlib.util.spec_from_file_location("emitted", module_path)
emitted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(emitted)

with np.load(data_path, allow_pickle=False) as stored:
    arrays = {name: stored[name] for name in stored.files}
test_x, test_y = arrays.pop("test_x"), arrays.pop("test_y")
train_x, train_y = arrays.pop("train_x"), arrays.pop("train_y")

names = list(inspect.signature(emitted.training_step).parameters)
for epoch in range(int(epochs)):
    order = np.random.default_rng(epoch).permutation(len(train_x))
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        arrays["x"], arrays["y"] = train_x[batch], train_y[batch]
        emitted.training_step(*(arrays[name] for name in names))

hidden = np.maximum(test_x @ arrays["hidden_weight"].T + arrays["hidden_bias"], 0)
logits = hidden @ arrays["logits_weight"].T + arrays["logits_bias"]
print("accuracy", float((logits.argmax(axis=1) == test_y).mean()))
