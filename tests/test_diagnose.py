"""diagnose: what it reads, what it measures, what it predicts, and when it speaks."""

import copy
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from benchmarks import networks
from random_networks import Network

import symprop as prop
from symprop import oracle
from symprop import term as t
from symprop.diagnose.activations import Curve
from symprop.diagnose.findings import CURES, findings
from symprop.diagnose.read import read_network
from symprop.ops.declare import REGISTRY
from symprop.walk import leaves

RNG = np.random.default_rng(0)
BATCH = {"x": RNG.normal(size=(32, 64)), "y": RNG.integers(0, 10, size=32)}


def normal(deviation: float) -> Callable[..., Any]:
    return lambda rng, shape: rng.normal(0.0, deviation, size=shape)


def deep(
    depth: int, activation: Any, init: Any = "he", bias: float = 0.0, optimizer: Any = None
) -> prop.Trainer:
    """A classifier of equal layers, from bare products."""
    h = prop.input("x", "batch pixel=64")
    for k in range(depth):
        weight = prop.parameter(f"w{k}", (64, 64), prop.He() if init == "he" else init)
        h = activation(
            (h @ weight.T + prop.parameter(f"b{k}", 64, prop.Constant(bias))).named(f"layer{k}")
        )
    logits = (h @ prop.parameter("v", (10, 64), prop.He()).T).named("logits")
    loss = prop.cross_entropy(logits, prop.labels("y", "batch", classes=10))
    return prop.training_step(loss, optimizer or prop.SGD(1e-3)).compile(dtype="float64")


def curve_of(op: Any) -> Curve:
    return Curve(t.call(op.function, t.read(0)))


def kinds(diagnosis: prop.Diagnosis) -> list[str]:
    return [finding.kind for finding in diagnosis.findings]


# --- what it says ----------------------------------------------------------------------------


def test_gradients_vanish_through_twenty_sigmoid_layers() -> None:
    found = prop.diagnose(deep(20, prop.sigmoid, prop.Glorot()), BATCH)
    assert kinds(found) == ["gradient vanishes"]
    sentence = found.findings[0].sentence
    rows = {row.name: row for row in found.rows}
    assert rows["layer0"].delta is not None
    assert rows["logits"].delta is not None
    factor = (rows["layer0"].delta.rms / rows["logits"].delta.rms) ** (1 / 20)
    assert f"shrinks by {factor:.2g} a layer from 'logits' to 'layer0'" in sentence
    assert "the derivative of sigmoid is at most 0.25" in sentence


def test_gradients_explode_where_weights_are_too_large() -> None:
    found = prop.diagnose(deep(20, prop.relu, normal(0.5)), BATCH)
    assert kinds(found)[:2] == ["gradient explodes", "signal grows"]
    assert "it explodes; the weights predict 2." in found.findings[0].sentence


def test_a_gradient_too_small_for_its_width_vanishes_too() -> None:
    trainer = deep(60, prop.sigmoid, normal(0.02)).training_step.compile(dtype="float32")
    found = prop.diagnose(trainer, BATCH)
    assert found.rows[0].delta is not None
    assert found.rows[0].delta.rms == 0
    assert kinds(found) == ["gradient vanishes", "no gradient"]


def test_weights_that_are_too_small_are_blamed_not_the_activation() -> None:
    found = prop.diagnose(deep(12, prop.relu, normal(0.02)), BATCH)
    assert kinds(found) == ["gradient vanishes", "signal fades"]
    assert "the weights predict" in found.findings[0].sentence
    assert "prop.He()" in found.findings[0].cures[0]


