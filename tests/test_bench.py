"""`symprop bench`: what is counted, compared and reported. No test asserts a time."""

from __future__ import annotations

import ast
import io
import json
import operator
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import symprop as prop
from codegen.llvm.build import object_code
from codegen.llvm.target import SHIPPED
from symprop import cli, oracle
from symprop.bench import bars, peak, record, reference, report, run, timing
from symprop.bench.own import declared
from symprop.bench.plot import plot
from symprop.bench.systems import OURS, PEERS, SYSTEMS, missing
from symprop.bench.workloads import WORKLOADS, Bars, Case, Workload, case, chosen

runner = CliRunner()
ROOT = Path(__file__).resolve().parent.parent

SMALL = {
    name: Workload(name, name, (3, 5, 4, 2), name, 6, 0, "", Bars(1, None, None, None))
    for name in reference.ACTIVATIONS
}


def names(rows: Any) -> list[str]:
    return [row.name for row in rows]


# --- workloads -----------------------------------------------------------------------------------


def products(start: Case) -> int:
    """Multiplications and additions of backpropagation, from the shapes of the arrays alone."""
    count, batch = 0, len(start.x)
    for k, weight in enumerate(start.weights):
        for shape in [(batch, *weight.shape)] * (2 if k == 0 else 3):
            count += 2 * int(np.prod(shape))
    return count


def value(working: ast.AST) -> int:
    """What a row's working comes to: integers, sums, differences and products."""
    signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
    if isinstance(working, ast.BinOp):
        found: int = signs[type(working.op)](value(working.left), value(working.right))
        return found
    assert isinstance(working, ast.Constant)
    return int(working.value)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_the_operations_of_a_workload_are_its_working_and_a_count_by_shapes(
    workload: Workload,
) -> None:
    assert workload.operations == products(case(workload))
    assert workload.operations == value(ast.parse(workload.working, mode="eval").body)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_every_system_is_given_the_same_arrays(workload: Workload) -> None:
    one, other = case(workload), case(workload)
    for a, b in zip((*one.weights, *one.biases, one.x, one.y), (*other.weights, *other.biases,
                    other.x, other.y), strict=True):  # fmt: skip
        assert a.tobytes() == b.tobytes()
    assert one.x.shape == (workload.batch, workload.units[0])
    assert [w.shape[0] for w in one.weights] == list(workload.units[1:])


def test_workloads_are_taken_in_the_order_of_the_table() -> None:
    assert names(chosen(["deep", "tiny"])) == ["tiny", "deep"]
    assert names(chosen([])) == names(WORKLOADS)


# --- the reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_the_equations_by_hand_are_the_oracles_values(activation: str) -> None:
    start = case(SMALL[activation])
    step = declared(start)
    parameters = [*start.weights, *start.biases]
    weights = [p for p in step.parameters if p.name.endswith("weight")]
    biases = [p for p in step.parameters if p.name.endswith("bias")]
    values = {"x": start.x, "y": start.y}
    values |= {p.name: a for p, a in zip([*weights, *biases], parameters, strict=True)}
    gradients = prop.gradient(step.loss, [*weights, *biases])
    loss, *wanted = oracle.evaluate([step.loss, *gradients], values)
    by_weight, by_bias = reference.gradients(start)
    assert reference.losses(start, 1) == pytest.approx([float(loss)], rel=1e-12)
    for found, expected in zip([*by_weight, *by_bias], wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_the_training_by_hand_is_the_numpy_texts(activation: str) -> None:
    start = case(SMALL[activation])
    steps = SYSTEMS["numpy"].build(start)
    losses = [steps.advance(1) for _ in range(10)]
    np.testing.assert_allclose(losses, reference.losses(start, 10), rtol=1e-5)


# --- systems -------------------------------------------------------------------------------------


def test_no_peer_is_imported_before_it_is_timed() -> None:
    packages = sorted({p for name in PEERS for p in SYSTEMS[name].packages} - {"numpy"})
    heavy = [*packages, "llvmlite", "matplotlib", "rich"]
    text = f"import sys, symprop.bench.command; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, cwd=ROOT, check=True)
    assert done.stdout.decode().strip() == "[]"


def test_a_system_that_is_not_installed_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "missing", lambda system: f"get {system.name}")
    found = run.run(chosen(["tiny"]), (*OURS, "torch"), 1, lambda text: None)
    assert list(found.missing) == [*OURS, "torch"]
    assert "Not installed: torch; get it with  get torch" in report.notes(found)
    assert {claim.met for claim in bars.claims(found)} == {None}


