"""A program in C that calls the functions of an artifact and compares with recorded values.

In: the name of the library, its entries, ``Recorded``: arrays to start from, sizes, and what came
out of each call. Out: ``selftest(...)``, the text of ``selftest.c``.

    start       every array that the functions read, by the user's name. An array of more than
                ``PERIOD`` elements is recorded by its first ones, which are repeated: ``repeated``
                is that array, to be used where the values are recorded
    calls       a verb and its outputs; all calls of one verb come before those of the next

Guarantees: C11; it needs the standard library and the object, no other, and no folder. It returns 0
and says "passed", or returns 1 and says what differs. Each array is a piece of the heap of exactly
its size, so that a memory checker sees what lies beside it touched. No name of the user's is in it
but in comments. Raises ValueError for values that are not finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.aligned import ALIGNMENT
from codegen.c_names import CNames, c_comment
from codegen.llvm.artifact_entry import MEMORY, NULL, SIZE, Entry
from codegen.llvm.artifact_header import C_TYPES

__all__ = ["PERIOD", "Recorded", "repeated", "selftest"]

PERIOD = 4099  # a prime: no row of a matrix repeats the one before it
WIDTH = 100  # of a line of numbers

NumPyArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Recorded:
    """What the self-test knows; an element may differ by ``tolerance`` times the largest one of its
    array, integers not at all."""

    sizes: Mapping[str, int]
    start: Mapping[str, NumPyArray]
    calls: Sequence[tuple[str, Mapping[str, NumPyArray]]]
    tolerance: float


def repeated(array: NumPyArray) -> NumPyArray:
    """The array that is used in place of one: itself, or its first elements again and again."""
    if array.size <= PERIOD:
        return np.array(array)
    return np.resize(array.reshape(-1)[:PERIOD], array.shape)


def selftest(name: str, entries: Sequence[Entry], recorded: Recorded) -> str:
    """The text of the program."""
    return _Text(name, entries, recorded).text()


class _Text:
    def __init__(self, name: str, entries: Sequence[Entry], recorded: Recorded) -> None:
        self.name, self.recorded = name, recorded
        self.entries = {e.verb: e for e in entries}
        names = CNames()
        self.variables = {label: f"start_{names(label, 'array')}" for label in recorded.start}
        self.dtypes = dict.fromkeys(
            a.dtype for e in entries for a in e.arrays if a.role == "output"
        )

    def text(self) -> str:
        parts = [self.head(), *self.tables(), *self.helpers()]
        for e in self.used():
            parts += [self.refusals(e), self.call(e)]
        return "\n\n".join([*parts, self.main()]) + "\n"

    def used(self) -> list[Entry]:
        """The functions that are called."""
        return [self.entries[v] for v in dict.fromkeys(verb for verb, _ in self.recorded.calls)]

    def head(self) -> str:
        said = ", ".join(
            f"{self.name}_{v} {n} time{'s' * (n != 1)}" for v, n in self.counted().items()
        )
        sizes = "".join(f", {c_comment(d, 40)} = {n}" for d, n in self.recorded.sizes.items())
        return _HEAD.format(
            said=said + sizes, name=self.name, tolerance=repr(self.recorded.tolerance)
        )

    def counted(self) -> dict[str, int]:
        verbs = [verb for verb, _ in self.recorded.calls]
        return {verb: verbs.count(verb) for verb in dict.fromkeys(verbs)}

    # --- data ------------------------------------------------------------------------------------

    def tables(self) -> list[str]:
        """Arrays to start from, then what is expected of each output, call after call."""
        found = []
        for label, array in self.recorded.start.items():
            flat = array.reshape(-1)[:PERIOD]
            if flat.size and (flat == flat[0]).all():
                flat = flat[:1]
            note = f"/* {c_comment(label, 120)}, {array.size} elements */\n"
            found.append(note + _table(self.variables[label], flat, label))
        for e in self.used():
            for a in e.arrays:
                if a.role == "output":
                    values = [
                        found[a.name] for verb, found in self.recorded.calls if verb == e.verb
                    ]
                    flat = np.concatenate([np.asarray(v).reshape(-1) for v in values])
                    found.append(_table(f"expected_{e.verb}_{a.field}", flat, a.name))
        return found

    # --- functions of the program ----------------------------------------------------------------

    def helpers(self) -> list[str]:
        """Storage, and a comparison for each dtype of an output."""
        outputs = sum(a.role == "output" for e in self.used() for a in e.arrays)
        pieces = len(self.recorded.start) + len(self.used()) + outputs
        storage = _MADE.replace("ALIGNMENT", str(ALIGNMENT)).replace("PIECES", str(pieces))
        return [storage, *(_compared(d) for d in self.dtypes)]

    def refusals(self, e: Entry) -> str:
        """A function that counts the wrong calls that are not refused."""
        sizes = self.sizes(e)
        kinds = {k.name: f"{self.name.upper()}_{k.name}" for k in (NULL, MEMORY, SIZE)}
        first = f"(1 << 8 | {kinds['NULL']})"
        lines = [
            f"static int refused_{e.verb}({e.symbol}_arrays arrays, char *memory, size_t bytes) {{",
            "    int wrong = 0;",
            f"    {e.symbol}_arrays one_less = arrays;",
            f"    wrong += {e.symbol}({sizes}NULL, memory, bytes) != {kinds['NULL']};",
            f"    wrong += {e.symbol}({sizes}&arrays, NULL, bytes) != {kinds['MEMORY']};",
            f"    wrong += {e.symbol}({sizes}&arrays, memory + 1, bytes) != {kinds['MEMORY']};",
            f"    wrong += {e.symbol}({sizes}&arrays, memory, bytes - 1) != {kinds['MEMORY']};",
            f"    one_less.{e.arrays[0].field} = NULL;",
            f"    wrong += {e.symbol}({sizes}&one_less, memory, bytes) != {first};",
        ]
        for n, s in enumerate(e.sizes):
            values = [str(self.recorded.sizes[o.name]) for o in e.sizes]
            values[n] = str(s.low - 1)
            given = ", ".join(values)
            lines.append(
                f"    wrong += {e.symbol}({given}, &arrays, memory, bytes) "
                f"!= ({n + 1} << 8 | {kinds['SIZE']});"
            )
        lines += [
            f'    printf("  wrong calls of {e.symbol} are refused: %s\\n", wrong ? "NO" : "yes");',
            "    return wrong != 0;",
            "}",
        ]
        return "\n".join(lines)

    def sizes(self, e: Entry) -> str:
        """The sizes as first arguments of a call."""
        return "".join(f"{self.recorded.sizes[s.name]}, " for s in e.sizes)

    def call(self, e: Entry) -> str:
        """A function that makes call number ``k`` of one of the library and compares."""
        pad = " " * len(f"static int call_{e.verb}(")
        lines = [
            f"static int call_{e.verb}(int k, {e.symbol}_arrays *arrays, char *memory,",
            f"{pad}size_t bytes) {{",
            f"    const int32_t code = {e.symbol}({self.sizes(e)}arrays, memory, bytes);",
            "    int wrong = 0;",
            f'    printf("  {e.verb} %d\\n", k + 1);',
            "    if (code) {",
            f'        printf("    refused: %d, %s\\n", (int)code, {self.name}_message(code));',
            "        return 1;",
            "    }",
        ]
        for a in e.arrays:
            if a.role == "output":
                n = self.count(e, a.name)
                expected = f"expected_{e.verb}_{a.field} + k * {n}"
                compared = f'differs_{a.dtype}("{a.field}", arrays->{a.field}, {expected}, {n})'
                lines.append(f"    wrong |= {compared};")
        return "\n".join([*lines, "    return wrong;", "}"])

    def main(self) -> str:
        lines = ["int main(void) {", "    int failed = 0, k;"]
        for label, array in self.recorded.start.items():
            start = self.variables[label]
            lines.append(f"    void *own_{start} = OWN({start}, {array.size});")
        for e in self.used():
            sizes = self.sizes(e).removesuffix(", ")
            lines.append(f"    const size_t {e.verb}_bytes = {e.symbol}_memory({sizes});")
            lines.append(f"    char *{e.verb}_memory = made(NULL, 0, {e.verb}_bytes);")
            lines.append(f"    {e.symbol}_arrays {e.verb};")
        for e in self.used():
            lines += self.pointers(e)
        lines.append(f'    printf("{self.name}: self-test, tolerance %g\\n", TOLERANCE);')
        handed = {e.verb: f"{e.verb}_memory, {e.verb}_bytes" for e in self.used()}
        lines += [f"    failed |= refused_{v}({v}, {rest});" for v, rest in handed.items()]
        for verb, count in self.counted().items():
            lines.append(f"    for (k = 0; k < {count}; k++)")
            lines.append(f"        failed |= call_{verb}(k, &{verb}, {handed[verb]});")
        lines += [
            "    while (count_of_pieces)",
            "        free(pieces[--count_of_pieces]);",
            '    puts(failed ? "FAILED" : "passed");',
            "    return failed;",
            "}",
        ]
        return "\n".join(lines)

    def pointers(self, e: Entry) -> list[str]:
        """Points the arrays of a function at storage."""
        lines = []
        for a in e.arrays:
            if a.role == "output":
                size = f"{self.count(e, a.name)} * sizeof *{e.verb}.{a.field}"
                lines.append(f"    {e.verb}.{a.field} = made(NULL, 0, {size});")
            else:
                lines.append(f"    {e.verb}.{a.field} = own_{self.variables[a.name]};")
        return lines

    def count(self, e: Entry, output: str) -> int:
        """The elements of an output."""
        return next(int(f[output].size) for verb, f in self.recorded.calls if verb == e.verb)


_HEAD = """\
/* selftest.c: {said},
 * compared with recorded values.
 *
 *     cc selftest.c {name}.o -o selftest && ./selftest
 *
 * returns 0, or 1 where a float differs by more than the tolerance times the largest element of
 * its array, or an integer at all; made by symprop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "{name}.h"

#define TOLERANCE {tolerance}"""

_MADE = """\
static void *pieces[PIECES];
static int count_of_pieces;

/* A piece of the heap of exactly this size, filled with a pattern again and again. */
static void *made(const void *pattern, size_t length, size_t size) {
    char *found = size % ALIGNMENT ? malloc(size)
                                   : aligned_alloc(ALIGNMENT, size ? size : ALIGNMENT);
    size_t n;
    if (!found) {
        puts("there is not enough memory");
        exit(1);
    }
    for (n = 0; pattern && n < size; n += length)
        memcpy(found + n, pattern, size - n < length ? size - n : length);
    pieces[count_of_pieces++] = found;
    return found;
}

