"""What C is told about the functions of an artifact: a header with a page for each of them.

In: the name of the library, its entries, the target, what each function computes in words. Out:
``header(...)``, the text. Guarantees: C99 and C++; nothing but ``<stddef.h>`` and ``<stdint.h>`` is
included; no name of the user's stands outside of a comment; the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.aligned import ALIGNMENT
from codegen.c_names import c_comment
from codegen.index import Ix, render
from codegen.llvm.artifact_entry import KINDS, Array, Entry
from codegen.llvm.artifact_machine import needed
from codegen.llvm.target import Target
from codegen.program import Dtype

__all__ = ["C_TYPES", "arguments", "header", "shape"]

C_TYPES: dict[Dtype, str] = {
    "bool": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
}
WIDTH = 96  # of a line


def header(name: str, entries: Sequence[Entry], target: Target, docs: Mapping[str, str]) -> str:
    """The header; ``docs`` has a text for the verb of each entry."""
    guard = f"{name.upper()}_H"
    lines = [
        *_introduction(name, entries, target),
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {name.upper()}_KIND(code) ((code) & 255)",
        f"#define {name.upper()}_WHICH(code) ((code) >> 8)",
    ]
    lines += [f"#define {name.upper()}_{k.name} {k.code} /* {k.message} */" for k in KINDS]
    lines += [
        "",
        "/* The sentence for a code. */",
        f"const char *{name}_message(int32_t code);",
    ]
    for e in entries:
        lines += ["", *_entry(e, docs.get(e.verb, ""))]
    lines += ["", "#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */", ""]
    return "\n".join(lines)


def _introduction(name: str, entries: Sequence[Entry], target: Target) -> list[str]:
    """What is true of all functions."""
    return [
        f"/* {name}.h: made by symprop. A change here changes nothing in {name}.o.",
        " *",
        *_wrapped(_machine(name, target)),
        " *",
        *_wrapped(
            "Arrays are row-major and without gaps, aligned to their elements, and do not overlap. "
            "The functions allocate nothing, keep nothing between calls and use no other "
            "library: threads may call them at the same time on arrays and memory of their own. "
            f"Memory is {ALIGNMENT}-byte aligned; what it holds before and after a call is of no "
            "meaning, so one piece serves all functions in turn."
        ),
        " *",
        *_wrapped(
            "All functions check their arguments before they write anything. They return 0, or a "
            f"code: {name.upper()}_KIND of it is one of the kinds below, {name.upper()}_WHICH the "
            "number of the array or size, counted from 1, or 0. Inputs are not looked at but for "
            "integers that are declared to lie in a range."
        ),
        " *",
        *_wrapped(
            "weights.safetensors has the parameters and states: 8 bytes, little-endian, the length "
            "of the JSON that follows; the JSON, where the data_offsets of an array count from the "
            "JSON's end; the arrays."
        ),
        *_example(entries[0]),
        " */",
    ]


def _example(e: Entry) -> list[str]:
    """How a function is called."""
    sizes = "".join(f"{s.field}, " for s in e.sizes)
    given = sizes.removesuffix(", ")
    return [
        " *",
        f" *     size_t bytes = {e.symbol}_memory({given});",
        f" *     void *memory = aligned_alloc({ALIGNMENT}, bytes);",
        f" *     {e.symbol}_arrays arrays = {{ .{e.arrays[0].field} = ..., ... }};",
        f" *     int32_t code = {e.symbol}({sizes}&arrays, memory, bytes);",
    ]


def _machine(name: str, target: Target) -> str:
    kind = target.triple.split("-")[0]
    features = needed(target)
    needs = f" with {', '.join(features)}" if features else ""
    return (
        f"{name}.o is for Linux on {kind}{needs} (LLVM's processor {target.cpu}). On a processor "
        "that lacks some of this a call ends the program with an illegal instruction."
    )


def _entry(e: Entry, doc: str) -> list[str]:
    lines = ["/* ------------------------------------------------------------------------"]
    lines += [f" * {c_comment(line)}".rstrip() for line in doc.strip().splitlines()]
    if e.sizes:
        lines += [" *", " * sizes"]
        for n, s in enumerate(e.sizes, start=1):
            lines.append(f" * {n:3}  {s.field}: {c_comment(s.name, 80)}, {s.low} to {s.high}")
    lines += [" */", f"typedef struct {e.symbol}_arrays {{"]
    fields = [(_declared(a), n, a) for n, a in enumerate(e.arrays, start=1)]
    wide = max((len(text) for text, _, _ in fields), default=0)
    lines += [f"    {text:<{wide}} /* {n:3}  {_told(a)} */" for text, n, a in fields]
    sizes = arguments(e)
    lines += [
        f"}} {e.symbol}_arrays;",
        "",
        f"/* The bytes of memory that {e.symbol} needs; 0 for a size that is out of bounds. */",
        f"size_t {e.symbol}_memory({sizes or 'void'});",
        "",
        f"int32_t {e.symbol}({sizes + ', ' if sizes else ''}const {e.symbol}_arrays *arrays,",
        f"{' ' * (len(e.symbol) + 9)}void *memory, size_t bytes);",
    ]
    return lines


def arguments(e: Entry) -> str:
    """The sizes as parameters of C."""
    return ", ".join(f"int64_t {s.field}" for s in e.sizes)


def _declared(a: Array) -> str:
    constant = "" if a.written else "const "
    return f"{constant}{C_TYPES[a.dtype]} *{a.field};"


def _told(a: Array) -> str:
    parts = [f"{c_comment(a.name, 120)} {shape(a)}", _role(a)]
    if a.low is not None and a.high is not None:
        parts.append(f"{_sum(a.low)} to {_sum(a.high)}")
    if a.dtype == "bool":
        parts.append("0 or 1")
    return c_comment(", ".join(parts), 300)


def _role(a: Array) -> str:
    return f"{a.role}, changed" if a.written and a.role != "output" else a.role


def shape(a: Array) -> str:
    """``(batch, pixel=64)``."""
    sizes = []
    for axis, d in zip(a.axes or ("",) * len(a.dims), a.dims, strict=True):
        text = _sum(d)
        sizes.append(text if not axis or axis == text else f"{axis}={text}")
    return f"({', '.join(sizes)})"


def _sum(ix: Ix) -> str:
    return render(ix, repr)


def _wrapped(text: str) -> list[str]:
    """A paragraph of a comment."""
    lines, line = [], " *"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = " *"
        line += f" {word}"
    return [*lines, line]
