"""Names, dims and dtypes: what may be written, and what it means.

    dims := "batch pixel=64" | "batch 64" | ("batch", 64) | 64 | ()   -- a bare word: a free size

In: what a user wrote. Out: checked names, sizes with axis names, dtypes.

Guarantees: a name is ASCII identifiers joined by dots, so that what reaches generated code and
comments is ours; whatever else is refused with one sentence.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from codegen.index import Dim, Ix, as_ix, dim
from symprop.errors import DeclarationError, quoted

DTYPES = ("float", "float32", "float64", "int32", "int64", "bool")
_RANK = {d: k for k, d in enumerate(("bool", "int32", "int64", "float", "float32", "float64"))}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_NAME = 200


def check_name(name: object, what: str) -> str:
    """A name of identifiers joined by dots, or a DeclarationError."""
    if not isinstance(name, str):
        raise DeclarationError(f"the name of {what} must be text, but is {quoted(name)}")
    parts = name.split(".")
    legal = len(name) <= MAX_NAME and name.isascii() and all(_WORD.fullmatch(p) for p in parts[:1])
    legal = legal and all(re.fullmatch(r"[A-Za-z0-9_]+", p) for p in parts)
    if not legal:
        raise DeclarationError(
            f"{quoted(name)} cannot name {what}: use ASCII letters, digits and _, not starting "
            f'with a digit, at most {MAX_NAME} characters, dots between parts ("hidden.weight")'
        )
    if any(keyword.iskeyword(p) for p in parts) or name.startswith("__"):
        raise DeclarationError(
            f"{quoted(name)} cannot name {what}: it is a word of Python; add an underscore"
        )
    return name


def public_dim(d: Ix) -> Any:
    """An int, a Dim, or the combination itself."""
    if d.value is not None:
        return d.value
    return d.atom if isinstance(d.atom, Dim) else d


def parse_dims(dims: Any, what: str) -> tuple[tuple[Ix, ...], tuple[str, ...]]:
    """Sizes and axis names from "batch pixel=64", a tuple, or an int."""
    parts = dims.split() if isinstance(dims, str) else dims
    if isinstance(parts, int | np.integer | Dim | Ix) and not isinstance(parts, bool):
        parts = (parts,)
    if not isinstance(parts, Sequence):
        raise DeclarationError(
            f"the dims of {what} must be a string such as 'batch pixel=64', a tuple or an int, "
            f"but are {quoted(dims)}"
        )
    sizes, axes = [], []
    for part in parts:
        size, axis = _parse_dim(part, what)
        sizes.append(size)
        axes.append(axis)
    first = {a: s for a, s in reversed(list(zip(axes, sizes, strict=True))) if a}
    if any(a and first[a] is not s for a, s in zip(axes, sizes, strict=True)):
        twice = next(a for a, s in zip(axes, sizes, strict=True) if a and first[a] is not s)
        raise DeclarationError(
            f"{what} gives the dimension {quoted(twice)} two sizes: name each once"
        )
    return tuple(sizes), tuple(axes)


def _parse_dim(part: Any, what: str) -> tuple[Ix, str]:
    if isinstance(part, Dim):
        return part.ix(), part.name
    if isinstance(part, Ix):
        return part, ""
    name, size = "", part
    if isinstance(part, str) and part.isascii() and part.isdigit() and len(part) <= 12:
        size = int(part)
    elif isinstance(part, str):
        name, _, text = part.partition("=")
        if not _WORD.fullmatch(name) or keyword.iskeyword(name) or len(name) > MAX_NAME:
            raise DeclarationError(
                f"{quoted(part)} is not a dimension of {what}: write a word (batch) for a free "
                "size or word=number (pixel=64) for a fixed one"
            )
        if not text and "=" not in part:
            return dim(name).ix(), name
        if not (text.isascii() and text.isdigit()) or len(text) > 12:
            raise DeclarationError(
                f"the size in {quoted(part)}, a dimension of {what}, must be a whole number"
            )
        size = int(text)
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise DeclarationError(
            f"a dimension of {what} must be a positive whole number or a name, but is "
            f"{quoted(part)}"
        )
    return as_ix(int(size)), name


def check_dtype(dtype: str, what: str) -> str:
    """One of the dtypes, or a DeclarationError."""
    if dtype not in DTYPES:
        raise DeclarationError(
            f"the dtype of {what} must be one of {', '.join(DTYPES)}, but is {quoted(dtype)}"
        )
    return dtype


def promote(*dtypes: str) -> str:
    """The array API's promotion; bool or int with float takes the float's dtype."""
    return max(dtypes, key=_RANK.__getitem__)
