"""Who is timed: symprop's machine code and its peers, a row each.

In: nothing. Out: `SYSTEMS`, `missing`, `peers`.

    kind    native  machine code: `run` loops in it, `step` is called from Python; for any batch
                    size, or made for one
            text    symprop's other backends
            step    another system, called once a step
            loop    another system that loops over steps by itself

Guarantees: a peer is imported when it is timed, never before; whether it is installed is read
without importing it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from symprop.bench import jax_peer, own, pytensor_peer, torch_peer
from symprop.bench.workloads import Case
from symprop.errors import DeclarationError, install, listed, quoted

__all__ = ["OURS", "PEERS", "SYSTEMS", "Runner", "System", "missing", "peers"]


class Runner(Protocol):
    """A training that is ready to make steps."""

    def advance(self, n: int) -> float:
        """Makes n steps and waits for them; the loss of the last one, before its update."""


@dataclass(frozen=True)
class System:
    """A row: what it needs, how it is imported and built; whether it compiles inside the first step
    (else before it), and whether it keeps machine code for the next process."""

    name: str
    title: str
    kind: str
    packages: tuple[str, ...]
    load: Callable[[], None]
    build: Callable[[Case], Runner]
    compiles_in_step: bool = False
    keeps: bool = False


_NATIVE, _TORCH, _JAX, _PYTENSOR = (
    ("llvmlite",),
    ("torch",),
    ("jax", "jaxlib"),
    ("pytensor", "numba"),
)

SYSTEMS: dict[str, System] = {
    s.name: s
    for s in (
        System(
            "native-run", "native run(n)", "native", _NATIVE, own.load_native, own.native_run,
            keeps=True,
        ),
        System(
            "native-step", "native step()", "native", _NATIVE, own.load_native, own.native_step
        ),
        System(
            "native-fixed", "native run(n), fixed batch", "native", _NATIVE, own.load_native,
            own.native_fixed,
        ),
        System("numpy", "NumPy text", "text", ("numpy",), own.load, own.numpy),
        System(
            "numba", "Numba text", "text", ("numba",), own.load, own.numba, compiles_in_step=True
        ),
        System("torch", "torch", "step", _TORCH, torch_peer.load, torch_peer.eager),
        System(
            "torch-compile", "torch.compile", "step", _TORCH, torch_peer.load, torch_peer.compiled,
            compiles_in_step=True, keeps=True,
        ),
        System("jax", "JAX jit", "step", _JAX, jax_peer.load, jax_peer.stepped),
        System("jax-loop", "JAX loop in jit", "loop", _JAX, jax_peer.load, jax_peer.looped),
        System(
            "pytensor", "PyTensor (Numba)", "step", _PYTENSOR, pytensor_peer.load,
            pytensor_peer.stepped, compiles_in_step=True, keeps=True,
        ),
    )
}  # fmt: skip

OURS = tuple(s.name for s in SYSTEMS.values() if s.kind == "native")
PEERS = tuple(s.name for s in SYSTEMS.values() if s.kind != "native")


def missing(system: System) -> str | None:
    """The command that gets what a system needs, or None where it is installed."""
    lacking = [p for p in system.packages if find_spec(p) is None]
    return install(" ".join(lacking)) if lacking else None


def peers(words: str | None) -> tuple[str, ...]:
    """The peers of a list such as "numpy,torch"; "none" for none; all where nothing is said.

    Raises DeclarationError for a name that no peer has.
    """
    if words is None:
        return PEERS
    names = [word.strip() for word in words.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in PEERS:
            raise DeclarationError(
                f"there is no peer {quoted(name)}: choose among {listed(PEERS)}, separated by "
                'commas, or "none"'
            )
    return tuple(name for name in PEERS if name in names)
