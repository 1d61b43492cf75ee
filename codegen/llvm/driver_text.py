"""The text of ``driver``: LLVM functions with the numbers of their table to be filled in.

In: the names of the functions, the places of the words. Out: ``written``: the loop, the next batch,
the rows of an array. They stand here as they are read in the end; ``driver`` says what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

__all__ = ["written"]

# The types that move so many bytes at once.
_MOVES = {
    64: "<8 x i64>",
    32: "<4 x i64>",
    16: "<2 x i64>",
    8: "i64",
    4: "i32",
    2: "i16",
    1: "i8",
}
_VALUES = (64, 32, 16, 8, 4)  # rows of so many bytes have a loop of their own


def written(names: Mapping[str, object], batches: bool) -> str:
    """The functions, with these names and numbers; with ``batches``, those that cut them too."""
    work = _CUT.substitute(names) if batches else _KEPT
    loop = _LOOP.substitute(names, work=work)
    if not batches:
        return loop
    parts = {"values": _values(), "digits": _digits()}
    return "\n".join([loop, *(f.substitute(names, **parts) for f in (_BATCH, _ROWS))])


def _values() -> str:
    """Loops over rows that are moved at once."""
    following = [*(f"test{n}" for n in _VALUES[1:]), "pieces"]
    return "".join(
        _VALUE.substitute(bytes=n, type=_MOVES[n], next=then)
        for n, then in zip(_VALUES, following, strict=True)
    )


def _digits() -> str:
    """The moves for what is left of a row."""
    lengths = [n for n in _MOVES if n < 64]
    following = [*(f"digit{n}" for n in lengths[1:]), "copied"]
    return "".join(
        _DIGIT.substitute(bytes=n, type=_MOVES[n], above=64 - 2 * n, next=then)
        for n, then in zip(lengths, following, strict=True)
    )


_LOOP = Template("""\
; steps in a row, on the batches that the table describes
define void @$name(ptr %run) nounwind {
entry:
  %step.at = getelementptr i64, ptr %run, i64 $at_step
  %step = load ptr, ptr %step.at
  %context.at = getelementptr i64, ptr %run, i64 $at_context
  %context = load ptr, ptr %context.at
  %loss.at = getelementptr i64, ptr %run, i64 $at_loss
  %loss.place = load ptr, ptr %loss.at
  %bytes.at = getelementptr i64, ptr %run, i64 $at_loss_bytes
  %bytes = load i64, ptr %bytes.at
  %wide = icmp eq i64 %bytes, 8
  %losses.at = getelementptr i64, ptr %run, i64 $at_losses
  %losses = load ptr, ptr %losses.at
  %columns.at = getelementptr i64, ptr %run, i64 $at_columns
  %columns = load i64, ptr %columns.at
  %capacity.at = getelementptr i64, ptr %run, i64 $at_capacity
  %capacity = load i64, ptr %capacity.at
  %steps.at = getelementptr i64, ptr %run, i64 $at_steps
  %steps = load i64, ptr %steps.at
  %stop.at = getelementptr i64, ptr %run, i64 $at_stop
  %done.at = getelementptr i64, ptr %run, i64 $at_done
  %before = load i64, ptr %done.at
  %place.before = urem i64 %before, %capacity
  br label %turn
turn:
  %done = phi i64 [ %before, %entry ], [ %done.now, %kept ]
  %place = phi i64 [ %place.before, %entry ], [ %place.now, %kept ]
  %stop = load atomic i64, ptr %stop.at monotonic, align 8
  %unstopped = icmp eq i64 %stop, 0
  %left = icmp slt i64 %done, %steps
  %more = and i1 %left, %unstopped
  br i1 %more, label %work, label %end
work:
${work}ready:
  call void %step(ptr %context)
  %row = mul i64 %place, %columns
  %kept.row = getelementptr double, ptr %losses, i64 %row
  br label %column
column:
  %j = phi i64 [ 0, %ready ], [ %j.after, %read ]
  br i1 %wide, label %double, label %single
double:
  %double.at = getelementptr double, ptr %loss.place, i64 %j
  %loss.double = load double, ptr %double.at
  br label %read
single:
  %single.at = getelementptr float, ptr %loss.place, i64 %j
  %loss.single = load float, ptr %single.at
  %loss.widened = fpext float %loss.single to double
  br label %read
read:
  %loss = phi double [ %loss.double, %double ], [ %loss.widened, %single ]
  %kept.at = getelementptr double, ptr %kept.row, i64 %j
  store double %loss, ptr %kept.at
  %j.after = add i64 %j, 1
  %another = icmp slt i64 %j.after, %columns
  br i1 %another, label %column, label %kept
kept:
  %done.now = add i64 %done, 1
  store atomic i64 %done.now, ptr %done.at release, align 8
  %place.after = add i64 %place, 1
  %around = icmp eq i64 %place.after, %capacity
  %place.now = select i1 %around, i64 0, i64 %place.after
  br label %turn
end:
  ret void
}
""")

# Before a step: the next examples where there are any, or nothing.
_CUT = Template("""\
  %examples.at = getelementptr i64, ptr %run, i64 $at_examples
  %examples = load i64, ptr %examples.at
  %fixed = icmp eq i64 %examples, 0
  br i1 %fixed, label %ready, label %next
