"""`symprop accuracy`: the error of every op and its derivatives, measured against a proved value.

    balls       a formula in ball arithmetic (Arb): an interval that holds its exact value
    exact       the ball made so small that it rounds to one float; mpmath as a second opinion
    formats     float32 and float64 as integers in order, and errors in units in the last place
    points      where it is measured: every size of float, the edges, the neighbours of landmarks
    landmarks   where a function changes its sign, overflows or underflows, and where it has kinks
    subjects    an op and its derivatives, as formulas and as compiled functions
    measure     a subject on its points, then around the worst of them; the result is a row
    bars        what was asked of the loop backends, and why a row misses it
    exhaustive  every float32 there is, in pieces; `sweeps` keeps them in a file and continues
    record      the rows as data and as JSON; `report` as tables
    command     `symprop accuracy`, apart from the terminal

In: names of ops, dtypes, backends and orders. Out: a `Report`.
Guarantees: importing this package does not import python-flint, which the extra `test` brings; the
points are the same ones in every run; equal machines give equal reports.
"""