@pytest.mark.parametrize(
    ("activation", "init"),
    [(prop.relu, "he"), (prop.leaky_relu, "he"), (prop.tanh, prop.Glorot()), (prop.gelu, "he")],
)
def test_healthy_networks_are_left_alone(activation: Any, init: Any) -> None:
    found = prop.diagnose(deep(20, activation, init), BATCH)
    assert kinds(found) == []
    assert re.match("Nothing (unusual|extreme): ", found.sentences[0])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_scales_that_are_not_kept_are_never_said_to_be(depth: int) -> None:
    """Sigmoid layers far from the threshold: the sentence has the numbers of the table."""
    found = prop.diagnose(deep(depth, prop.sigmoid, prop.Glorot()), BATCH)
    (sentence,) = found.sentences
    assert kinds(found) == []
    assert "keep their scale" not in sentence
    assert sentence.startswith("Nothing extreme: the gradient changes by a factor of ")
    gains = [row.backward for row in found.rows if row.backward is not None]
    for gain in (min(gains), max(gains)):
        assert f"{gain:.2g}" in sentence
    assert (", 0.0" in sentence) == (depth > 1)


def test_scales_that_are_kept_are_said_to_be_with_the_numbers() -> None:
    (sentence,) = prop.diagnose(deep(2, prop.relu), BATCH).sentences
    within, in_all = map(
        float, re.findall(r"factor of ([\d.]+) .* of ([\d.]+) in all", sentence)[0]
    )
    assert "keep their scale" in sentence
    assert 1 <= within <= 3
    assert 1 <= in_all <= 10


@pytest.mark.parametrize("activation", [prop.sigmoid, prop.relu, prop.sin, lambda z: z])
def test_the_legend_explains_the_columns_that_are_there(activation: Any) -> None:
    found = prop.diagnose(deep(2, activation), BATCH)
    shown = {heading for headings, _ in found.tables() for heading in headings}
    said = {"flat": "Flat:", "dead": "Dead:", "h = 0": "h = 0:", "f": "h = f(z)"}
    assert {h for h, words in said.items() if words in found.legend} == shown & set(said)


def test_units_are_dead_under_a_bias_far_below() -> None:
    found = prop.diagnose(deep(2, prop.relu, bias=-100.0), BATCH)
    assert kinds(found)[0] == "dead units"
    assert found.findings[0].where == ("layer0", "layer1")
    assert found.rows[0].dead == found.rows[0].zero == 1.0
    assert "no gradient" in kinds(found)


def test_large_weights_saturate_tanh() -> None:
    found = prop.diagnose(deep(4, prop.tanh, normal(1.0)), BATCH)
    assert kinds(found) == ["saturated"]
    (row, *_) = found.rows
    z = np.asarray(found.rows[0].before.std)
    assert row.saturated is not None
    assert 0.7 < row.saturated < 0.9, z


def test_a_step_that_is_too_large_is_named() -> None:
    found = prop.diagnose(deep(2, prop.relu, optimizer=prop.Adam(0.5)), BATCH)
    assert kinds(found) == ["large update"]
    updates = [p.update for p in found.parameters if p.update is not None]
    assert max(updates) > 1


def test_the_first_place_that_is_not_finite_is_named() -> None:
    trainer = deep(3, prop.relu)
    trainer.parameters["w1"][0, 0] = np.nan
    (finding,) = prop.diagnose(trainer, BATCH).findings
    assert finding.kind == "not finite"
    assert "the parameter 'w1'" in finding.sentence
    x = {**BATCH, "x": np.where(BATCH["x"] > 2, np.inf, BATCH["x"])}
    assert "the data 'x'" in prop.diagnose(deep(3, prop.relu), x).findings[0].sentence
    large = deep(3, lambda z: prop.exp(prop.square(z)))
    sentence = prop.diagnose(large, {**BATCH, "x": BATCH["x"] * 20}).findings[0].sentence
    assert "of 'layer0'" in sentence


@pytest.mark.parametrize("kind", CURES)
def test_every_cure_names_what_exists(kind: str) -> None:
    text = " ".join(CURES[kind])
    for name in re.findall(r"prop\.(\w+)", text):
        assert hasattr(prop, name), name
    assert re.search(r"prop\.\w+|rate|residual|data", text)


