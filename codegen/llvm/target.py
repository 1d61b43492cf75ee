"""What the emitter has to know of a machine: its vectors, its registers, what it can do at once.

In: nothing (the shipped targets), or the machine this runs on (``host``). Out: a ``Target``.

    x86-64 sse2      16-byte vectors, 16 registers, neither FMA nor rounding: any 64-bit PC
    x86-64 avx2      32-byte vectors, 16 registers, FMA                     : from 2013 (Haswell)
    x86-64 avx512    64-byte vectors, 32 registers, FMA, masks              : servers from 2017
    aarch64 neon     16-byte vectors, 32 registers, FMA                     : any 64-bit ARM

Guarantees: immutable; only ``host`` needs llvmlite. It knows nothing of speed: costs are elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AARCH64_NEON",
    "SHIPPED",
    "X86_64_AVX2",
    "X86_64_AVX512",
    "X86_64_SSE2",
    "Target",
    "host",
]

_LINUX_X86, _LINUX_ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"


@dataclass(frozen=True, slots=True)
class Target:
    """A machine: LLVM's triple, CPU name and feature list (``"+avx2,+fma"``), the bytes of one of
    its vectors, how many vector registers it has, and whether it has instructions for a fused
    multiply-add, for rounding to an integer, for masked loads and stores, and for reciprocals of
    float32 to 14 bits."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool
    rounding: bool = True
    masks: bool = False
    estimates: bool = False

    def lanes(self, width: int) -> int:
        """How many numbers of ``width`` bits a vector holds."""
        return 8 * self.vector_bytes // width


X86_64_SSE2 = Target(_LINUX_X86, "x86-64", "", 16, 16, fma=False, rounding=False)
X86_64_AVX2 = Target(_LINUX_X86, "x86-64-v3", "", 32, 16, fma=True)
X86_64_AVX512 = Target(_LINUX_X86, "x86-64-v4", "", 64, 32, fma=True, masks=True, estimates=True)
AARCH64_NEON = Target(_LINUX_ARM, "generic", "+neon", 16, 32, fma=True)

SHIPPED: dict[str, Target] = {
    "x86-64 sse2": X86_64_SSE2,
    "x86-64 avx2": X86_64_AVX2,
    "x86-64 avx512": X86_64_AVX512,
    "aarch64 neon": AARCH64_NEON,
}


def host() -> Target:
    """The machine this runs on, with all that it has.

    Raises ModuleNotFoundError where llvmlite is not installed, and NotImplementedError on a
    machine that is neither x86-64 nor 64-bit ARM.
    """
    import llvmlite.binding as llvm

    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    found = llvm.get_host_cpu_features()
    features = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(found.items()))
    kind = triple.split("-")[0]
    if kind in ("aarch64", "arm64"):
        return Target(triple, cpu, features, 16, 32, fma=True)
    if kind not in ("x86_64", "amd64"):
        raise NotImplementedError(
            f"the native backend has no target for {kind}: use x86-64 or 64-bit ARM, or the numpy "
            f"or numba backend"
        )
    if all(found.get(f) for f in ("avx512f", "avx512vl", "avx512dq", "avx512bw")):
        return Target(triple, cpu, features, 64, 32, fma=True, masks=True, estimates=True)
    if found.get("avx2") and found.get("fma"):
        return Target(triple, cpu, features, 32, 16, fma=True)
    fma, rounding = bool(found.get("fma")), bool(found.get("sse4.1"))
    return Target(triple, cpu, features, 16, 16, fma=fma, rounding=rounding)
