"""Cases: reductions, softmax and its relatives, the norms.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

from .table import Leaves, case, normal, positive, probe, torch_probe

EPS = 1e-5

# --- Softmax family ----------------------------------------------------------------------------

case(
    "softmax",
    data=lambda r: {"x": normal(r, 3, 4, scale=1.5)},
    symprop=lambda v: probe(prop.softmax(v.x, axis=-1)),
    torch=lambda torch, v: torch_probe(torch, torch.softmax(v.x, -1)),
)

case(
    "softmax_middle_axis",
    data=lambda r: {"x": normal(r, 2, 4, 3)},
    symprop=lambda v: probe(prop.softmax(v.x, axis=1)),
    torch=lambda torch, v: torch_probe(torch, torch.softmax(v.x, 1)),
)

case(
    "log_softmax_first_axis",
    data=lambda r: {"x": normal(r, 4, 3)},
    symprop=lambda v: probe(prop.log_softmax(v.x, axis=0)),
    torch=lambda torch, v: torch_probe(torch, torch.log_softmax(v.x, 0)),
)

case(
    "logsumexp",
    data=lambda r: {"x": normal(r, 4, 3, scale=2.0)},
    symprop=lambda v: probe(prop.logsumexp(v.x, axis=1)),
    torch=lambda torch, v: torch_probe(torch, torch.logsumexp(v.x, 1)),
)

case(
    "logsumexp_two_axes",
    data=lambda r: {"x": normal(r, 3, 2, 4)},
    symprop=lambda v: probe(prop.logsumexp(v.x, axis=(0, 2), keepdims=True) * v.x),
    torch=lambda torch, v: torch_probe(torch, torch.logsumexp(v.x, (0, 2), keepdim=True) * v.x),
)

# --- Norms -------------------------------------------------------------------------------------

case(
    "layer_norm",
    data=lambda r: {"x": normal(r, 4, 6), "weight": positive(r, 6), "bias": normal(r, 6)},
    dims={"x": "batch feature=6"},
    symprop=lambda v: prop.mean(prop.exp(0.3 * prop.layer_norm(v.x, v.weight, v.bias))),
    torch=lambda torch, v: torch.mean(
        torch.exp(0.3 * torch.nn.functional.layer_norm(v.x, (6,), v.weight, v.bias))
    ),
)

case(
    "layer_norm_plain",
    data=lambda r: {"x": normal(r, 2, 3, 4)},
    symprop=lambda v: probe(prop.sin(prop.layer_norm(v.x))),
    torch=lambda torch, v: torch_probe(torch, torch.sin(torch.nn.functional.layer_norm(v.x, (4,)))),
)


def torch_rms(torch: Any, v: Leaves) -> Any:
    return v.x / torch.sqrt(torch.mean(v.x**2, -1, keepdim=True) + EPS) * v.weight


case(
    "rms_norm",
    data=lambda r: {"x": normal(r, 4, 6), "weight": positive(r, 6)},
    symprop=lambda v: probe(prop.tanh(prop.rms_norm(v.x, v.weight))),
    torch=lambda torch, v: torch_probe(torch, torch.tanh(torch_rms(torch, v))),
)

case(
    "batch_norm",
    data=lambda r: {"x": normal(r, 6, 4), "weight": positive(r, 4), "bias": normal(r, 4)},
    dims={"x": "batch feature=4"},
    symprop=lambda v: prop.mean(prop.exp(0.3 * prop.batch_norm(v.x, v.weight, v.bias))),
    torch=lambda torch, v: torch.mean(
        torch.exp(
            0.3 * torch.nn.functional.batch_norm(v.x, None, None, v.weight, v.bias, training=True)
        )
    ),
)

case(
    "batch_norm_images",
    data=lambda r: {"x": normal(r, 3, 2, 3, 2), "weight": positive(r, 2), "bias": normal(r, 2)},
    symprop=lambda v: probe(prop.tanh(prop.batch_norm(v.x, v.weight, v.bias, axes=(0, 2, 3)))),
    torch=lambda torch, v: torch_probe(
        torch,
        torch.tanh(
            torch.nn.functional.batch_norm(v.x, None, None, v.weight, v.bias, training=True)
        ),
    ),
)

# --- Reductions --------------------------------------------------------------------------------

case(
    "sum_axes",
    data=lambda r: {"x": normal(r, 2, 3, 4), "w": normal(r, 3)},
    symprop=lambda v: (
        probe(prop.exp(v.x).sum(axis=(0, 2)) * v.w) + probe(v.x.sum(axis=1, keepdims=True) * v.x)
    ),
    torch=lambda torch, v: (
        torch_probe(torch, torch.exp(v.x).sum((0, 2)) * v.w)
        + torch_probe(torch, v.x.sum(1, keepdim=True) * v.x)
    ),
)

case(
    "variance_by_hand",
    data=lambda r: {"x": normal(r, 5, 3)},
    dims={"x": ("batch", 3)},
    symprop=lambda v: prop.sum(
        prop.log(prop.mean(prop.square(v.x - v.x.mean(axis=0, keepdims=True)), axis=0))
    ),
    torch=lambda torch, v: torch.sum(torch.log(torch.var(v.x, 0, correction=0))),
)

case(
    "cosine_similarity",
    data=lambda r: {"x": normal(r, 3, 4), "y": normal(r, 3, 4)},
    symprop=lambda v: probe(
        (v.x * v.y).sum(axis=1)
        / (prop.sqrt((v.x**2).sum(axis=1)) * prop.sqrt((v.y**2).sum(axis=1)))
    ),
    torch=lambda torch, v: torch_probe(
        torch, torch.nn.functional.cosine_similarity(v.x, v.y, dim=1)
    ),
)

case(
    "max_reduction",
    data=lambda r: {"x": normal(r, 3, 2, 4), "w": normal(r, 3, 2, 4)},
    symprop=lambda v: probe(prop.max(v.x * v.w, axis=-1)) + prop.exp((v.x + v.w).max()),
    torch=lambda torch, v: (
        torch_probe(torch, torch.max(v.x * v.w, -1).values) + torch.exp((v.x + v.w).max())
    ),
)

case(
    "min_reduction",
    data=lambda r: {"x": normal(r, 4, 3)},
    symprop=lambda v: probe(v.x.min(axis=0, keepdims=True) * v.x),
    torch=lambda torch, v: torch_probe(torch, torch.min(v.x, 0, keepdim=True).values * v.x),
)

# The first position that attains the maximum takes the whole gradient; torch.max(x, dim) agrees.
case(
    "max_reduction_ties",
    data=lambda r: {"x": r.integers(0, 3, size=(5, 6)).astype(np.float64), "w": normal(r, 6)},
    kinked=("x",),
    symprop=lambda v: probe(v.x.max(axis=1) * (v.x @ v.w)),
    torch=lambda torch, v: torch_probe(torch, torch.max(v.x, 1).values * (v.x @ v.w)),
)

case(
    "prod",
    data=lambda r: {"x": normal(r, 3, 4)},
    symprop=lambda v: probe(prop.prod(v.x, axis=1)),
    torch=lambda torch, v: torch_probe(torch, torch.prod(v.x, 1)),
)


def with_zeros(rng: np.random.Generator) -> np.ndarray:
    """Rows with no, one, two zeros, so that every case of a product's derivative occurs."""
    x = normal(rng, 3, 5)
    x[1, 2] = x[2, 1] = x[2, 3] = 0.0
    return x


