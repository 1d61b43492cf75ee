"""The digits training step as a careful engineer writes it in NumPy: what emitted code is held to.

In: a batch `x` (batch, 64) and labels `y`; weights, moments and the step count as arrays, by the
names that the emitted step uses.
Out: the loss before the update; weights, moments and the count are changed in place.
Guarantees: 64-64-10, ReLU, softmax cross entropy, Adam as in Kingma and Ba (algorithm 1); float32
throughout; a buffer is reused as soon as its value is not needed again; imports NumPy alone.
"""

from __future__ import annotations

import numpy as np

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def adam(p, g, m, v, rate, correction):  # type: ignore[no-untyped-def]
    """Moves `p`, `m` and `v` in place; `g` is used up."""
    m *= BETA1
    m += (1 - BETA1) * g
    v *= BETA2
    np.square(g, out=g)
    g *= 1 - BETA2
    v += g
    step = np.divide(v, correction, out=g)
    np.sqrt(step, out=step)
    step += EPSILON
    np.divide(m, step, out=step)
    step *= rate
    p -= step


def training_step(  # type: ignore[no-untyped-def]
    x,
    y,
    hidden_weight,
    hidden_bias,
    logits_weight,
    logits_bias,
    m_hidden_weight,
    m_hidden_bias,
    m_logits_weight,
    m_logits_bias,
    v_hidden_weight,
    v_hidden_bias,
    v_logits_weight,
    v_logits_bias,
    adam_steps,
):
    """One step: forward, backward, update."""
    adam_steps += 1
    t = float(adam_steps)
    rate = RATE / (1 - BETA1**t)
    correction = 1 - BETA2**t
    rows = np.arange(len(y))

    hidden = x @ hidden_weight.T
    hidden += hidden_bias
    np.maximum(hidden, 0, out=hidden)
    z = hidden @ logits_weight.T
    z += logits_bias
    z -= z.max(axis=1, keepdims=True)
    picked = z[rows, y]
    e = np.exp(z, out=z)
    total = e.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - picked).mean()

    total *= len(y)
    d_logits = np.divide(e, total, out=e)
    d_logits[rows, y] -= 1 / len(y)
    grad_logits_weight = d_logits.T @ hidden
    grad_logits_bias = d_logits.sum(axis=0)
    d_hidden = d_logits @ logits_weight
    d_hidden *= hidden > 0
    grad_hidden_weight = d_hidden.T @ x
    grad_hidden_bias = d_hidden.sum(axis=0)

    adam(hidden_weight, grad_hidden_weight, m_hidden_weight, v_hidden_weight, rate, correction)
    adam(hidden_bias, grad_hidden_bias, m_hidden_bias, v_hidden_bias, rate, correction)
    adam(logits_weight, grad_logits_weight, m_logits_weight, v_logits_weight, rate, correction)
    adam(logits_bias, grad_logits_bias, m_logits_bias, v_logits_bias, rate, correction)
    return loss