def test_every_finding_has_cures_of_the_table() -> None:
    shown = [
        prop.diagnose(deep(12, prop.relu, normal(s)), BATCH).findings for s in (0.01, 0.5, 50.0)
    ]
    for finding in (f for each in shown for f in each):
        assert finding.cures in CURES.values()
        assert all(cure in str(finding) for cure in finding.cures)


# --- what it measures ------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_oracle() -> None:
    x = prop.input("x", "batch pixel=4")
    w, b = prop.parameter("w", (3, 4), prop.He()), prop.parameter("b", 3, prop.Constant(0.3))
    z = (x @ w.T + b).named("hidden")
    h = prop.relu(z)
    loss = prop.mean(prop.square(h @ prop.parameter("v", 3, normal(1.0))))
    trainer = prop.training_step(loss, prop.SGD(0.1)).compile(dtype="float64")
    data = {"x": np.random.default_rng(1).normal(size=(20, 4))}
    found = prop.diagnose(trainer, data)
    wanted = [z, h, prop.gradient(loss, z), prop.gradient(loss, w), loss]
    values = oracle.evaluate(wanted, {**data, **trainer.parameters})
    row = found.rows[0]
    assert (row.name, row.activation, row.shape) == ("hidden", "relu", (20, 3))
    assert row.after is not None
    assert row.delta is not None
    assert row.before.mean == pytest.approx(np.mean(values[0]), rel=1e-12)
    assert row.before.std == pytest.approx(np.std(values[0]), rel=1e-12)
    assert row.after.largest == pytest.approx(np.max(values[1]), rel=1e-12)
    assert row.delta.rms == pytest.approx(math.sqrt(np.mean(values[2] ** 2)), rel=1e-12)
    gradient = math.sqrt(np.mean(values[3] ** 2))
    assert found.parameters[0].name == "w"
    assert found.parameters[0].gradient.rms == pytest.approx(gradient, rel=1e-12)
    weight = math.sqrt(np.mean(trainer.parameters["w"] ** 2))
    assert found.parameters[0].update == pytest.approx(0.1 * gradient / weight, rel=1e-9)
    assert row.zero == np.mean(values[1] == 0)
    assert row.dead == np.mean(np.max(values[0], axis=0) <= 0)
    assert found.measured.loss == pytest.approx(float(values[4]))


def test_nothing_of_the_trainer_changes() -> None:
    trainer = deep(2, prop.relu, optimizer=prop.Adam(1e-3))
    trainer.step(BATCH)
    before = copy.deepcopy({**trainer.parameters, **trainer.states})
    text = trainer.training_step.source("numpy", "float32")
    history = trainer.history.to_json()
    prop.diagnose(trainer, BATCH)
    after = {**trainer.parameters, **trainer.states}
    assert list(before) == list(after)
    assert all(np.array_equal(before[n], after[n]) for n in before)
    assert trainer.history.to_json() == history
    trainer.training_step._compiled.clear()
    assert trainer.training_step.source("numpy", "float32") == text


# --- what it predicts ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "gelu", "elu", "leaky_relu", "silu"])
def test_the_predicted_gains_are_near_the_measured_ones(name: str) -> None:
    found = prop.diagnose(deep(4, getattr(prop, name)), BATCH)
    for row in found.rows[:-1]:  # ten logits are too few for a mean square
        assert row.forward_predicted == pytest.approx(row.forward, rel=0.25)
        assert row.backward_predicted == pytest.approx(row.backward, rel=0.25)


def test_moments_under_a_normal_variable_are_the_known_ones() -> None:
    def of(op: Any, mean: float, variance: float) -> tuple[float, float]:
        return curve_of(op).moments(mean, variance)

    assert of(REGISTRY["relu"], 0.0, 2.0) == pytest.approx((1.0, 0.5), rel=1e-5)
    assert of(REGISTRY["square"], 0.0, 1.0) == pytest.approx((3.0, 4.0), rel=1e-9)
    assert of(REGISTRY["exp"], 0.0, 0.25) == pytest.approx((math.exp(0.5),) * 2, rel=1e-9)
    # E erf(z)^2 = (2/pi) asin(2v/(1 + 2v)): C. Williams, Computing with infinite networks, 1997.
    assert of(REGISTRY["erf"], 0.0, 1.0)[0] == pytest.approx(2 / math.pi * math.asin(2 / 3))
    # A kink off the middle: P(z > 0) for a mean of half a deviation.
    assert of(REGISTRY["relu"], 0.5, 1.0)[1] == pytest.approx(0.6914625, abs=1e-3)


