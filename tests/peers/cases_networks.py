"""Cases: dense networks with every activation, losses, physics losses, regions.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, integers, normal

ACTIVATIONS = (
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "gelu_tanh",
    "softplus",
    "silu",
)


def torch_activation(torch: Any, name: str) -> Any:
    """torch's function of that name, with torch's own defaults."""
    if name == "gelu_tanh":
        return lambda x: torch.nn.functional.gelu(x, approximate="tanh")
    return getattr(torch.nn.functional, name)


def symprop_activation(name: str) -> Any:
    """symprop's function of that name."""
    return getattr(prop, name)


# --- Two-layer networks with softmax cross entropy, the batch a symbolic dimension --------------


def classifier_data(rng: np.random.Generator) -> Arrays:
    return {
        "x": normal(rng, 4, 5),
        "hidden.weight": normal(rng, 6, 5, scale=0.7),
        "hidden.bias": normal(rng, 6, scale=0.3),
        "logits.weight": normal(rng, 3, 6, scale=0.7),
        "logits.bias": normal(rng, 3, scale=0.3),
        "y": integers(rng, 3, 4),
    }


def classifier(activation: str) -> Any:
    def model(v: Leaves) -> Any:
        hidden = v.x @ v["hidden.weight"].T + v["hidden.bias"]
        hidden = symprop_activation(activation)(hidden)
        return prop.cross_entropy(hidden @ v["logits.weight"].T + v["logits.bias"], v.y)

    return model


def torch_classifier(activation: str) -> Any:
    def model(torch: Any, v: Leaves) -> Any:
        linear = torch.nn.functional.linear
        hidden = linear(v.x, v["hidden.weight"], v["hidden.bias"])
        hidden = torch_activation(torch, activation)(hidden)
        logits = linear(hidden, v["logits.weight"], v["logits.bias"])
        return torch.nn.functional.cross_entropy(logits, v.y)

    return model


for _name in ACTIVATIONS:
    case(
        f"mlp_{_name}",
        data=classifier_data,
        dims={"x": "batch pixel=5", "y": "batch"},
        classes={"y": 3},
        symprop=classifier(_name),
        torch=torch_classifier(_name),
    )


# --- Three-layer regression, mean squared error ------------------------------------------------


def regression_data(rng: np.random.Generator) -> Arrays:
    return {
        "x": normal(rng, 5, 3),
        "one.weight": normal(rng, 4, 3, scale=0.8),
        "one.bias": normal(rng, 4, scale=0.3),
        "two.weight": normal(rng, 4, 4, scale=0.8),
        "two.bias": normal(rng, 4, scale=0.3),
        "out.weight": normal(rng, 2, 4, scale=0.8),
        "out.bias": normal(rng, 2, scale=0.3),
        "target": normal(rng, 5, 2),
    }


def regression(activation: str) -> Any:
    def model(v: Leaves) -> Any:
        act = symprop_activation(activation)
        hidden = act(v.x @ v["one.weight"].T + v["one.bias"])
        hidden = act(hidden @ v["two.weight"].T + v["two.bias"])
        return prop.mse(hidden @ v["out.weight"].T + v["out.bias"], v.target)

    return model


def torch_regression(activation: str) -> Any:
    def model(torch: Any, v: Leaves) -> Any:
        linear, act = torch.nn.functional.linear, torch_activation(torch, activation)
        hidden = act(linear(v.x, v["one.weight"], v["one.bias"]))
        hidden = act(linear(hidden, v["two.weight"], v["two.bias"]))
        return torch.nn.functional.mse_loss(
            linear(hidden, v["out.weight"], v["out.bias"]), v.target
        )

    return model


for _name in ("tanh", "gelu_tanh", "relu", "elu"):
    case(
        f"regression_{_name}",
        data=regression_data,
        dims={"x": ("batch", 3), "target": ("batch", 2)},
        symprop=regression(_name),
        torch=torch_regression(_name),
    )


# --- A user's own activation -------------------------------------------------------------------


def mish_by_hand(v: Leaves) -> Any:
    mish = prop.elementwise("mish", lambda x: x * prop.tanh(prop.softplus(x)))
    return prop.mse(mish(v.x @ v.w) @ v.u, v.target)


def torch_mish(torch: Any, v: Leaves) -> Any:
    hidden = torch.nn.functional.mish(v.x @ v.w)
    return torch.nn.functional.mse_loss(hidden @ v.u, v.target)


case(
    "user_elementwise_mish",
    data=lambda r: {
        "x": normal(r, 4, 3),
        "w": normal(r, 3, 5),
        "u": normal(r, 5, 2),
        "target": normal(r, 4, 2),
    },
    symprop=mish_by_hand,
    torch=torch_mish,
)

# --- Losses ------------------------------------------------------------------------------------