#define OWN(start, count) made(start, sizeof start, (count) * sizeof *start)"""

_FLOATS = """\
static int differs_DTYPE(const char *what, const TYPE *found, const TYPE *expected, size_t count) {
    double largest = 0, worst = 0, allowed;
    int equal = 1, wrong = 0;
    size_t n;
    for (n = 0; n < count; n++) {
        const double e = expected[n], size = e < 0 ? -e : e;
        const double d = found[n] < e ? e - found[n] : found[n] - e;
        if (size > largest) largest = size;
        if (!(d <= worst)) worst = d;
        if (d != 0) equal = 0;
        if (d != d) wrong = 1;
    }
    allowed = largest > 0 ? TOLERANCE * largest : TOLERANCE;
    wrong |= !(worst <= allowed);
    printf("    %-26s %13.6g  expected %13.6g  ", what, count ? (double)found[0] : 0.0,
           count ? (double)expected[0] : 0.0);
    if (equal) puts("equal to the last bit");
    else printf("off by %.2g, allowed %.2g%s\\n", worst, allowed, wrong ? "  WRONG" : "");
    return wrong;
}"""

_INTEGERS = """\
static int differs_DTYPE(const char *what, const TYPE *found, const TYPE *expected, size_t count) {
    const int wrong = memcmp(found, expected, count * sizeof *found) != 0;
    printf("    %-26s %s\\n", what, wrong ? "WRONG" : "equal");
    return wrong;
}"""


def _compared(dtype: Any) -> str:
    text = _FLOATS if dtype in ("float32", "float64") else _INTEGERS
    return text.replace("DTYPE", dtype).replace("TYPE", C_TYPES[dtype])


# --- numbers --------------------------------------------------------------------------------------


def _table(variable: str, values: NumPyArray, label: str) -> str:
    """A constant array of C."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{label} is not finite")
    kind: Any = str(values.dtype)
    texts = [_number(v, kind) for v in values] or ["0"]
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    body = "\n".join([*lines, line])
    return f"static const {C_TYPES[kind]} {variable}[{len(texts)}] = {{\n{body}\n}};"


def _number(value: Any, kind: str) -> str:
    """A number that C reads as exactly this one."""
    if kind in ("float32", "float64"):
        text = str(value.item()) if kind == "float64" else np.format_float_scientific(value)
        text = f"{text}0" if text.endswith(".") else text
        text = text.replace(".e", ".0e")
        return f"{text}f" if kind == "float32" else text
    whole = int(value)
    if whole == -(2**63):
        return "(-9223372036854775807 - 1)"
    return f"{whole}u" if kind.startswith("u") else str(whole)