def test_a_package_that_does_not_exist_is_missing() -> None:
    odd = replace(SYSTEMS["torch"], packages=("no_such_package",))
    assert "no_such_package" in (missing(odd) or "")
    assert missing(SYSTEMS["numpy"]) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_trains_as_the_equations_do(name: str, tmp_path: Path) -> None:
    if missing(SYSTEMS[name]):
        pytest.skip(f"{name} is not installed")
    answer = run.ask(tmp_path, "turns", chosen(["tiny"])[0], [name], 1)
    assert run.gap(answer["losses"][name], answer["reference"]) < bars.LOSS


# --- measuring -----------------------------------------------------------------------------------


class Counter:
    """A runner that counts its steps."""

    def __init__(self) -> None:
        self.steps = 0

    def advance(self, n: int) -> float:
        self.steps += n
        return sum(0.0 for _ in range(1000 * n))


def test_every_system_gets_its_turn_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SLICE", 1e-3)
    monkeypatch.setattr(timing, "CHUNK", 1e-4)
    runners = {"a": Counter(), "b": Counter()}
    found = timing.turns(runners, 3)
    for name, samples in found.items():
        assert len(samples.seconds) >= 3
        assert 0 < samples.minimum <= samples.median
        assert runners[name].steps >= samples.steps * len(samples.seconds)


def test_memory_is_what_a_process_grows_by() -> None:
    grown = timing.grown(lambda: np.ones(1 << 23).sum())  # 64 MiB
    if grown is None:
        assert not timing.RESET.exists()
    else:
        assert 60e6 < grown < 80e6


@pytest.mark.parametrize("target", SHIPPED.values(), ids=SHIPPED)
def test_the_peak_is_code_for_every_target(target: Any) -> None:
    text = peak.text(target)
    assert object_code(text, target)
    made = text.count("call") if target.fma else text.count("fmul")
    assert made == peak.ACCUMULATORS


def test_the_peak_does_what_it_counts() -> None:
    found = peak.Peak()
    assert found.advance(1) == peak.ACCUMULATORS  # each of them is still the 1 it started from
    assert found.operations == 2 * peak.TURNS * peak.ACCUMULATORS * found.lanes


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(run.ChildError, match="ended with status 1: KeyError: 'nobody'"):
        run.ask(tmp_path, "first", chosen(["tiny"])[0], ["nobody"])


def test_a_failure_costs_its_own_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(
        folder: Path, task: str, workload: Workload, systems: list[str], rounds: int = 0
    ) -> Any:
        if task == "first" and systems == ["numpy"]:
            raise run.ChildError("ended with status 1: no luck")
        if task == "first":
            return {"first": {"seconds": 2.0, "derived": 0.5}, "memory": None, "arena": 100}
        samples = {name: {"median": 2e-6, "minimum": 1e-6, "count": 9} for name in systems}
        losses = {name: [1.0, 0.5] for name in systems}
        errors = {name: {"a": 1e-7, "b": 3e-7} for name in systems}
        return {"peak": 1e11, "losses": losses, "reference": [1.0, 0.75], "samples": samples,
                "gradients": errors}  # fmt: skip

    monkeypatch.setattr(run, "ask", ask)
    monkeypatch.setattr(run, "missing", lambda system: None)
    (row,) = run.run(chosen(["tiny"]), (*OURS, "numpy"), 1, lambda text: None).rows
    assert row.of("numpy").failed == "ended with status 1: no luck"
    assert row.of("numpy").step is None
    ours = row.of("native-run")
    assert ours.step == record.Step(2e-6, 1e-6, 9)
    assert ours.cold is not None
    assert ours.cold.compiled == 1.5
    assert (ours.gradient_error, ours.gradient_of, ours.loss_gap) == (3e-7, "b", 0.25)


def test_the_machine_code_is_timed_and_right() -> None:
    said: list[str] = []
    found = run.run(chosen(["tiny"]), OURS, 1, said.append)
    (row,) = found.rows
    assert len(said) == len(OURS) + 1
    assert said[-1].startswith("tiny: 1 round of native run(n), ")
    for name in OURS:
        figures = row.of(name)
        assert not figures.failed
        assert figures.step is not None
        assert (figures.gradient_error or 1) <= bars.GRADIENT
        assert (figures.loss_gap or 0) <= bars.LOSS
    assert row.peak
    assert row.of("native-run").warm


# --- reports -------------------------------------------------------------------------------------


