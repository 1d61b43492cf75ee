"""The rewrite rules, as data: name, algebra, class, and the function that applies one.

In: a node and the context of the pass (how often each value is used). Out: the rewritten node, or
None. Class: "exact" (the same floats), "reorders rounding" (the same real number), "needs an
assumption" (which the rule proves or names).

Guarantees: a rule is pure and local; whether its result is kept is the engine's gate's to say. No
rule splits a sum to save operations (it loses digits): terms are dropped only when proved 0.
"""

from __future__ import annotations

from symprop.simplify.context import Rule
from symprop.simplify.maps import (
    cancel,
    fuse_single_use,
    guard_to_reads,
    hoist,
    read_through_free,
    read_through_views,
)
from symprop.simplify.residue import split_residues
from symprop.simplify.sums import drop_zero_sums, pull_factors, share_sums

RULES: tuple[Rule, ...] = (
    Rule("read through views", "body(x[f][g]) -> body(x[f.g])", "exact", read_through_views),
    Rule("read through free maps", "body(-x) read as written", "exact", read_through_free),
    Rule("cancel", "x**2 / x -> x, x proved nonzero", "needs an assumption", cancel),
    Rule("pull factors out of sums", "sum_r a*b[r] -> a * sum_r b[r]", "reorders rounding",
         pull_factors),
    Rule("drop zero sums", "sum_r (a + b) -> sum_r a, sum_r b = 0 proved", "reorders rounding",
         drop_zero_sums),
    Rule("residue split", "sum where e mod m == 0 -> m dense sums", "reorders rounding",
         split_residues),
    Rule("drop implied guards", "guard on a factor that is 0 there", "exact", guard_to_reads),
    Rule("fuse single use", "z = g(y), y = f(x) -> z = g(f(x))", "exact", fuse_single_use),
    Rule("hoist", "f(a[i], b[i,j]) -> c = g(a[i]), f(c, b)", "reorders rounding", hoist),
)  # fmt: skip

SHARED = Rule(
    "share sums", "sum a*b*c[i] and sum a*b share sum a*b", "reorders rounding", share_sums
)