case(
    "prod_with_zeros",
    data=lambda r: {"x": with_zeros(r), "w": normal(r, 3)},
    symprop=lambda v: prop.sum(v.x.prod(axis=1) * v.w) + probe(v.x.prod(axis=1) + v.w),
    torch=lambda torch, v: (
        torch.sum(torch.prod(v.x, 1) * v.w) + torch_probe(torch, torch.prod(v.x, 1) + v.w)
    ),
)

case(
    "cumprod_with_zeros",
    data=lambda r: {"x": with_zeros(r), "w": normal(r, 5)},
    symprop=lambda v: probe(prop.cumprod(v.x, axis=1) + v.w),
    torch=lambda torch, v: torch_probe(torch, torch.cumprod(v.x, 1) + v.w),
)

case(
    "cumsum",
    data=lambda r: {"x": normal(r, 3, 5), "w": normal(r, 5)},
    symprop=lambda v: (
        probe(prop.sin(prop.cumsum(v.x, axis=1)) * v.w) + probe(prop.cumsum(v.x * v.w, axis=0))
    ),
    torch=lambda torch, v: (
        torch_probe(torch, torch.sin(torch.cumsum(v.x, 1)) * v.w)
        + torch_probe(torch, torch.cumsum(v.x * v.w, 0))
    ),
)