def made_up() -> record.Report:
    """A report of all workloads and systems, with figures that are easy to check."""
    rows = []
    for k, workload in enumerate(WORKLOADS):
        figures = [
            record.Figures(
                name,
                record.Step(2e-6 * (n + 1), 1e-6 * (n + 1), 100),
                record.First(1.5, 1.0 if name in OURS else None),
                record.First(1.25, 1.24) if SYSTEMS[name].keeps else None,
                memory=1_000_000 * (n + 1),
                arena=4096 if name in OURS else None,
                loss_gap=1e-6,
                torch_gap=1e-6,
                gradient_error=1e-7 if name in OURS else None,
                gradient_of="hidden.weight" if name in OURS else "",
            )
            for n, name in enumerate(SYSTEMS)
        ]
        rows.append(record.Row(workload.name, 1e11 * (k + 1), 512, tuple(figures)))
    failed = record.Figures("jax", failed="ended with status 1: out of luck")
    kept = (failed if f.system == "jax" else f for f in rows[1].figures)
    rows[1] = replace(rows[1], figures=tuple(kept))
    machine = {"processor": "an abacus | of wood"}
    return record.Report(machine, {"numpy": "2.4"}, {}, 3, (0.1, 1.0), tuple(rows))


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(record.written(made_up()))
    assert record.read(path) == made_up()
    assert record.written(record.read(path)) == path.read_bytes()


def test_without_llvmlite_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("symprop.bench.command.find_spec", lambda name: None)
    assert "pip install" in refused("tiny", "--peers", "none")


def test_every_workload_system_and_bar_is_in_the_tables() -> None:
    steps, asked, first, memory = report.tables(made_up())
    assert steps.columns[1:] == tuple(names(WORKLOADS))
    titles = [system.title for system in SYSTEMS.values()]
    assert [row[0] for row in steps.rows] == ["limit", *titles]
    assert [row[0] for row in first.rows] == titles
    assert [row[0] for row in memory.rows] == ["native: arena and batch", *titles[len(OURS) :]]
    assert {row[0] for row in asked.rows} == set(names(WORKLOADS))
    wanted = [bar for w in WORKLOADS for bar in (w.bars.step, w.bars.loop, w.bars.limit) if bar]
    found = [row[2] for row in asked.rows if row[2].endswith(("as fast", "its time"))]
    assert [float(text.split()[0]) for text in found] == wanted
    assert len({len(row) for table in (steps, asked, first, memory) for row in table.rows}) == 2


def test_like_is_compared_with_like_and_what_is_missed_is_marked() -> None:
    (tiny, *_) = made_up().rows
    found = {claim.about: claim for claim in bars.of(tiny)}
    # The machine code takes 2 and 4 us a step, torch 12, JAX's loop 18.
    stepped = found["a step a call, against torch"]
    assert (stepped.found, stepped.verdict) == ("3.00 x (minima 3.00 x)", "MISSED")
    looped = found["steps in one call, against JAX loop in jit"]
    assert (looped.found, looped.verdict) == ("9.00 x (minima 9.00 x)", "reached")
    cold = found["derived step to first step run, cold"]
    assert (cold.found, cold.verdict) == ("0.500 s (deriving it: 1.000 s)", "MISSED")
    kept = found["derived step to first step run, with what was kept"]
    assert kept.verdict == "reached"
    limit = next(c for c in bars.of(made_up().rows[1]) if c.about == "against the limit")
    assert (
        limit.found == f"{2e-6 / (647_168 / 2e11):.2f} x (minima {1e-6 / (647_168 / 2e11):.2f} x)"
    )


def test_a_failure_is_in_the_table_and_its_reason_below() -> None:
    text = report.markdown(made_up())
    (line,) = (
        line for line in text.splitlines() if line.startswith("| JAX jit ") and "fail" in line
    )
    assert line.count("failed") == 1
    assert "Failed on 64-64-10, batch 32, ReLU: JAX jit: ended with status 1: out of luck" in text


def test_a_busy_machine_is_said_to_be_busy() -> None:
    assert "busy" not in report.markdown(made_up())
    assert "busy" in report.markdown(replace(made_up(), load=(2.0, 3.0)))


def test_one_round_is_not_said_to_be_several() -> None:
    assert "Adam, 3 rounds in turns" in report.markdown(made_up())
    assert "Adam, 1 round in turns" in report.markdown(replace(made_up(), rounds=1))


