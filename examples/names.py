"""First names: an LSTM learns, letter by letter, how they are spelt; then it makes up new ones."""

from importlib.metadata import distribution  # this file is called as the package `names` is

import numpy as np

import symprop as prop

EPOCHS, UNITS = 15, 64
END, PAD = 26, 27  # behind the letters a to z: the end of a name, and what follows to the longest

# The first names of the census of the United States of 1990, as `dist.female.first` lists them.
folder = distribution("names").locate_file("names")
lists = [(folder / f"dist.{kind}.first").read_text() for kind in ("female", "male")]
names = sorted({line.split()[0].lower() for text in lists for line in text.splitlines()})
time = max(map(len, names)) + 1
spelt = np.full((len(names), time + 1), PAD)
for row, name in zip(spelt, names, strict=True):
    row[: len(name) + 2] = [END, *(ord(c) - ord("a") for c in name), END]
np.random.default_rng(0).shuffle(spelt)
data = {"letter": spelt[:, :-1], "following": spelt[:, 1:]}
held_out = {key: rows[:500] for key, rows in data.items()}
training = {key: rows[500:] for key, rows in data.items()}

# Each letter is to foretell the one that follows; what is behind the end counts for nothing.
letter = prop.labels("letter", f"batch time={time}", classes=28)
following = prop.labels("following", f"batch time={time}", classes=28)
table, lstm = prop.Embedding(28, 16, "table"), prop.LSTM(UNITS, "lstm")
scores = prop.Dense(28, name="scores", init="lecun")
logits = scores(lstm(table(letter), mask=letter != PAD))
loss = prop.cross_entropy(logits, following, class_weights=[1.0] * PAD + [0.0])

step = prop.training_step(loss, prop.Adam(4e-3), clip=prop.ClipGlobalNorm(1.0))
trainer = step.compile(seed=0)
turn_back = step.source("numpy").split("def d_scan(")[1].split("\n\n\n")[0]
print("What one letter adds to the derivatives, from the last letter to the first:\n")
print(f"def d_scan({turn_back}\n")

trainer.fit(training, epochs=EPOCHS, batch_size=64, seed=0)
print(f"perplexity of {len(held_out['letter'])} names that were not trained with, a letter: "
      f"{np.exp(trainer.evaluate(held_out)['loss']):.2f} of 27\n")  # fmt: skip

# The same layers, for one letter: what the LSTM carries goes in and comes out again.
one = prop.labels("letter", (1, 1), classes=28)
carried = tuple(prop.input(part, (1, UNITS)) for part in ("hidden", "cell"))
seen, (hidden, cell) = lstm.run(table(one), start=carried)
turn = prop.compile([prop.softmax(scores(seen)[0, 0]), hidden, cell])


def made_up(rng: np.random.Generator) -> str:
    """A name, each letter drawn with the probability that the network gives it."""
    values = {"hidden": np.zeros((1, UNITS)), "cell": np.zeros((1, UNITS))}
    last, word = END, ""
    while True:
        given = {"letter": [[last]], **values, **trainer.parameters}
        chances, values["hidden"], values["cell"] = turn(given)
        chances = chances[:PAD].astype(np.float64)
        last = int(rng.choice(PAD, p=chances / chances.sum()))
        if last == END:
            return word.capitalize()
        word += chr(ord("a") + last)


rng = np.random.default_rng(1)
drawn = list(dict.fromkeys(made_up(rng) for _ in range(40)))
print("new names:", ", ".join(word for word in drawn if word.lower() not in names))