def test_he_keeps_the_scale_of_relu_by_prediction() -> None:
    rows = prop.diagnose(deep(5, prop.relu), BATCH).rows
    for row in rows[1:-2]:
        assert row.forward_predicted == pytest.approx(1.0, rel=1e-3)
        assert row.backward_predicted == pytest.approx(1.0, rel=1e-3)


def test_moved_weights_are_taken_as_they_are() -> None:
    trainer = deep(3, prop.relu)
    for name in ("w0", "w1", "w2"):
        trainer.parameters[name][...] *= 3
    rows = prop.diagnose(trainer, BATCH).rows
    assert rows[1].forward_predicted == pytest.approx(3.0, rel=0.1)
    assert rows[0].backward_predicted == pytest.approx(3.0, rel=0.1)


# --- activations of every kind ------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, op in REGISTRY.items() if op.arity == 1])
def test_every_op_of_one_argument_has_a_curve(name: str) -> None:
    op = REGISTRY[name]
    curve = curve_of(op)
    flat = {"sigmoid", "tanh", "erf", "erfc", "normal_cdf", "gaussian", "sech2", "normal_pdf"}
    dying = {"relu", "elu", "gelu", "gelu_tanh", "silu", "softplus", "log_sigmoid"}
    if name in flat | dying:
        assert curve.saturates == (name in flat)
        assert curve.dies == (name in dying)
    elif name in ("leaky_relu", "abs", "square", "sin", "cos"):
        assert not curve.saturates
        assert not curve.dies


def test_a_function_written_out_is_read_as_one() -> None:
    own = prop.elementwise("hard_tanh", lambda z: prop.clip(z, -1, 1))
    rows = prop.diagnose(deep(1, own), BATCH).rows
    assert rows[0].activation == "hard_tanh"
    assert rows[0].saturated is not None
    assert rows[0].saturated > 0.2
    rows = prop.diagnose(deep(1, lambda z: z * prop.sigmoid(z)), BATCH).rows
    same = prop.diagnose(deep(1, prop.silu), BATCH).rows
    assert rows[0].activation == "sigmoid(z)*z"
    assert rows[0].backward_predicted == pytest.approx(same[0].backward_predicted)
    rows = prop.diagnose(deep(1, lambda z: prop.where(z > 0, z, 0.0), bias=-100.0), BATCH).rows
    assert rows[0].dead == 1.0


# --- networks of every kind ---------------------------------------------------------------------


def trained(network: networks.Network) -> prop.Trainer:
    return prop.training_step(network[0], prop.SGD(1e-3)).compile()


def test_a_convolutional_network_is_read() -> None:
    data = {"x": RNG.random((16, 1, 28, 28)), "y": RNG.integers(0, 10, 16)}
    found = prop.diagnose(trained(networks.lenet()), data)
    names = [row.name.partition(".")[0] for row in found.rows]
    assert names == ["c1", "c2", "d1", "d2", "out"]
    assert found.rows[0].shape == (16, 6, 28, 28)
    assert found.rows[0].dead is not None  # a unit is a channel: its places are seen together
    assert float(found.rows[0].dead * 6).is_integer()


@pytest.mark.parametrize("regions", [True, False])
def test_a_transformer_is_read_region_by_region(regions: bool) -> None:
    network = networks.transformer(2, 16, 2, 8, regions=regions)
    data = {"ids": RNG.integers(0, 27, (4, 8)), "following": RNG.integers(0, 27, (4, 8))}
    found = prop.diagnose(trained(network), data)
    parts = [f"block{k}.{name}" for k in (0, 1) for name in ("qkv", "out", "up", "down")]
    assert [row.name for row in found.rows] == [*parts, "head.weight"]
    assert found.rows[2].activation == "gelu"
    assert kinds(found) == []