def test_markdown_has_one_width_a_table_and_shows_signs_as_they_are() -> None:
    blocks = report.markdown(made_up()).split("\n\n")
    lines = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(lines) == len(report.tables(made_up()))
    for table in lines:
        assert len({len(line) for line in table}) == 1
    assert "an abacus \\| of wood" in "\n".join(blocks)


def test_the_terminal_shows_the_same_words() -> None:
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report.shown(made_up()))
    text = console.export_text()
    for table in report.tables(made_up()):
        for row in table.rows:
            for cell in row:
                assert cell in text


def test_the_picture_is_the_same_every_time(tmp_path: Path) -> None:
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    shown = replace(made_up(), rows=made_up().rows[:1])
    for path in files:
        plot(shown, path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert b"2-16-16-2, batch 32, tanh" in files[0].read_bytes()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "figures.json"
    path.write_bytes(record.written(made_up()))
    return path


def shown(*words: object) -> str:
    """What the command prints."""
    result = runner.invoke(cli.app, ["bench", *map(str, words)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*words: object) -> str:
    """The one sentence of a command that symprop refuses."""
    result = runner.invoke(cli.app, ["bench", *map(str, words)])
    assert isinstance(result.exception, prop.SympropError), (result.output, result.exception)
    assert not result.output
    return str(result.exception)


def test_figures_are_shown_as_text_as_json_and_as_the_block_of_readme(recorded: Path) -> None:
    assert shown("--read", recorded).strip() == report.markdown(made_up())
    assert shown("--read", recorded, "--markdown").strip() == report.block(made_up())
    data = json.loads(shown("--read", recorded, "--json"))
    assert [row["operations"] for row in data["rows"]] == [w.operations for w in WORKLOADS]


def test_figures_are_written_where_the_user_said(recorded: Path, tmp_path: Path) -> None:
    shown("--read", recorded, "--out", tmp_path / "again.json", "--plot", tmp_path / "steps.png")
    assert (tmp_path / "again.json").read_bytes() == recorded.read_bytes()
    assert (tmp_path / "steps.png").stat().st_size > 1000


def test_bad_arguments_are_refused_before_anything_is_timed(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("timed")

    monkeypatch.setattr("symprop.bench.command.timed", never)
    assert "no workload 'huge'" in refused("huge")
    assert "'tiny', 'digits', 'mnist', 'deep', 'big'" in refused("huge")
    assert "no peer 'abacus'" in refused("--peers", "torch,abacus")
    assert "must end in one of" in refused("--plot", tmp_path / "steps.txt")
    assert "cannot be read" in refused("--read", tmp_path / "nowhere.json")
    assert "leave their names out" in refused("tiny", "--read", recorded)
    assert "leave their names out" in refused("--peers", "none", "--read", recorded)


CHANGES: dict[str, Callable[[Any], None]] = {
    "another format": lambda data: data.update(format=0),
    "an unknown workload": lambda data: data["rows"][0].update(workload="x\x1b[31m"),
    "other operations": lambda data: data["rows"][0].update(operations=1),
    "an unknown system": lambda data: data["rows"][0]["figures"][0].update(system="x"),
    "an unknown figure": lambda data: data["rows"][0]["figures"][0].update(colour=1),
    "a negative time": lambda data: data["rows"][0]["figures"][0]["step"].update(median=-1),
    "a text for a time": lambda data: data["rows"][0]["figures"][0]["step"].update(median="1"),
    "no rows": lambda data: data.pop("rows"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_is_no_record_is_refused(change: Callable[[Any], None], recorded: Path) -> None:
    data = json.loads(recorded.read_text(encoding="utf-8"))
    change(data)
    recorded.write_text(json.dumps(data), encoding="utf-8")
    said = refused("--read", recorded)
    assert "is not a record of this version of symprop bench" in said
    assert said.isprintable()


def test_text_in_a_file_cannot_reach_the_terminal_as_commands(recorded: Path) -> None:
    data = json.loads(recorded.read_text(encoding="utf-8"))
    data["machine"] = {"processor": "\x1b[2Jclean\nslate" + "!" * 1000}
    data["rows"][0]["figures"][0]["failed"] = "\x07bell"
    recorded.write_text(json.dumps(data), encoding="utf-8")
    text = shown("--read", recorded)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert max(map(len, text.splitlines())) < 600


def test_readme_holds_the_tables_of_the_record() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recorded = record.read(ROOT / "tests" / "benchmarks" / "recorded.json")
    block = report.block(recorded)
    assert block in readme, "run  python tests/benchmarks/readme_block.py"
    assert names(row.declared for row in recorded.rows) == names(WORKLOADS)
