"""Machine code to read: instructions with the lines of the model that they came from.

In: the text of an LLVM module as ``emit`` writes it, with a comment before what computes each
array, and a ``Target``. Out: ``listing``: the instructions of ``build.assembly``, with those
comments between them.

LLVM is asked twice, once with the line of its comment on every instruction, as a debugger has it:
the second answer says where the instructions of the first came from. It is the first that is shown.
They are the same instructions in the same order, but that on some machines the registers that a
function saves on entry are saved in another order; no comment is put between those.

Guarantees: without its comments the text is ``build.assembly``. An instruction that LLVM shares
between two lines, or makes itself, stands under the one that LLVM names, or that of the instruction
before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from codegen.llvm import build
from codegen.llvm.target import Target

__all__ = ["listing"]

_FIXED = """
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!1}
!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !2, emissionKind: LineTablesOnly)
!1 = !{i32 2, !"Debug Info Version", i32 3}
!2 = !DIFile(filename: "model", directory: "")
!3 = !DISubroutineType(types: !4)
!4 = !{}
"""


def listing(text: str, target: Target) -> str:
    """The instructions, each group under a comment that says what it computes."""
    sources, sign = text.splitlines(), "//" if target.triple.startswith("aarch64") else "#"
    places = _instructions(build.assembly(_numbered(text), target))
    now, lines = 0, []
    for line in build.assembly(text, target).splitlines():
        if _is_instruction(line):
            found, place = next(places, ("", 0))
            if found == line and place and place != now:
                now = place
                comment = sources[place - 1].strip()
                lines += [f"\t{sign} {comment[2:]}"] if comment.startswith("; ") else []
        lines.append(line)
    return "\n".join(lines) + "\n"


def _is_instruction(line: str) -> bool:
    """Whether a line of assembly is one: the others are labels and directives."""
    return line.startswith("\t") and not line.startswith(("\t.", "\t#", "\t//"))


def _instructions(assembly: str) -> Iterator[tuple[str, int]]:
    """Each instruction with the line of the module that it came from, 0 where none is said."""
    place = 0
    for line in assembly.splitlines():
        if line.startswith("\t.loc"):
            place = int(line.split()[2])
        elif _is_instruction(line):
            yield line, place


def _numbered(text: str) -> str:
    """The module with the line of the last comment on every instruction, at the start of a function
    that of its own."""
    lines, notes, function, last = [], _FIXED.splitlines(), 0, 0
    free = 5  # the first number of a note that is not taken
    head = 0  # the first line of the comment above a function
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(";"):
            head = head or number
        elif line.startswith("define "):
            notes.append(
                f"!{free} = distinct !DISubprogram(file: !2, line: {number}, type: !3, unit: !0, "
                "spFlags: DISPFlagDefinition)"
            )
            function, last, free = free, free + 1, free + 2
            notes.append(f"!{last} = !DILocation(line: {head or number}, scope: !{function})")
            line, head = f"{line.removesuffix('{')}!dbg !{function} {{", 0
        elif line.startswith("  ;"):
            last, free = free, free + 1
            notes.append(f"!{last} = !DILocation(line: {number}, scope: !{function})")
        elif line.startswith("  "):
            line = f"{line}, !dbg !{last}"
        lines.append(line)
    return "\n".join([*lines, *notes]) + "\n"