next:
  call void @$name.batch(ptr %run, ptr %context)
  br label %ready
""")
_KEPT = """\
  br label %ready
"""

_BATCH = Template("""\
; the next examples, and where the step finds them
define internal void @$name.batch(ptr %run, ptr %context) nounwind {
entry:
  %examples.at = getelementptr i64, ptr %run, i64 $at_examples
  %examples = load i64, ptr %examples.at
  %batch.at = getelementptr i64, ptr %run, i64 $at_batch
  %batch = load i64, ptr %batch.at
  %epoch.at = getelementptr i64, ptr %run, i64 $at_epoch
  %epoch.before = load i64, ptr %epoch.at
  %position.at = getelementptr i64, ptr %run, i64 $at_position
  %position.before = load i64, ptr %position.at
  %ended = icmp sge i64 %position.before, %examples
  %epoch.after = add i64 %epoch.before, 1
  %epoch = select i1 %ended, i64 %epoch.after, i64 %epoch.before
  %position = select i1 %ended, i64 0, i64 %position.before
  %rest = sub i64 %examples, %position
  %short = icmp slt i64 %rest, %batch
  %count = select i1 %short, i64 %rest, i64 %batch
  %position.after = add i64 %position, %count
  store i64 %epoch, ptr %epoch.at
  store i64 %position.after, ptr %position.at
  %size.at = getelementptr i64, ptr %run, i64 $at_size
  %size = load i64, ptr %size.at
  %free = icmp sge i64 %size, 0
  br i1 %free, label %sized, label %ordered
sized:
  %size.place = getelementptr i64, ptr %context, i64 %size
  store i64 %count, ptr %size.place
  br label %ordered
ordered:
  %shuffle.at = getelementptr i64, ptr %run, i64 $at_shuffle
  %shuffle = load i64, ptr %shuffle.at
  %mixed = icmp ne i64 %shuffle, 0
  %order.at = getelementptr i64, ptr %run, i64 $at_order
  %order = load ptr, ptr %order.at
  %chosen = getelementptr i64, ptr %order, i64 %position
  %drawn.at = getelementptr i64, ptr %run, i64 $at_drawn
  %drawn = load i64, ptr %drawn.at
  %old = icmp ne i64 %drawn, %epoch
  %draws = and i1 %mixed, %old
  br i1 %draws, label %draw, label %arrays
draw:
  %seed.at = getelementptr i64, ptr %run, i64 $at_seed
  %seed = load i64, ptr %seed.at
  %among.at = getelementptr i64, ptr %run, i64 $at_among
  %among = load i64, ptr %among.at
  call void @$name.order(ptr %order, i64 %among, i64 %epoch, i64 %seed)
  store i64 %epoch, ptr %drawn.at
  br label %arrays
arrays:
  %streamed.at = getelementptr i64, ptr %run, i64 $at_streamed
  %streamed = load i64, ptr %streamed.at
  %records = getelementptr i64, ptr %run, i64 $records
  br label %turn
turn:
  %n = phi i64 [ 0, %arrays ], [ %n.after, %placed ]
  %more = icmp slt i64 %n, %streamed
  br i1 %more, label %array, label %end
array:
  %words = mul i64 %n, $record
  %record = getelementptr i64, ptr %records, i64 %words
  %source.at = getelementptr i64, ptr %record, i64 $of_source
  %source = load ptr, ptr %source.at
  %target.at = getelementptr i64, ptr %record, i64 $of_target
  %target = load ptr, ptr %target.at
  %row.at = getelementptr i64, ptr %record, i64 $of_row
  %row = load i64, ptr %row.at
  %word.at = getelementptr i64, ptr %record, i64 $of_word
  %word = load i64, ptr %word.at
  %skipped = mul i64 %position, %row
  %there = getelementptr i8, ptr %source, i64 %skipped
  br i1 %mixed, label %gather, label %placed
gather:
  call void @$name.rows(ptr %target, ptr %source, ptr %chosen, i64 %count, i64 %row)
  br label %placed
placed:
  %reads = phi ptr [ %there, %array ], [ %target, %gather ]
  %context.place = getelementptr i64, ptr %context, i64 %word
  store ptr %reads, ptr %context.place
  %n.after = add i64 %n, 1
  br label %turn
end:
  ret void
}
""")

_ROWS = Template("""\
; rows of an array, in an order, one after the other
define internal void @$name.rows(
    ptr noalias %target, ptr noalias %source, ptr noalias %chosen, i64 %count, i64 %row) nounwind {
entry:
  br label %test64
${values}pieces:
  %remainder = and i64 %row, 63
  %even = sub i64 %row, %remainder
  br label %turn
turn:
  %i = phi i64 [ 0, %pieces ], [ %i.after, %copied ]
  %from.at = getelementptr i64, ptr %chosen, i64 %i
  %from = load i64, ptr %from.at
  %from.byte = mul i64 %from, %row
  %to.byte = mul i64 %i, %row
  %from.row = getelementptr i8, ptr %source, i64 %from.byte
  %to.row = getelementptr i8, ptr %target, i64 %to.byte
  br label %some
some:
  %byte = phi i64 [ 0, %turn ], [ %byte.after, %move ]
  %unmoved = icmp slt i64 %byte, %even
  br i1 %unmoved, label %move, label %tail
move:
  %from.piece = getelementptr i8, ptr %from.row, i64 %byte
  %to.piece = getelementptr i8, ptr %to.row, i64 %byte
  %piece = load <8 x i64>, ptr %from.piece, align 1
  store <8 x i64> %piece, ptr %to.piece, align 1
  %byte.after = add i64 %byte, 64
  br label %some
tail:
  %from.tail = getelementptr i8, ptr %from.row, i64 %even
  %to.tail = getelementptr i8, ptr %to.row, i64 %even
  br label %digit32
${digits}copied:
  %i.after = add i64 %i, 1
  %more = icmp slt i64 %i.after, %count
  br i1 %more, label %turn, label %end
end:
  ret void
}
""")

# Rows that are one value: a loop of their own, where there is little else to do.
_VALUE = Template("""\
test$bytes:
  %is.$bytes = icmp eq i64 %row, $bytes
  br i1 %is.$bytes, label %rows.$bytes, label %$next
