"""Cases: windows of every rank: convolutions and their transposes, pools, adaptive and global.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, normal, probe, torch_probe


def convolution(
    name: str, function: str, image: tuple[int, ...], kernel: tuple[int, ...], **how: Any
) -> None:
    """A convolution with a bias, under tanh; `how` are the settings both libraries share."""
    outputs = kernel[1] * how.get("groups", 1) if "transpose" in function else kernel[0]

    def data(rng: np.random.Generator) -> Arrays:
        return {
            "x": normal(rng, *image),
            "w": normal(rng, *kernel, scale=0.5),
            "b": normal(rng, outputs),
        }

    case(
        name,
        data=data,
        symprop=lambda v: probe(prop.tanh(getattr(prop, function)(v.x, v.w, v.b, **how))),
        torch=lambda torch, v: torch_probe(
            torch, torch.tanh(getattr(torch.nn.functional, function)(v.x, v.w, v.b, **how))
        ),
    )


convolution("conv1d_strided", "conv1d", (2, 2, 7), (3, 2, 3), stride=2, padding=1)
convolution("conv1d_same_even", "conv1d", (2, 2, 6), (2, 2, 4), padding="same")
convolution("conv1d_dilated_grouped", "conv1d", (1, 4, 8), (4, 2, 3), dilation=2, groups=2)
convolution("conv2d_same_dilated", "conv2d", (1, 2, 5, 5), (2, 2, 3, 2), padding="same", dilation=2)
convolution("conv3d_plain", "conv3d", (1, 2, 4, 3, 4), (2, 2, 2, 2, 3), padding=(0, 1, 1))
convolution(
    "conv3d_strided_depthwise", "conv3d", (1, 2, 4, 4, 4), (2, 1, 2, 2, 2), stride=2, groups=2
)
convolution("conv_transpose1d_strided", "conv_transpose1d", (2, 2, 4), (2, 3, 3), stride=2,
            padding=1, output_padding=1)  # fmt: skip
convolution("conv_transpose2d_plain", "conv_transpose2d", (1, 2, 3, 3), (2, 2, 3, 2))
convolution("conv_transpose2d_strided", "conv_transpose2d", (1, 3, 3, 3), (3, 2, 3, 3), stride=2,
            padding=1, output_padding=1)  # fmt: skip
convolution("conv_transpose2d_grouped", "conv_transpose2d", (1, 4, 3, 3), (4, 1, 2, 2), stride=3,
            groups=2)  # fmt: skip
convolution("conv_transpose2d_dilated", "conv_transpose2d", (1, 2, 3, 4), (2, 2, 2, 3), dilation=2,
            padding=1)  # fmt: skip
convolution("conv_transpose3d_strided", "conv_transpose3d", (1, 2, 2, 2, 3), (2, 2, 2, 2, 2),
            stride=2)  # fmt: skip


def pooling(
    name: str, shape: tuple[int, ...], ours: Callable[[Any], Any], theirs: Callable[[Any, Any], Any]
) -> None:
    """A pooling of a product, so that second derivatives are not zero."""

    def data(rng: np.random.Generator) -> Arrays:
        return {"x": normal(rng, *shape), "scale": normal(rng, *shape[1:])}

    def in_torch(torch: Any, v: Leaves) -> Any:
        return torch_probe(torch, theirs(torch.nn.functional, v.x * v.scale))

    case(name, data=data, symprop=lambda v: probe(ours(v.x * v.scale)), torch=in_torch)


pooling("max_pool1d_dilated", (2, 2, 8), lambda x: prop.max_pool1d(x, 3, 2, 1, 2),
        lambda F, x: F.max_pool1d(x, 3, 2, 1, 2))  # fmt: skip
pooling("max_pool3d_overlapping", (1, 2, 4, 4, 3), lambda x: prop.max_pool3d(x, 2, 1),
        lambda F, x: F.max_pool3d(x, 2, 1))  # fmt: skip
pooling("avg_pool1d_padded", (2, 2, 6), lambda x: prop.avg_pool1d(x, 3, 2, 1),
        lambda F, x: F.avg_pool1d(x, 3, 2, 1))  # fmt: skip
pooling("avg_pool3d_plain", (1, 2, 4, 4, 2), lambda x: prop.avg_pool3d(x, 2),
        lambda F, x: F.avg_pool3d(x, 2))  # fmt: skip
pooling("adaptive_avg_pool_uneven", (1, 2, 7, 5), lambda x: prop.adaptive_avg_pool(x, (3, 2)),
        lambda F, x: F.adaptive_avg_pool2d(x, (3, 2)))  # fmt: skip
pooling("adaptive_max_pool_uneven", (2, 2, 7), lambda x: prop.adaptive_max_pool(x, 4),
        lambda F, x: F.adaptive_max_pool1d(x, 4))  # fmt: skip
pooling("adaptive_avg_pool_larger", (2, 2, 3), lambda x: prop.adaptive_avg_pool(x, 5),
        lambda F, x: F.adaptive_avg_pool1d(x, 5))  # fmt: skip
pooling("global_avg_pool", (2, 3, 3, 2), prop.global_avg_pool, lambda F, x: x.mean((2, 3)))
pooling("global_max_pool", (2, 3, 3, 2), prop.global_max_pool, lambda F, x: x.amax((2, 3)))
pooling("upsample_nearest", (1, 2, 3, 2), lambda x: prop.upsample(x, 2),
        lambda F, x: F.interpolate(x, scale_factor=2))  # fmt: skip
