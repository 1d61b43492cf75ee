"""symprop: declare a network as expressions, derive its gradients, read them, ship them.

shapes, declarations        what a user writes: names and dims; inputs, labels, parameters
expression, ops, layers     values, functions, layers
graph, make, solver, term   GRAPH: one kind of value, canonical at construction
gradient                    the one derivative rule, reverse and forward
simplify                    rules as data under a cost gate
lower, pipeline             GRAPH to PROGRAM (codegen.program), the pass list, compile
training, trainer, cli      the step, its loop over data, the command line
export, artifact            the step as a library for C, and that library run again
explain                     the mathematics of a network on one page
oracle                      what everything is tested against
"""

from __future__ import annotations

import codegen as _codegen

if getattr(_codegen, "CONTRACT", None) != "symprop.codegen":
    raise ImportError(
        "symprop needs its own package 'codegen', but another one of that name comes first on the "
        f"path ({getattr(_codegen, '__file__', 'unknown')}): remove or rename it"
    )

from codegen.index import dim as Dim  # noqa: N812
from symprop.artifact import Artifact, load
from symprop.callbacks import Callback, Checkpoint, CSVLogger, EarlyStopping
from symprop.checks import Check, check, find_nan
from symprop.clipping import ClipGlobalNorm, ClipNorm, ClipValue
from symprop.declarations import (
    constant,
    index,
    indices,
    input,
    labels,
    parameter,
    scalar,
    size,
    state,
)
from symprop.derivation import derivation
from symprop.diagnose import Diagnosis, diagnose
from symprop.equality import Same, same
from symprop.errors import (
    DataError,
    DeclarationError,
    ShapeError,
    SympropError,
    UnsupportedError,
    VerificationError,
)
from symprop.explain import explain
from symprop.expression import Expr
from symprop.function import Function, compile
from symprop.gradient import gradient, jvp, vjp
from symprop.history import History
from symprop.initialize import (
    Constant,
    Glorot,
    He,
    Initializer,
    LeCun,
    Orthogonal,
    Zeros,
    initial_values,
)
from symprop.layers import Dense, Sequential
from symprop.ops.activations import (
    celu,
    hard_shrink,
    hard_sigmoid,
    hard_swish,
    hard_tanh,
    mish,
    selu,
    soft_shrink,
    softsign,
    threshold,
)
from symprop.ops.composite import (
    attention,
    avg_pool2d,
    batch_norm,
    conv2d,
    glu,
    layer_norm,
    log_softmax,
    logsumexp,
    max_pool2d,
    rms_norm,
    softmax,
    swiglu,
)
from symprop.ops.control import region, scan, stop_gradient, update
from symprop.ops.declare import define as elementwise
from symprop.ops.elementwise import (
    abs,
    clip,
    cos,
    elu,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    gelu,
    gelu_tanh,
    leaky_relu,
    log,
    log1p,
    log_sigmoid,
    maximum,
    minimum,
    normal_cdf,
    normal_pdf,
    relu,
    sech2,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    sqrt,
    square,
    tanh,
)
from symprop.ops.indexing import concat, embedding, flip, pad, stack, take
from symprop.ops.losses import binary_cross_entropy, cross_entropy, huber, mae, mse
from symprop.ops.norms import cosine_similarity, norm, std, var
from symprop.ops.powers import (
    cbrt,
    exp2,
    hypot,
    log2,
    logaddexp,
    logit,
    reciprocal,
    rsqrt,
    xlog1py,
    xlogy,
)
from symprop.ops.rounding import ceil, mod, round
from symprop.ops.structural import (
    argmax,
    argmin,
    broadcast_to,
    cumprod,
    cumsum,
    einsum,
    logcumsumexp,
    max,
    mean,
    min,
    power,
    prod,
    reshape,
    sum,
    transpose,
    where,
)
from symprop.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from symprop.training import Trainer, TrainingStep, training_step

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Artifact",
    "CSVLogger",
    "Callback",
    "Check",
    "Checkpoint",
    "ClipGlobalNorm",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "DataError",
    "DeclarationError",
    "Dense",
    "Diagnosis",
    "Dim",
    "EarlyStopping",
    "Expr",
    "Function",
    "Glorot",
    "He",
    "History",
    "Initializer",
    "LeCun",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "Orthogonal",
    "RMSProp",
    "Same",
    "Sequential",
    "ShapeError",
    "SympropError",
    "Trainer",
    "TrainingStep",
    "UnsupportedError",
    "VerificationError",
    "Zeros",
    "abs",
    "argmax",
    "argmin",
    "attention",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "broadcast_to",
    "cbrt",
    "ceil",
    "celu",
    "check",
    "clip",
    "compile",
    "concat",
    "constant",
    "conv2d",
    "cos",
    "cosine_similarity",
    "cross_entropy",
    "cumprod",
    "cumsum",
    "derivation",
    "diagnose",
    "einsum",
    "elementwise",
    "elu",
    "embedding",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "explain",
    "expm1",
    "find_nan",
    "flip",
    "floor",
    "gelu",
    "gelu_tanh",
    "glu",
    "gradient",
    "hard_shrink",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "huber",
    "hypot",
    "index",
    "indices",
    "initial_values",
    "input",
    "jvp",
    "labels",
    "layer_norm",
    "leaky_relu",
    "load",
    "log",
    "log1p",
    "log2",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logcumsumexp",
    "logit",
    "logsumexp",
    "mae",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "mod",
    "mse",
    "norm",
    "normal_cdf",
    "normal_pdf",
    "pad",
    "parameter",
    "power",
    "prod",
    "reciprocal",
    "region",
    "relu",
    "reshape",
    "rms_norm",
    "round",
    "rsqrt",
    "same",
    "scalar",
    "scan",
    "sech2",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "size",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "stack",
    "state",
    "std",
    "stop_gradient",
    "sum",
    "swiglu",
    "take",
    "tanh",
    "threshold",
    "training_step",
    "transpose",
    "update",
    "var",
    "vjp",
    "where",
    "xlog1py",
    "xlogy",
]