rows.$bytes:
  %i.$bytes = phi i64 [ 0, %test$bytes ], [ %i.after.$bytes, %rows.$bytes ]
  %chosen.at.$bytes = getelementptr i64, ptr %chosen, i64 %i.$bytes
  %from.$bytes = load i64, ptr %chosen.at.$bytes
  %from.at.$bytes = getelementptr $type, ptr %source, i64 %from.$bytes
  %to.at.$bytes = getelementptr $type, ptr %target, i64 %i.$bytes
  %value.$bytes = load $type, ptr %from.at.$bytes, align 1
  store $type %value.$bytes, ptr %to.at.$bytes, align 1
  %i.after.$bytes = add i64 %i.$bytes, 1
  %more.$bytes = icmp slt i64 %i.after.$bytes, %count
  br i1 %more.$bytes, label %rows.$bytes, label %end
""")

# What is left of a row after pieces of 64 bytes: a move for each binary digit of its length.
_DIGIT = Template("""\
digit$bytes:
  %bit$bytes = and i64 %remainder, $bytes
  %has$bytes = icmp ne i64 %bit$bytes, 0
  br i1 %has$bytes, label %move$bytes, label %$next
move$bytes:
  %byte$bytes = and i64 %remainder, $above
  %from$bytes = getelementptr i8, ptr %from.tail, i64 %byte$bytes
  %to$bytes = getelementptr i8, ptr %to.tail, i64 %byte$bytes
  %piece$bytes = load $type, ptr %from$bytes, align 1
  store $type %piece$bytes, ptr %to$bytes, align 1
  br label %$next
""")
