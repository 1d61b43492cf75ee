"""Puts the tables of the recorded benchmark into README, between their marks.

In: recorded.json beside this file, from  symprop bench --out tests/benchmarks/recorded.json
Out: README.md, changed between the marks alone.

Run:  python tests/benchmarks/readme_block.py
"""

from __future__ import annotations

from pathlib import Path

from symprop.bench import record, report

HERE = Path(__file__).resolve().parent
RECORD, README = HERE / "recorded.json", HERE.parent.parent / "README.md"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(report.BEGIN)
    _, after = rest.split(report.END)
    README.write_text(f"{before}{report.block(record.read(RECORD))}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
