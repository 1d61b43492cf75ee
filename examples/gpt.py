"""A small GPT: a transformer learns to write, character by character, like Python's help texts."""

from pydoc_data.topics import topics

import numpy as np

import symprop as prop

STEPS, TIME, WIDTH, BLOCKS, BATCH = 1500, 64, 64, 2, 16
# Positions: "learned" is a table, as in GPT-2; "rotary" turns queries and keys by their time, and
# then two heads share their keys and values (grouped queries), as in most models since 2023.
POSITIONS = "learned"

text = "\n".join(topics[name] for name in sorted(topics))
characters = sorted(set(text))
places = {c: k for k, c in enumerate(characters)}
codes = np.array([places[c] for c in text])
cut = len(codes) * 9 // 10
count = len(characters)

token = prop.labels("token", f"batch time={TIME}", classes=count)
following = prop.labels("following", f"batch time={TIME}", classes=count)
rotary = POSITIONS == "rotary"
table = prop.Embedding(count, WIDTH, "table")
net = prop.Sequential(
    *([] if rotary else [prop.LearnedPositions(name="positions")]),
    *(
        prop.TransformerBlock(
            heads=4,
            name=f"block{k}",
            causal=True,  # a character sees those before it
            groups=2 if rotary else 4,
            positions="rotary" if rotary else None,
        )
        for k in range(BLOCKS)
    ),
    prop.LayerNorm("norm"),
)
logits = net(table(token)) @ table["table.weight"].T  # tied: what reads a character writes it too
loss = prop.cross_entropy(logits, following)

rate = prop.warm_up(prop.cosine_decay(4e-3, STEPS, final=2e-4), STEPS // 15)
step = prop.training_step(loss, prop.AdamW(rate), {"logits": logits}, clip=prop.ClipGlobalNorm(1.0))
print(f"{sum(int(np.prod(p.shape)) for p in step.parameters):,} parameters\n")
print("One head of attention, as it is computed:\n")
head = [prop.input(part, f"time={TIME} feature={WIDTH // 4}") for part in ("query", "key", "value")]
page = prop.compile(prop.attention(*head, causal=True), "numpy", name="attention").source()
print("def" + page.split("def")[-1])


def pieces(codes: np.ndarray, starts: np.ndarray) -> dict[str, np.ndarray]:
    """Pieces of the text, and the characters that follow on each of theirs."""
    at = np.asarray(starts)[:, None] + np.arange(TIME)
    return {"token": codes[at], "following": codes[at + 1]}


trainer = step.compile(seed=0)
rng = np.random.default_rng(0)
for k in range(STEPS):
    bits = trainer.step(pieces(codes[:cut], rng.integers(0, cut - TIME, BATCH))) / np.log(2)
    if k % 250 == 0:
        print(f"step {k:4}: {bits:.2f} bits a character")
kept = codes[cut:]
held_out = trainer.evaluate(pieces(kept, np.arange(0, len(kept) - TIME, TIME)), batch_size=BATCH)
print(f"held out: {held_out['loss'] / np.log(2):.2f} bits a character\n")


def written(start: str, length: int) -> str:
    """The start, and what the network writes behind it, each character drawn as it foretells."""
    found = [places[c] for c in start]
    while len(found) < length:
        seen = found[-TIME:]
        window = np.zeros((1, TIME), np.int64)  # what is behind the last character is not seen
        window[0, : len(seen)] = seen
        z = trainer.predict({"token": window})["logits"][0, len(seen) - 1].astype(np.float64)
        chances = np.exp(z - z.max())
        found.append(int(rng.choice(count, p=chances / chances.sum())))
    return "".join(characters[k] for k in found)


print(written("The ", 400))
