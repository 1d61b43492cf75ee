"""Cases: every elementwise function and operator, with broadcasting of the operands.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, normal, positive, probe, torch_probe

Draw = Callable[..., np.ndarray]


def unary(name: str, ours: Any, theirs: Any, draw: Draw = normal) -> None:
    """One function f as the loss of f(x * w), where w is broadcast over the rows of x."""

    def data(rng: np.random.Generator) -> Arrays:
        return {"x": draw(rng, 4, 3), "w": positive(rng, 3)}

    case(
        name,
        data=data,
        symprop=lambda v: probe(ours(v.x * v.w)),
        torch=lambda torch, v: torch_probe(torch, theirs(torch)(v.x * v.w)),
    )


def binary(name: str, ours: Any, theirs: Any, draw: Draw = normal) -> None:
    """One function f of two operands, as the loss of f(x, y), where y is a row."""

    def data(rng: np.random.Generator) -> Arrays:
        return {"x": draw(rng, 4, 3), "y": draw(rng, 3)}

    case(
        name,
        data=data,
        symprop=lambda v: probe(ours(v.x, v.y)),
        torch=lambda torch, v: torch_probe(torch, theirs(torch)(v.x, v.y)),
    )


unary("exp", lambda x: prop.exp(x), lambda torch: torch.exp)
unary("expm1", lambda x: prop.expm1(x), lambda torch: torch.expm1)
unary("log", lambda x: prop.log(x), lambda torch: torch.log, positive)
unary("log1p", lambda x: prop.log1p(x), lambda torch: torch.log1p, positive)
unary("sqrt", lambda x: prop.sqrt(x) + x, lambda torch: lambda x: torch.sqrt(x) + x, positive)
unary("square", lambda x: prop.square(x), lambda torch: torch.square)
unary("abs", lambda x: abs(x) + prop.abs(x), lambda torch: lambda x: 2 * torch.abs(x))
unary("sign", lambda x: prop.sign(x) * x * x, lambda torch: lambda x: torch.sign(x) * x * x)
unary("sin", lambda x: prop.sin(x), lambda torch: torch.sin)
unary("cos", lambda x: prop.cos(x), lambda torch: torch.cos)
unary("erf", lambda x: prop.erf(x), lambda torch: torch.erf)
unary("power_three", lambda x: x**3, lambda torch: lambda x: x**3)
unary("power_minus_two", lambda x: x**-2, lambda torch: lambda x: x**-2, positive)
unary("power_fraction", lambda x: x**1.5, lambda torch: lambda x: x**1.5, positive)
unary("number_to_the_power", lambda x: 2.0**x, lambda torch: lambda x: 2.0**x)
unary("reciprocal", lambda x: 1 / x, lambda torch: lambda x: 1 / x, positive)
unary("clip", lambda x: prop.clip(x, -0.8, 0.9), lambda torch: lambda x: x.clamp(-0.8, 0.9))
unary("leaky_relu_sharp", lambda x: prop.leaky_relu(x), lambda t: t.nn.functional.leaky_relu)

binary("add_subtract", lambda x, y: x + y - 2 * (y - x), lambda t: lambda x, y: x + y - 2 * (y - x))
binary("divide", lambda x, y: x / y - y / x, lambda t: lambda x, y: x / y - y / x, positive)
binary("power_of_both", lambda x, y: prop.power(x, y), lambda torch: torch.pow, positive)
binary("maximum", lambda x, y: prop.maximum(x, y), lambda torch: torch.maximum)
binary("minimum", lambda x, y: prop.minimum(x, y), lambda torch: torch.minimum)


# --- Selection ---------------------------------------------------------------------------------


def chosen(v: Leaves) -> Any:
    return probe(prop.where(v.mask, prop.exp(v.x) * v.y, prop.sin(v.y) + v.x))


def torch_chosen(torch: Any, v: Leaves) -> Any:
    return torch_probe(torch, torch.where(v.mask, torch.exp(v.x) * v.y, torch.sin(v.y) + v.x))


case(
    "where_mask",
    data=lambda r: {"x": normal(r, 4, 3), "y": normal(r, 3), "mask": r.uniform(size=(4, 3)) < 0.5},
    symprop=chosen,
    torch=torch_chosen,
)

case(
    "where_compared",
    data=lambda r: {"x": normal(r, 5, 3), "y": normal(r, 5, 1)},
    symprop=lambda v: probe(
        prop.where(
            (v.x > v.y) & ~(v.x > 1.5), v.x * v.y, prop.where(v.x <= -0.5, v.x**2, 0.3 * v.y)
        )
    ),
    torch=lambda torch, v: torch_probe(
        torch,
        torch.where(
            (v.x > v.y) & ~(v.x > 1.5), v.x * v.y, torch.where(v.x <= -0.5, v.x**2, 0.3 * v.y)
        ),
    ),
)

# torch's own gradient of an unguarded where is NaN at the excluded points, so its side here is
# written with the safe operand; symprop's is written as the mathematics reads.
case(
    "where_guarded_log",
    data=lambda r: {"x": np.maximum(normal(r, 4, 3), 0.0), "y": normal(r, 3)},
    kinked=("x",),
    symprop=lambda v: probe(prop.where(v.x > 0, v.x * prop.log(v.x), 0.0) + v.y),
    torch=lambda torch, v: torch_probe(
        torch,
        torch.where(v.x > 0, v.x * torch.log(torch.where(v.x > 0, v.x, 1.0)), 0.0) + v.y,
    ),
)

# --- Broadcasting ------------------------------------------------------------------------------

case(
    "broadcast_outer",
    data=lambda r: {"column": normal(r, 4, 1), "row": normal(r, 1, 5), "scale": normal(r)},
    symprop=lambda v: probe(prop.sin(v.column + v.row) * v.scale + v.column * v.row),
    torch=lambda torch, v: torch_probe(
        torch, torch.sin(v.column + v.row) * v.scale + v.column * v.row
    ),
)

case(
    "broadcast_batch_bias",
    data=lambda r: {
        "x": normal(r, 2, 3, 4),
        "bias": normal(r, 4),
        "row": normal(r, 3, 1),
        "shift": normal(r, 2, 1, 1),
    },
    dims={"x": ("batch", 3, 4), "shift": ("batch", 1, 1)},
    symprop=lambda v: prop.mean(prop.square(prop.tanh(v.x * v.row + v.bias) + v.shift * v.x)),
    torch=lambda torch, v: torch.mean(
        torch.square(torch.tanh(v.x * v.row + v.bias) + v.shift * v.x)
    ),
)

case(
    "broadcast_to",
    data=lambda r: {"x": normal(r, 3), "y": normal(r, 2, 1)},
    symprop=lambda v: probe(
        prop.exp(prop.broadcast_to(v.x, (2, 3))) * prop.broadcast_to(v.y, (2, 3))
    ),
    torch=lambda torch, v: torch_probe(
        torch, torch.exp(torch.broadcast_to(v.x, (2, 3))) * torch.broadcast_to(v.y, (2, 3))
    ),
)

case(
    "new_axis",
    data=lambda r: {"x": normal(r, 4), "y": normal(r, 3)},
    symprop=lambda v: probe(prop.tanh(v.x[:, None] - v.y[None, :])),
    torch=lambda torch, v: torch_probe(torch, torch.tanh(v.x[:, None] - v.y[None, :])),
)

case(
    "casts",
    data=lambda r: {"x": normal(r, 4, 3), "mask": r.uniform(size=(4, 3)) < 0.5},
    symprop=lambda v: probe(v.x * v.mask.astype("float") + (v.x > 0.2).astype("float") * v.x**2),
    torch=lambda torch, v: torch_probe(
        torch, v.x * v.mask.to(v.x.dtype) + (v.x > 0.2).to(v.x.dtype) * v.x**2
    ),
)
