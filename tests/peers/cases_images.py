"""Cases: convolution in all its forms, pooling with overlaps, padding and ties.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, integers, normal, probe, torch_probe

# --- Convolution -------------------------------------------------------------------------------


def convolution(
    name: str, image: tuple[int, ...], kernel: tuple[int, ...], bias: bool = False, **how: Any
) -> None:
    """A convolution under tanh; `how` are the settings both libraries share."""

    def data(rng: np.random.Generator) -> Arrays:
        arrays = {"x": normal(rng, *image), "w": normal(rng, *kernel, scale=0.5)}
        return arrays | {"b": normal(rng, kernel[0])} if bias else arrays

    case(
        name,
        data=data,
        symprop=lambda v: probe(prop.tanh(prop.conv2d(v.x, v.w, v.get("b"), **how))),
        torch=lambda torch, v: torch_probe(
            torch, torch.tanh(torch.nn.functional.conv2d(v.x, v.w, v.get("b"), **how))
        ),
    )


convolution("conv_plain", (2, 2, 4, 4), (3, 2, 3, 3))
convolution("conv_bias_padded", (2, 2, 4, 4), (2, 2, 3, 3), bias=True, padding=1)
convolution("conv_strided", (2, 2, 5, 5), (2, 2, 3, 3), stride=2)
convolution("conv_strided_padded", (1, 2, 6, 6), (3, 2, 3, 3), stride=2, padding=1)
convolution("conv_dilated", (1, 2, 6, 6), (2, 2, 3, 3), padding=1, dilation=2)
convolution("conv_strided_dilated", (1, 2, 7, 7), (2, 2, 3, 3), stride=3, padding=2, dilation=2)
convolution("conv_grouped", (2, 4, 4, 4), (6, 2, 2, 2), groups=2)
convolution("conv_depthwise", (1, 3, 6, 6), (3, 1, 3, 3), stride=2, padding=1, groups=3)
convolution("conv_depthwise_multiplied", (1, 2, 4, 4), (4, 1, 3, 3), padding=1, groups=2)
convolution("conv_one_by_one", (2, 3, 3, 3), (2, 3, 1, 1), bias=True)
convolution("conv_rectangular", (1, 2, 5, 4), (2, 2, 3, 2), stride=(2, 1), padding=(0, 1))

# --- Pooling -----------------------------------------------------------------------------------


def pooling(
    name: str, kind: str, side: int, size: int, stride: int | None = None, padding: int = 0
) -> None:
    """A pooling of a product, so that second derivatives are not zero."""
    ours = {"max": "max_pool2d", "avg": "avg_pool2d"}[kind]

    def data(rng: np.random.Generator) -> Arrays:
        return {"x": normal(rng, 1, 2, side, side), "scale": normal(rng, 2, side, side)}

    def theirs(torch: Any, v: Leaves) -> Any:
        pool = getattr(torch.nn.functional, ours)
        return torch_probe(torch, pool(v.x * v.scale, size, stride, padding))

    case(
        name,
        data=data,
        symprop=lambda v: probe(
            getattr(prop, ours)(v.x * v.scale, size, stride=stride, padding=padding)
        ),
        torch=theirs,
    )


pooling("max_pool_2_2", "max", 4, 2)
pooling("max_pool_3_2_padded", "max", 5, 3, 2, 1)
pooling("max_pool_3_1_overlapping", "max", 5, 3, 1)
pooling("avg_pool_2_2", "avg", 4, 2)
pooling("avg_pool_3_2_padded", "avg", 5, 3, 2, 1)
pooling("avg_pool_3_1_overlapping", "avg", 4, 3, 1)

# Small integers tie often; the first position of a window takes the whole gradient, as in torch.
case(
    "max_pool_3_2_ties",
    data=lambda r: {
        "x": r.integers(0, 3, size=(1, 2, 7, 7)).astype(np.float64),
        "scale": normal(r, 2, 1, 1),
    },
    kinked=("x",),
    symprop=lambda v: probe(prop.max_pool2d(v.x, 3, stride=2) * v.scale),
    torch=lambda torch, v: torch_probe(torch, torch.nn.functional.max_pool2d(v.x, 3, 2) * v.scale),
)

case(
    "max_pool_2_1_ties_padded",
    data=lambda r: {"x": -r.integers(0, 3, size=(1, 1, 4, 4)).astype(np.float64) - 1.0},
    kinked=("x",),
    symprop=lambda v: probe(prop.max_pool2d(v.x, 2, stride=1, padding=1)),
    torch=lambda torch, v: torch_probe(torch, torch.nn.functional.max_pool2d(v.x, 2, 1, 1)),
)

# --- Small image networks ----------------------------------------------------------------------


def lenet_data(rng: np.random.Generator) -> Arrays:
    return {
        "x": normal(rng, 2, 1, 8, 8),
        "one.weight": normal(rng, 2, 1, 3, 3, scale=0.6),
        "one.bias": normal(rng, 2, scale=0.3),
        "two.weight": normal(rng, 3, 2, 2, 2, scale=0.6),
        "two.bias": normal(rng, 3, scale=0.3),
        "out.weight": normal(rng, 4, 3, scale=0.8),
        "out.bias": normal(rng, 4, scale=0.3),
        "y": integers(rng, 4, 2),
    }


def lenet(v: Leaves) -> Any:
    h = prop.relu(prop.conv2d(v.x, v["one.weight"], v["one.bias"]))
    h = prop.max_pool2d(h, 2)
    h = prop.tanh(prop.conv2d(h, v["two.weight"], v["two.bias"]))
    h = prop.max_pool2d(h, 2).reshape((v.x.shape[0], 3))
    return prop.cross_entropy(h @ v["out.weight"].T + v["out.bias"], v.y)


def torch_lenet(torch: Any, v: Leaves) -> Any:
    F = torch.nn.functional
    h = F.max_pool2d(F.relu(F.conv2d(v.x, v["one.weight"], v["one.bias"])), 2)
    h = F.max_pool2d(torch.tanh(F.conv2d(h, v["two.weight"], v["two.bias"])), 2)
    return F.cross_entropy(F.linear(h.flatten(1), v["out.weight"], v["out.bias"]), v.y)


case(
    "lenet_small",
    data=lenet_data,
    dims={"x": ("batch", 1, 8, 8), "y": "batch"},
    classes={"y": 4},
    symprop=lenet,
    torch=torch_lenet,
)


def residual(v: Leaves) -> Any:
    axes = (0, 2, 3)
    h = prop.relu(prop.batch_norm(prop.conv2d(v.x, v.w1, padding=1), v.g1, v.b1, axes=axes))
    h = prop.batch_norm(prop.conv2d(h, v.w2, padding=1), v.g2, v.b2, axes=axes)
    return probe(prop.mean(prop.relu(h + v.x), axis=(2, 3)))


def torch_residual(torch: Any, v: Leaves) -> Any:
    F = torch.nn.functional
    h = F.conv2d(v.x, v.w1, padding=1)
    h = torch.relu(F.batch_norm(h, None, None, v.g1, v.b1, training=True))
    h = F.conv2d(h, v.w2, padding=1)
    h = F.batch_norm(h, None, None, v.g2, v.b2, training=True)
    return torch_probe(torch, torch.relu(h + v.x).mean((2, 3)))


case(
    "residual_block",
    data=lambda r: {
        "x": normal(r, 2, 2, 3, 3),
        "w1": normal(r, 2, 2, 3, 3, scale=0.5),
        "g1": r.uniform(0.5, 1.5, size=2),
        "b1": normal(r, 2, scale=0.5),
        "w2": normal(r, 2, 2, 3, 3, scale=0.5),
        "g2": r.uniform(0.5, 1.5, size=2),
        "b2": normal(r, 2, scale=0.5),
    },
    symprop=residual,
    torch=torch_residual,
)