case(
    "softmax_cross_entropy",
    data=lambda r: {"z": normal(r, 6, 5, scale=2.0), "y": integers(r, 5, 6)},
    dims={"z": ("batch", 5), "y": "batch"},
    classes={"y": 5},
    symprop=lambda v: prop.cross_entropy(v.z, v.y),
    torch=lambda torch, v: torch.nn.functional.cross_entropy(v.z, v.y),
)

case(
    "sequence_cross_entropy",
    data=lambda r: {"z": normal(r, 2, 3, 4), "y": integers(r, 4, 2, 3)},
    classes={"y": 4},
    symprop=lambda v: prop.cross_entropy(v.z, v.y),
    torch=lambda torch, v: torch.nn.functional.cross_entropy(v.z.reshape(-1, 4), v.y.reshape(-1)),
)

case(
    "binary_cross_entropy_with_logits",
    data=lambda r: {
        "x": normal(r, 6, 3),
        "w": normal(r, 3),
        "target": r.integers(0, 2, size=6).astype(np.float64),
    },
    fixed=("target",),
    symprop=lambda v: prop.mean(prop.softplus(v.x @ v.w) - v.target * (v.x @ v.w)),
    torch=lambda torch, v: torch.nn.functional.binary_cross_entropy_with_logits(
        v.x @ v.w, v.target
    ),
)

WEIGHTS = (0.5, 2.0, 1.0, 0.0, 1.5)


def loss_of_classes(name: str, ours: Any, theirs: Any) -> None:
    case(
        name,
        data=lambda r: {"z": normal(r, 6, 5, scale=2.0), "y": integers(r, 5, 6)},
        dims={"z": ("batch", 5), "y": "batch"},
        classes={"y": 5},
        symprop=lambda v: ours(v.z, v.y),
        torch=lambda torch, v: theirs(torch, v.z, v.y),
    )


loss_of_classes(
    "smoothed_weighted_cross_entropy",
    lambda z, y: prop.cross_entropy(z, y, 0.1, WEIGHTS),
    lambda torch, z, y: torch.nn.functional.cross_entropy(
        z, y, weight=torch.tensor(WEIGHTS, dtype=z.dtype), label_smoothing=0.1
    ),
)
loss_of_classes(
    "multi_margin",
    lambda z, y: prop.hinge_loss(z, y, 1.5),
    lambda torch, z, y: margin_in_torch(torch, z, y),
)
loss_of_classes(
    "focal",
    lambda z, y: prop.focal_loss(z, y, 2),
    lambda torch, z, y: focal_in_torch(torch, torch.nn.functional.cross_entropy, z, y),
)


def margin_in_torch(torch: Any, z: Any, y: Any) -> Any:
    """torch's multi_margin_loss, which has no second derivative, written out."""
    others = torch.nn.functional.one_hot(y, z.shape[-1]) == 0
    lacking = torch.relu(1.5 - z.gather(1, y[:, None]) + z)
    loss = (lacking * others).sum(-1).mean() / z.shape[-1]
    assert torch.allclose(loss, torch.nn.functional.multi_margin_loss(z, y, margin=1.5))
    return loss


def focal_in_torch(torch: Any, entropy: Any, z: Any, y: Any) -> Any:
    own = entropy(z, y, reduction="none")
    return ((1 - torch.exp(-own)) ** 2 * own).mean()


case(
    "kl_divergence",
    data=lambda r: {"z": normal(r, 6, 5), "t": r.dirichlet(np.ones(5), size=6)},
    fixed=("t",),
    symprop=lambda v: prop.kl_divergence(v.z, v.t),
    torch=lambda torch, v: torch.nn.functional.kl_div(
        torch.log_softmax(v.z, -1), v.t, reduction="batchmean"
    ),
)

case(
    "poisson",
    data=lambda r: {"z": normal(r, 6, 5), "t": r.poisson(2.0, size=(6, 5)).astype(np.float64)},
    fixed=("t",),
    symprop=lambda v: prop.poisson_loss(v.z, v.t),
    torch=lambda torch, v: torch.nn.functional.poisson_nll_loss(v.z, v.t),
)

case(
    "cosine_loss",
    data=lambda r: {"a": normal(r, 6, 5), "b": normal(r, 6, 5)},
    symprop=lambda v: prop.cosine_loss(v.a, v.b),
    torch=lambda torch, v: (1 - torch.nn.functional.cosine_similarity(v.a, v.b, -1)).mean(),
)

case(
    "info_nce",
    data=lambda r: {"a": normal(r, 6, 5), "b": normal(r, 6, 5)},
    symprop=lambda v: prop.info_nce(v.a, v.b, 0.5),
    torch=lambda torch, v: torch.nn.functional.cross_entropy(
        torch.nn.functional.normalize(v.a) @ torch.nn.functional.normalize(v.b).T / 0.5,
        torch.arange(len(v.a)),
    ),
)