def test_an_activation_of_a_normalised_value_is_a_row_of_its_own() -> None:
    x = prop.input("x", "batch pixel=64")
    h = prop.relu(prop.batch_norm(prop.Dense(32, name="hidden")(x), axes=0))
    loss = prop.cross_entropy(
        prop.Dense(10, name="logits")(h), prop.labels("y", "batch", classes=10)
    )
    rows = prop.diagnose(trained((loss, [])), BATCH).rows
    assert [row.activation for row in rows] == ["", "relu", ""]
    assert rows[1].before.rms == pytest.approx(1.0, rel=1e-3)
    assert [row.product for row in rows] == [True, False, True]


def test_a_residual_sum_is_the_pre_activation_of_its_product() -> None:
    x = prop.input("x", "batch pixel=64")
    h = x + prop.Dense(64, name="branch")(prop.tanh(x))
    loss = prop.mse(prop.relu(h), prop.input("y", "batch pixel=64"))
    rows = prop.diagnose(trained((loss, [])), {"x": BATCH["x"], "y": BATCH["x"]}).rows
    assert [(row.name, row.activation) for row in rows] == [("branch", "relu")]
    assert rows[0].forward_predicted is None


def test_the_error_of_a_regression_is_no_pre_activation() -> None:
    x, y = prop.input("x", "batch pixel=64"), prop.input("y", "batch")
    line = (x @ prop.parameter("w", 64, normal(1.0))).named("line")
    loss = prop.mean((line - y) ** 2)
    data = {"x": BATCH["x"], "y": BATCH["x"][:, 0]}
    (row,) = prop.diagnose(trained((loss, [])), data).rows
    assert (row.name, row.shape, row.activation) == ("line", (32,), "")


def test_a_square_in_the_loss_is_no_activation() -> None:
    x = prop.input("x", "batch pixel=64")
    z = x @ prop.parameter("w", (64, 8), prop.Orthogonal())
    for value, name in ((z, ""), (prop.tanh(z), "tanh"), (z * prop.sigmoid(z), "")):
        found = prop.diagnose(trained((prop.mean(prop.square(value)), [])), {"x": BATCH["x"]})
        assert [row.activation for row in found.rows] == [name]


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_read_and_shown(seed: int) -> None:
    network = Network(seed)
    if network.w.node not in leaves([network.loss.node]):
        return  # nothing to train
    trainer = prop.training_step(network.loss, prop.SGD(1e-3)).compile(dtype="float64")
    needed = {leaf.name for leaf in trainer.training_step.compiled("numpy", "float64").inputs}
    arrays = network.data(seed)
    data = {leaf.name: a for leaf, a in arrays.items() if not isinstance(leaf, str)}
    found = prop.diagnose(trainer, {n: a for n, a in data.items() if n in needed and n != "w"})
    assert str(found)
    assert found._repr_html_()
    json.dumps(found.to_json(), allow_nan=False)


def test_layers_and_products_read_alike() -> None:
    x, y = prop.input("x", "batch pixel=64"), prop.labels("y", "batch", classes=10)
    net = prop.Sequential(
        prop.Dense(64, name="w0", bias=False), prop.tanh, prop.Dense(10, name="v", bias=False)
    )
    layered = read_network(prop.cross_entropy(net(x), y).node)
    h = prop.tanh(x @ prop.parameter("w0", (64, 64), prop.He()).T)
    raw = read_network(prop.cross_entropy(h @ prop.parameter("v", (10, 64), prop.He()).T, y).node)
    shown = [
        [(m.name, m.depth, m.units, m.plain, m.activation and m.activation.name) for m in n.layers]
        for n in (layered, raw)
    ]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("units", [1, 2])
