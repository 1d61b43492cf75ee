"""Cases: views, slices, gathers, joins, contractions: index arithmetic and its gradients.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

from .table import Leaves, case, integers, normal, probe, torch_probe

# --- Reshape and transpose -----------------------------------------------------------------------

case(
    "reshape_transpose_chain",
    data=lambda r: {"x": normal(r, 4, 6), "w": normal(r, 6, 2)},
    symprop=lambda v: probe(
        prop.tanh(v.x.reshape((2, 2, 3, 2)).transpose((0, 2, 1, 3)).reshape((6, 4)).T @ v.w)
    ),
    torch=lambda torch, v: torch_probe(
        torch, torch.tanh(v.x.reshape(2, 2, 3, 2).permute(0, 2, 1, 3).reshape(6, 4).T @ v.w)
    ),
)

case(
    "reshape_misaligned",
    data=lambda r: {"x": normal(r, 4, 6)},
    symprop=lambda v: probe(
        prop.sin(v.x.T.reshape((3, 8))).T.reshape((6, 4)) * v.x.reshape((6, 4))
    ),
    torch=lambda torch, v: torch_probe(
        torch, torch.sin(v.x.T.reshape(3, 8)).T.reshape(6, 4) * v.x.reshape(6, 4)
    ),
)

case(
    "flatten_minus_one",
    data=lambda r: {"x": normal(r, 3, 2, 2), "w": normal(r, 4, 2)},
    dims={"x": ("batch", 2, 2)},
    symprop=lambda v: prop.mean(prop.exp(v.x.reshape((v.x.shape[0], -1)) @ v.w)),
    torch=lambda torch, v: torch.mean(torch.exp(v.x.reshape(3, -1) @ v.w)),
)

# --- Joins -------------------------------------------------------------------------------------

case(
    "concat_batch",
    data=lambda r: {"x": normal(r, 2, 3), "y": normal(r, 3, 3), "w": normal(r, 3, 4)},
    dims={"x": ("few", 3), "y": ("many", 3)},
    symprop=lambda v: prop.mean(
        prop.square(prop.tanh(prop.concat([v.x, prop.sin(v.y), v.x], axis=0) @ v.w))
    ),
    torch=lambda torch, v: torch.mean(
        torch.square(torch.tanh(torch.cat([v.x, torch.sin(v.y), v.x]) @ v.w))
    ),
)

case(
    "concat_last_axis",
    data=lambda r: {"x": normal(r, 3, 2), "y": normal(r, 3, 4), "w": normal(r, 6)},
    symprop=lambda v: probe(prop.concat([v.x, v.y * v.y], axis=-1) * v.w),
    torch=lambda torch, v: torch_probe(torch, torch.cat([v.x, v.y * v.y], -1) * v.w),
)

case(
    "stack",
    data=lambda r: {"x": normal(r, 2, 3), "y": normal(r, 2, 3)},
    symprop=lambda v: probe(prop.stack([v.x, prop.exp(v.y), v.x * v.y], axis=1)),
    torch=lambda torch, v: torch_probe(torch, torch.stack([v.x, torch.exp(v.y), v.x * v.y], 1)),
)

case(
    "pad",
    data=lambda r: {"x": normal(r, 3, 4), "w": normal(r, 6, 5)},
    symprop=lambda v: probe(prop.tanh(prop.pad(v.x, ((1, 2), (0, 1))) * v.w) + v.w),
    torch=lambda torch, v: torch_probe(
        torch, torch.tanh(torch.nn.functional.pad(v.x, (0, 1, 1, 2)) * v.w) + v.w
    ),
)

# --- Slices ------------------------------------------------------------------------------------

case(
    "slices_strided",
    data=lambda r: {"x": normal(r, 5, 7)},
    symprop=lambda v: probe(v.x[1:5:2, ::3] * v.x[:2, 2:5]) + probe(v.x[-1] * v.x[0, 0]),
    torch=lambda torch, v: (
        torch_probe(torch, v.x[1:5:2, ::3] * v.x[:2, 2:5]) + torch_probe(torch, v.x[-1] * v.x[0, 0])
    ),
)

case(
    "slices_reversed",
    data=lambda r: {"x": normal(r, 4, 5)},
    symprop=lambda v: probe(v.x[::-1] * v.x) + probe(v.x[3:0:-2, ::-2]),
    torch=lambda torch, v: (
        torch_probe(torch, v.x.flip(0) * v.x) + torch_probe(torch, v.x.flip(0, 1)[0:3:2, ::2])
    ),
)

case(
    "slices_of_the_batch",
    data=lambda r: {"x": normal(r, 5, 3)},
    dims={"x": ("time", 3)},
    symprop=lambda v: prop.mean(prop.square(prop.sin(v.x[1:]) - v.x[:-1] * v.x[1:])),
    torch=lambda torch, v: torch.mean(torch.square(torch.sin(v.x[1:]) - v.x[:-1] * v.x[1:])),
)

case(
    "flip",
    data=lambda r: {"x": normal(r, 3, 4), "w": normal(r, 3, 4)},
    symprop=lambda v: (
        probe(prop.flip(v.x, axis=1) * v.w) + probe(prop.flip(v.x * v.w, axis=(0, 1)))
    ),
    torch=lambda torch, v: (
        torch_probe(torch, v.x.flip(1) * v.w) + torch_probe(torch, (v.x * v.w).flip(0, 1))
    ),
)

# --- Gathers -----------------------------------------------------------------------------------

ORDER = np.array([2, 0, 2, 3])
PAIRS = np.array([[0, 1], [2, 2]])

case(
    "gather_constant",
    data=lambda r: {"x": normal(r, 4, 3)},
    symprop=lambda v: probe(prop.exp(v.x[ORDER]) * v.x) + probe(v.x[:, PAIRS]),
    torch=lambda torch, v: (
        torch_probe(torch, torch.exp(v.x[torch.tensor(ORDER)]) * v.x)
        + torch_probe(torch, v.x[:, torch.tensor(PAIRS)])
    ),
)

case(
    "take",
    data=lambda r: {"x": normal(r, 3, 4, 2), "w": normal(r, 5, 2), "ids": integers(r, 4, 5)},
    classes={"ids": 4},
    symprop=lambda v: probe(prop.take(v.x, v.ids, axis=1) * v.w),
    torch=lambda torch, v: torch_probe(torch, torch.index_select(v.x, 1, v.ids) * v.w),
)

case(
    "gather_pairs",
    data=lambda r: {"x": normal(r, 4, 3), "i": integers(r, 4, 5), "j": integers(r, 3, 5)},
    classes={"i": 4, "j": 3},
    symprop=lambda v: probe(prop.tanh(v.x[v.i, v.j])),
    torch=lambda torch, v: torch_probe(torch, torch.tanh(v.x[v.i, v.j])),
)

case(
    "gather_by_argmax",
    data=lambda r: {"score": normal(r, 3, 4), "x": normal(r, 4, 2)},
    fixed=("score",),
    symprop=lambda v: probe(prop.take(v.x, prop.argmax(v.score, axis=1), axis=0)),
    torch=lambda torch, v: torch_probe(torch, v.x[torch.argmax(v.score, 1)]),
)

# --- Contractions ------------------------------------------------------------------------------

case(
    "einsum_diagonal",
    data=lambda r: {"x": normal(r, 4, 4), "y": normal(r, 2, 3, 3)},
    symprop=lambda v: (
        probe(prop.einsum("ii->i", v.x))
        + probe(prop.exp(prop.einsum("bii->bi", v.y)))
        + prop.einsum("ii->", v.x) ** 2
    ),
    torch=lambda torch, v: (
        torch_probe(torch, torch.diagonal(v.x))
        + torch_probe(torch, torch.exp(torch.diagonal(v.y, 0, 1, 2)))
        + torch.trace(v.x) ** 2
    ),
)

case(
    "einsum_chain",
    data=lambda r: {"a": normal(r, 2, 3, 4), "b": normal(r, 4, 2), "c": normal(r, 2, 2, 3)},
    symprop=lambda v: (
        probe(prop.einsum("nij,jk->nik", v.a, v.b) + prop.einsum("nki->nik", prop.tanh(v.c)))
        + prop.einsum("nij,jk,nki->", v.a, v.b, v.c)
    ),
    torch=lambda torch, v: (
        torch_probe(torch, torch.einsum("nij,jk->nik", v.a, v.b) + torch.tanh(v.c).permute(0, 2, 1))
        + torch.einsum("nij,jk,nki->", v.a, v.b, v.c)
    ),
)

case(
    "matmul_batched",
    data=lambda r: {"a": normal(r, 2, 1, 3, 4), "b": normal(r, 3, 4, 2)},
    symprop=lambda v: probe(prop.tanh(v.a @ v.b)),
    torch=lambda torch, v: torch_probe(torch, torch.tanh(v.a @ v.b)),
)

case(
    "matmul_vectors",
    data=lambda r: {"a": normal(r, 3), "m": normal(r, 3, 4), "b": normal(r, 4)},
    symprop=lambda v: probe(v.a @ v.m) + probe(v.m @ v.b) + prop.exp(0.3 * (v.a @ v.m @ v.b)),
    torch=lambda torch, v: (
        torch_probe(torch, v.a @ v.m)
        + torch_probe(torch, v.m @ v.b)
        + torch.exp(0.3 * (v.a @ v.m @ v.b))
    ),
)

case(
    "gram_matrix",
    data=lambda r: {"x": normal(r, 4, 3)},
    dims={"x": ("batch", 3)},
    symprop=lambda v: prop.mean(prop.tanh(v.x @ v.x.T)) + probe(v.x.T @ v.x),
    torch=lambda torch, v: torch.mean(torch.tanh(v.x @ v.x.T)) + torch_probe(torch, v.x.T @ v.x),
)


def pairwise_kernel(v: Leaves) -> Any:
    apart = v.x.reshape((4, 1, 2)) - v.y.reshape((1, 3, 2))
    return probe(prop.exp(-0.5 * prop.sum(apart * apart, axis=-1)))


def torch_pairwise_kernel(torch: Any, v: Leaves) -> Any:
    apart = v.x.reshape(4, 1, 2) - v.y.reshape(1, 3, 2)
    return torch_probe(torch, torch.exp(-0.5 * torch.sum(apart * apart, -1)))


case(
    "pairwise_kernel",
    data=lambda r: {"x": normal(r, 4, 2), "y": normal(r, 3, 2)},
    symprop=pairwise_kernel,
    torch=torch_pairwise_kernel,
)