case(
    "weight_decay",
    data=lambda r: {"x": normal(r, 4, 3), "w": normal(r, 2, 3), "target": normal(r, 4, 2)},
    symprop=lambda v: prop.mse(v.x @ v.w.T, v.target) + 0.01 * (v.w**2).sum(),
    torch=lambda torch, v: (
        torch.nn.functional.mse_loss(v.x @ v.w.T, v.target) + 0.01 * (v.w**2).sum()
    ),
)

# --- Derivatives with respect to inputs inside a loss ---------------------------------------------

NU = 0.1


def network_data(rng: np.random.Generator) -> Arrays:
    return {
        "t": normal(rng, 4, 1),
        "x": normal(rng, 4, 1),
        "one.weight": normal(rng, 5, 2),
        "one.bias": normal(rng, 5, scale=0.5),
        "two.weight": normal(rng, 4, 5, scale=0.6),
        "two.bias": normal(rng, 4, scale=0.5),
        "out.weight": normal(rng, 1, 4),
    }


def burgers(v: Leaves) -> Any:
    joined = prop.concat([v.t, v.x], axis=1)
    hidden = prop.tanh(joined @ v["one.weight"].T + v["one.bias"])
    hidden = prop.tanh(hidden @ v["two.weight"].T + v["two.bias"])
    u = hidden @ v["out.weight"].T
    u_t, u_x = prop.gradient(u.sum(), [v.t, v.x])
    u_xx = prop.gradient(u_x.sum(), v.x)
    return prop.mean(prop.square(u_t + u * u_x - NU * u_xx))


def torch_burgers(torch: Any, v: Leaves) -> Any:
    linear = torch.nn.functional.linear
    hidden = torch.tanh(linear(torch.cat([v.t, v.x], 1), v["one.weight"], v["one.bias"]))
    hidden = torch.tanh(linear(hidden, v["two.weight"], v["two.bias"]))
    u = linear(hidden, v["out.weight"])
    u_t, u_x = torch.autograd.grad(u.sum(), [v.t, v.x], create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), v.x, create_graph=True)
    return torch.mean(torch.square(u_t + u * u_x - NU * u_xx))


case(
    "pinn_burgers",
    data=network_data,
    dims={"t": ("point", 1), "x": ("point", 1)},
    symprop=burgers,
    torch=torch_burgers,
)


def hamiltonian(v: Leaves) -> Any:
    energy = (prop.tanh(v.state @ v.w.T + v.b) @ v.u).sum()
    slope = prop.gradient(energy, v.state)
    flow = prop.concat([slope[:, 2:], -slope[:, :2]], axis=1)
    return prop.mse(flow, v.rate)


def torch_hamiltonian(torch: Any, v: Leaves) -> Any:
    energy = (torch.tanh(v.state @ v.w.T + v.b) @ v.u).sum()
    (slope,) = torch.autograd.grad(energy, v.state, create_graph=True)
    flow = torch.cat([slope[:, 2:], -slope[:, :2]], 1)
    return torch.nn.functional.mse_loss(flow, v.rate)


case(
    "hamiltonian_network",
    data=lambda r: {
        "state": normal(r, 3, 4),
        "w": normal(r, 5, 4),
        "b": normal(r, 5),
        "u": normal(r, 5),
        "rate": normal(r, 3, 4),
    },
    symprop=hamiltonian,
    torch=torch_hamiltonian,
)

# --- Dropout as a given mask, and a value held constant -----------------------------------------

case(
    "dropout_mask",
    data=lambda r: {
        "x": normal(r, 4, 5),
        "w": normal(r, 6, 5),
        "u": normal(r, 2, 6),
        "mask": (r.uniform(size=(4, 6)) < 0.75) / 0.75,
        "target": normal(r, 4, 2),
    },
    fixed=("mask",),
    symprop=lambda v: prop.mse((prop.silu(v.x @ v.w.T) * v.mask) @ v.u.T, v.target),
    torch=lambda torch, v: torch.nn.functional.mse_loss(
        (torch.nn.functional.silu(v.x @ v.w.T) * v.mask) @ v.u.T, v.target
    ),
)

# A stopped value is a constant at every order, so the product differs from differences of the
# gradient, which move that value: it is left out of the check like a kink.
case(
    "stop_gradient",
    data=lambda r: {"x": normal(r, 4, 3), "w": normal(r, 3, 3)},
    kinked=("x", "w"),
    symprop=lambda v: prop.mse(prop.tanh(v.x @ v.w), prop.stop_gradient(prop.sin(v.x @ v.w))),
    torch=lambda torch, v: torch.nn.functional.mse_loss(
        torch.tanh(v.x @ v.w), torch.sin(v.x @ v.w).detach()
    ),
)
