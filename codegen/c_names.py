"""Names for C: identifiers that are no keyword of C or C++ and no macro that headers define.

In: any text. Out: identifiers, unique within one ``CNames``. Guarantees: those of ``names``; and
none is a word that ``<stdint.h>``, ``<stddef.h>``, ``<stdio.h>`` or a compiler takes for itself.
"""

from __future__ import annotations

from codegen.names import Names, comment_safe

__all__ = ["C_WORDS", "CNames", "c_comment"]

_WORDS = """
    alignas alignof and and_eq asm atomic_cancel atomic_commit atomic_noexcept auto bitand bitor
    bool break case catch char char8_t char16_t char32_t class co_await co_return co_yield compl
    concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false final float for friend fortran
    goto if import inline int long module mutable namespace new noexcept not not_eq nullptr
    operator or or_eq override private protected public reflexpr register reinterpret_cast
    requires restrict return short signed sizeof static static_assert static_cast struct switch
    synchronized template this thread_local throw true try typedef typeid typename typeof
    typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq i386 linux
    unix errno stdin stdout stderr assert offsetof size_t ptrdiff_t max_align_t int8_t int16_t
    int32_t int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t I NULL EOF NAN
    INFINITY BUFSIZ TRUE FALSE complex imaginary noreturn major minor makedev near far
"""
C_WORDS: frozenset[str] = frozenset(_WORDS.split())


class CNames:
    """The names of one scope of C: each call gives one that no earlier call gave."""

    def __init__(self) -> None:
        self._names = Names(C_WORDS)

    def __call__(self, label: str, fallback: str) -> str:
        """A fresh identifier for a label."""
        return self._names(label, fallback)


def c_comment(text: str, length: int = 2000) -> str:
    """Text for one line of a comment of C: ASCII, without an end or a start of a comment."""
    plain = comment_safe(text, length).encode("ascii", "backslashreplace").decode()
    return plain.replace("\\", "/").replace("/*", "/ *").replace("*/", "* /").replace("??", "?")
