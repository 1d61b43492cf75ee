"""The text of ``driver``: the order of an epoch, and the random words that it is made of.

In: the names of the functions. Out: ``written``: LLVM functions that compute what
``codegen.philox.permutation`` does, bit for bit, with its constants; see there for the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from codegen import philox

__all__ = ["written"]


def written(names: Mapping[str, object]) -> str:
    """The functions, with these names."""
    numbers = {
        "rounds": philox.ROUNDS,
        "m0": philox.MULTIPLIERS[0],
        "m1": philox.MULTIPLIERS[1],
        "w0": philox.INCREMENTS[0],
        "w1": philox.INCREMENTS[1],
        "most": philox.MOST,
        "low": philox.MOST - 1,
    }
    functions = (
        _DRAW.substitute(names),
        _ORDER.substitute(names, **numbers),
        _WORDS.substitute(names, **numbers, splats=_splats()),
    )
    return "\n".join(functions)


def _splats() -> str:
    """What all blocks of Philox share, side by side."""
    values = ("block", "attempt", "epoch", "epoch.high", "seed", "seed.high")
    return "".join(_SPLAT.substitute(value=v) for v in values)


_DRAW = Template("""\
; the order of an epoch alone; asked for by a table: where to put it, how many, the epoch, the seed
define void @$name.draw(ptr %asked) nounwind {
entry:
  %order = load ptr, ptr %asked
  %examples.at = getelementptr i64, ptr %asked, i64 1
  %examples = load i64, ptr %examples.at
  %epoch.at = getelementptr i64, ptr %asked, i64 2
  %epoch = load i64, ptr %epoch.at
  %seed.at = getelementptr i64, ptr %asked, i64 3
  %seed = load i64, ptr %seed.at
  call void @$name.order(ptr %order, i64 %examples, i64 %epoch, i64 %seed)
  ret void
}
""")

_ORDER = Template("""\
; 0 ... examples - 1 in the order of an epoch: each position takes the place of an earlier one
define internal void @$name.order(ptr %order, i64 %examples, i64 %epoch, i64 %seed) nounwind {
entry:
  %words = alloca [32 x i32], align 64
  %others = alloca [32 x i32], align 64
  br label %turn
turn:
  %i = phi i64 [ 0, %entry ], [ %i.after, %placed ]
  %block = lshr i64 %i, 2
  %used = and i64 %i, 31
  %empty = icmp eq i64 %used, 0
  br i1 %empty, label %draw, label %choose
draw:
  call void @$name.words(ptr %words, i64 %block, i64 0, i64 %epoch, i64 %seed)
  br label %choose
choose:
  %word.at = getelementptr i32, ptr %words, i64 %used
  %word = load i32, ptr %word.at
  %first = zext i32 %word to i64
  %bound = add i64 %i, 1
  %product = mul i64 %first, %bound
  %product.low = and i64 %product, $low
  %doubtful = icmp ult i64 %product.low, %bound
  br i1 %doubtful, label %check, label %placed
check:
  ; products with a low half below 2^32 mod bound would make some positions likelier
  %rest = sub i64 $most, %bound
  %threshold = urem i64 %rest, %bound
  %lane = and i64 %i, 3
  %other.at = getelementptr i32, ptr %others, i64 %lane
  br label %look
look:
  %tried = phi i64 [ %product, %check ], [ %product.again, %again ]
  %attempt = phi i64 [ 1, %check ], [ %attempt.after, %again ]
  %tried.low = and i64 %tried, $low
  %unfair = icmp ult i64 %tried.low, %threshold
  br i1 %unfair, label %again, label %placed
again:
  call void @$name.words(ptr %others, i64 %block, i64 %attempt, i64 %epoch, i64 %seed)
  %other = load i32, ptr %other.at
  %other.first = zext i32 %other to i64
  %product.again = mul i64 %other.first, %bound
  %attempt.after = add i64 %attempt, 1
  br label %look
placed:
  %fair = phi i64 [ %product, %choose ], [ %tried, %look ]
  %j = lshr i64 %fair, 32
  %j.place = getelementptr i64, ptr %order, i64 %j
  %i.place = getelementptr i64, ptr %order, i64 %i
  %moved = load i64, ptr %j.place
  store i64 %moved, ptr %i.place
  store i64 %i, ptr %j.place
  %i.after = add i64 %i, 1
  %more = icmp slt i64 %i.after, %examples
  br i1 %more, label %turn, label %end
end:
  ret void
}
""")

_WORDS = Template("""\
; Philox4x32-10 of eight blocks in a row, side by side: 32 words. In the rounds only the low half of
; an i64 is a word; what is above it is dropped before it could count
define internal void @$name.words(
    ptr %words, i64 %block, i64 %attempt, i64 %epoch, i64 %seed) nounwind {
entry:
  %epoch.high = lshr i64 %epoch, 32
  %seed.high = lshr i64 %seed, 32
${splats}  %blocks = add <8 x i64> %block.all,
    <i64 0, i64 1, i64 2, i64 3, i64 4, i64 5, i64 6, i64 7>
  br label %round
round:
  %n = phi i64 [ 1, %entry ], [ %n.after, %round ]
  %x0 = phi <8 x i64> [ %blocks, %entry ], [ %y0, %round ]
  %x1 = phi <8 x i64> [ %attempt.all, %entry ], [ %b, %round ]
  %x2 = phi <8 x i64> [ %epoch.all, %entry ], [ %y2, %round ]
  %x3 = phi <8 x i64> [ %epoch.high.all, %entry ], [ %a, %round ]
  %k0 = phi <8 x i64> [ %seed.all, %entry ], [ %k0.after, %round ]
  %k1 = phi <8 x i64> [ %seed.high.all, %entry ], [ %k1.after, %round ]
  %x0.word = and <8 x i64> %x0, splat (i64 $low)
  %x2.word = and <8 x i64> %x2, splat (i64 $low)
  %a = mul <8 x i64> %x0.word, splat (i64 $m0)
  %b = mul <8 x i64> %x2.word, splat (i64 $m1)
  %a.high = lshr <8 x i64> %a, splat (i64 32)
  %b.high = lshr <8 x i64> %b, splat (i64 32)
  %b.mixed = xor <8 x i64> %b.high, %x1
  %y0 = xor <8 x i64> %b.mixed, %k0
  %a.mixed = xor <8 x i64> %a.high, %x3
  %y2 = xor <8 x i64> %a.mixed, %k1
  %k0.after = add <8 x i64> %k0, splat (i64 $w0)
  %k1.after = add <8 x i64> %k1, splat (i64 $w1)
  %n.after = add i64 %n, 1
  %more = icmp sle i64 %n.after, $rounds
  br i1 %more, label %round, label %end
end:
  %y0.word = and <8 x i64> %y0, splat (i64 $low)
  %y2.word = and <8 x i64> %y2, splat (i64 $low)
  %y1.word = shl <8 x i64> %b, splat (i64 32)
  %y3.word = shl <8 x i64> %a, splat (i64 32)
  %early = or <8 x i64> %y0.word, %y1.word
  %late = or <8 x i64> %y2.word, %y3.word
  %all = shufflevector <8 x i64> %early, <8 x i64> %late, <16 x i32>
    <i32 0, i32 8, i32 1, i32 9, i32 2, i32 10, i32 3, i32 11,
     i32 4, i32 12, i32 5, i32 13, i32 6, i32 14, i32 7, i32 15>
  store <16 x i64> %all, ptr %words, align 64
  ret void
}
""")

_SPLAT = Template("""\
  %$value.one = insertelement <8 x i64> poison, i64 %$value, i64 0
  %$value.all = shufflevector <8 x i64> %$value.one, <8 x i64> poison, <8 x i32> zeroinitializer
""")
