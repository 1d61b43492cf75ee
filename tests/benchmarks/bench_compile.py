"""Time from a declaration to its simplified gradient program, and the time of `import symprop`.

In: nothing.  Out: a table with the bar of each line.
Guarantees: every declaration is timed in a fresh process, after the imports, so that no model is
helped by another's memo; import times are medians of processes run in turns. The figure includes
the emission of the text, which the bar does not ask for: it is an upper bound.

Run:  python tests/benchmarks/bench_compile.py [repeats]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

BARS = {
    "mlp(64)": 0.5,
    "lenet()": 0.2,
    "transformer(4)": 1.5,
    "transformer(4, regions=False)": 1.5,
    "transformer(64)": 4.0,
}

BUILDERS = {
    "mlp(64)": ("mlp", {"depth": 64}),
    "lenet()": ("lenet", {}),
    "transformer(4)": ("transformer", {"depth": 4}),
    "transformer(4, regions=False)": ("transformer", {"depth": 4, "regions": False}),
    "transformer(64)": ("transformer", {"depth": 64}),
}

IMPORT_BAR = 0.25
BASE = "import numpy, sympy"


def child(code: str, *arguments: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


MEASURE = """
import json, sys, time
import networks
name, how = json.loads(sys.argv[1])
begin = time.perf_counter()
function = networks.gradient_function(getattr(networks, name)(**how))
program = function.program
middle = time.perf_counter()
print(json.dumps([middle - begin, len(function.source().splitlines())]))
"""

IMPORT = """
import time
begin = time.perf_counter()
{}
print(time.perf_counter() - begin)
"""


def main(repeats: int) -> None:
    for label, bar in BARS.items():
        runs = [json.loads(child(MEASURE, json.dumps(BUILDERS[label]))) for _ in range(repeats)]
        seconds = statistics.median(r[0] for r in runs)
        verdict = "holds" if seconds <= bar else "MISSED"
        print(f"{label:32} {seconds:7.3f} s  bar {bar:5.2f} {verdict:6}  {runs[0][1]:6} lines")
    base, ours = [], []
    for _ in range(3 * repeats):
        base.append(float(child(IMPORT.format(BASE))))
        ours.append(float(child(IMPORT.format(f"{BASE}\nimport symprop"))))
    extra = statistics.median(ours) - statistics.median(base)
    verdict = "holds" if extra <= IMPORT_BAR else "MISSED"
    print(
        f"{'import symprop':32} {extra:7.3f} s  bar {IMPORT_BAR:5.2f} {verdict:6}"
        f"  over {statistics.median(base):.3f} s of sympy and numpy"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
