"""`prop.check`: a gradient test for any model, and `symprop check`.

    point      a small point at which everything is evaluated: free dimensions shrunk, floats exact
    taylor     the order of the remainder of each parameter's gradient, at 60 digits
    slopes     which function of the model has a wrong derivative, at the arguments that it met
    machines   what each backend gives, against the 60 digits and the bound
    report     the findings: text, rows, `ok`
    run        all of it
    nonfinite  where a NaN or an infinity came from: `prop.find_nan`
    file       a pytest file that does it again, beside the model

In: a scalar loss, a training step or a trainer. Out: `Check`.
Guarantees: nothing that runs fast is trusted: what is right is decided by the oracle, which shares
no code with the differentiator, the simplifier and the backends. A wrong gradient raises nothing:
the report is not `ok`, and names the parameter and the function.
"""

from symprop.checks.nonfinite import find_nan
from symprop.checks.report import Check
from symprop.checks.run import check

__all__ = ["Check", "check", "find_nan"]