def test_layers_of_one_unit_are_seen(units: int) -> None:
    x = prop.input("x", f"batch pixel={units}")
    net = prop.Sequential(prop.Dense(1, name="a"), prop.tanh, prop.Dense(3, name="b"))
    loss = prop.cross_entropy(net(x), prop.labels("y", "batch", classes=3))
    data = {"x": RNG.normal(size=(20, units)), "y": RNG.integers(0, 3, 20)}
    assert [row.name for row in prop.diagnose(trained((loss, [])), data).rows] == ["a", "b"]


def test_a_scan_is_named_as_not_looked_into() -> None:
    x = prop.input("x", "time=5 batch pixel=4")
    w = prop.parameter("w", (4, 4), prop.He())
    last, _ = prop.scan(lambda h, s: (prop.tanh(h @ w.T + s), h), prop.sum(x, 0) * 0.0, x)
    loss = prop.mean(prop.square(last))
    found = prop.diagnose(trained((loss, [w])), {"x": RNG.normal(size=(5, 3, 4))})
    assert found.rows == ()
    assert "inside of the scan" in str(found)


def test_a_value_that_no_gradient_reaches_says_none() -> None:
    x = prop.input("x", "batch pixel=64")
    z = prop.stop_gradient(prop.Dense(8, name="frozen")(x))
    loss = prop.mean(prop.square(prop.Dense(1, name="head")(prop.relu(z))))
    rows = prop.diagnose(trained((loss, [])), {"x": BATCH["x"]}).rows
    assert rows[0].delta is None
    assert rows[-1].delta is not None


# --- how it is shown ------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The tags, which must close in order, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_hostile_names_are_escaped() -> None:
    found = prop.diagnose(deep(1, prop.relu), BATCH)
    rows = [replace(row, name="w<script>\x1b[31m") for row in found.rows]
    found = replace(found, measured=replace(found.measured, layers=tuple(rows)))
    page = Cells()
    page.feed(found._repr_html_())
    assert not page.open
    assert "<script" not in found._repr_html_()
    assert "w<script>\\x1b[31m" in page.text
    assert "\x1b" not in str(found)


def test_text_table_html_and_data_agree(capsys: pytest.CaptureFixture[str]) -> None:
    found = prop.diagnose(deep(12, prop.relu, normal(0.02)), BATCH)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [row["name"] for row in data["layers"]] == [row.name for row in found.rows]
    assert data["findings"][0]["kind"] == "gradient vanishes"
    assert all(len(line) <= 100 for line in str(found).splitlines())
    found.print()
    shown = capsys.readouterr().out
    for row in found.rows:
        assert row.name in shown
        assert row.name in found._repr_html_()
        assert row.name in str(found)
    assert "it vanishes" in " ".join(shown.split())


def test_numbers_that_are_none_are_null_in_json() -> None:
    trainer = deep(1, prop.relu)
    trainer.parameters["w0"][0, 0] = np.inf
    data = prop.diagnose(trainer, BATCH).to_json()
    json.dumps(data, allow_nan=False)
    assert data["parameters"][0]["value"]["largest"] is None


# --- what it refuses --------------------------------------------------------------------------


def test_anything_but_a_trainer_is_refused() -> None:
    trainer = deep(1, prop.relu)
    for wrong in (trainer.training_step, None, "trainer"):
        with pytest.raises(prop.DeclarationError, match="needs a trainer"):
            prop.diagnose(wrong, BATCH)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "batch", [{}, {"x": BATCH["x"]}, {**BATCH, "x": np.ones((32, 63))}, {**BATCH, "z": np.ones(3)}]
)
def test_a_batch_that_a_step_refuses_is_refused_alike(batch: Any) -> None:
    trainer = deep(1, prop.relu)
    with pytest.raises(prop.SympropError) as step:
        trainer.step(batch)
    with pytest.raises(prop.SympropError) as found:
        prop.diagnose(trainer, batch)
    assert str(step.value) == str(found.value)


def test_findings_are_made_of_the_numbers_alone() -> None:
    measured = prop.diagnose(deep(12, prop.relu, normal(0.02)), BATCH).measured
    assert findings(measured) == findings(copy.deepcopy(measured))
