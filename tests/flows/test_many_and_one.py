"""A call on many rows gives each row what a call on it alone gives, with its own condition."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp import scoring
from tfnvp.export.signatures import make_signatures
from tfnvp.export.weights import StoredWeights
from tfnvp.flows import calls
from tfnvp.flows.inpainting import inpaint

RNG = np.random.default_rng(0)
N = 1003
X = RNG.normal(size=(N, 2)).astype("float32")
C = RNG.normal(size=(N, 3)).astype("float32")
SEEDS = RNG.integers(0, 100, size=(N, 2)).astype("int32")
# The ends, and both sides of the place where long arrays are divided.
ROWS = (0, 999, 1000, N - 1)
SEED = (3, 4)

#: Conditions of the many, and of row `i` alone.
CONDITIONS = {
    "none": (None, lambda i: None),
    "one for all": (C[5], lambda i: C[5]),
    "one each": (C, lambda i: C[i : i + 1]),
    "one each, by a network": (C, lambda i: C[i : i + 1]),
    "one each, by a network, to splines": (C, lambda i: C[i : i + 1]),
}
each_condition = pytest.mark.parametrize("kind", CONDITIONS)
#: Every kind of conditions, and every temperature with one of the kinds.
conditions_and_temperatures = pytest.mark.parametrize(
    ("kind", "temperature"),
    [
        ("none", 1.0),
        ("one for all", 2.0),
        *(("one each", temperature) for temperature in (0.0, 0.5, 1.0, 2.0)),
        ("one each, by a network", 0.5),
        ("one each, by a network, to splines", 0.5),
    ],
)


@pytest.fixture(autouse=True)
def _in_pieces(monkeypatch):
    monkeypatch.setattr(calls, "_CHUNK_ELEMENTS", 2 * 1000)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def flows():
    return {
        "none": perturb(tfnvp.RealNVP(2, 2, (4,))),
        **dict.fromkeys(
            ("one for all", "one each"), perturb(tfnvp.RealNVP(2, 2, (4,), condition_shape=3))
        ),
        "one each, by a network": perturb(
            tfnvp.RealNVP(
                *(2, 2, (4,)), condition_shape=3, condition_network=keras.layers.Dense(5, "tanh")
            )
        ),
        "one each, by a network, to splines": perturb(
            tfnvp.NeuralSplineFlow(
                *(2, 2, (4,), 3), condition_shape=3, condition_network=keras.layers.Dense(5, "tanh")
            )
        ),
    }


@pytest.fixture(scope="module")
def signatures(flows):
    made = {}
    for kind, flow in flows.items():
        all_ = make_signatures(flow, StoredWeights(flow, "float32"), False, 10**4)
        made[kind] = {name: signature.function for name, signature in all_.items()}
    return made


def assert_rows(many, one):
    """Compares rows of an answer for many with `one(i)`, the answer for row `i` alone."""
    assert len(many) == N
    for i in ROWS:
        np.testing.assert_allclose(many[i], np.asarray(one(i))[0], rtol=1e-4, atol=1e-5, err_msg=i)


def predict(flow, x, condition):
    if condition is None:
        return flow.predict(x, batch_size=100, verbose=0)
    rows = np.broadcast_to(condition, (len(x), 3))
    return flow.predict({"x": x, "condition": rows}, batch_size=100, verbose=0)


CALLS = {
    "log_prob": lambda flow, x, c: flow.log_prob(x, c),
    "encode": lambda flow, x, c: flow.encode(x, c),
    "decode": lambda flow, x, c: flow.decode(x, c),
    "decode_and_log_prob": lambda flow, x, c: flow.decode_and_log_prob(x, c)[1],
    "predict": predict,
    "distribution": lambda flow, x, c: flow.distribution.log_prob(
        x, **({} if c is None else {"condition": flow.embed_condition(c)})
    ),
}


@each_condition
@pytest.mark.parametrize("call", CALLS)
def test_of_a_flow(flows, kind, call):
    flow, (many, alone) = flows[kind], CONDITIONS[kind]
    answer = CALLS[call](flow, X, many)
    assert_rows(answer, lambda i: CALLS[call](flow, X[i : i + 1], alone(i)))


@each_condition
def test_an_evaluation_is_the_mean_over_rows(flows, kind):
    flow, (many, _) = flows[kind], CONDITIONS[kind]
    flow.compile(run_eagerly=True)
    condition = None if many is None else np.broadcast_to(many, (N, 3))
    loss = flow.evaluate(X, condition, batch_size=100, verbose=0)
    np.testing.assert_allclose(loss, -np.mean(flow.log_prob(X, many)), rtol=1e-5)


@conditions_and_temperatures
def test_of_samples(flows, kind, temperature):
    """Temperature scales latents, once."""
    flow, (many, alone) = flows[kind], CONDITIONS[kind]
    z = temperature * flow.sample_latents(N, SEED)
    samples = flow.sample(N, SEED, temperature, many)
    assert_rows(samples, lambda i: flow.decode(z[i : i + 1], alone(i)))


@each_condition
def test_of_an_interpolation(flows, kind):
    flow, rows, columns = flows[kind], 17, 59  # 1003 points
    condition = None if kind == "none" else C[5]
    corners = [flow.encode(x[np.newaxis], condition) for x in X[:4]]
    a, b = np.linspace(0, np.pi / 2, rows), np.linspace(0, np.pi / 2, columns)
    grid = tf.reshape(flow.interpolate(X[:4], rows, columns, condition), (N, 2))

    def one(i):
        r, c = divmod(i, columns)
        top = np.cos(b[c]) * corners[0] + np.sin(b[c]) * corners[1]
        bottom = np.cos(b[c]) * corners[2] + np.sin(b[c]) * corners[3]
        return flow.decode(np.cos(a[r]) * top + np.sin(a[r]) * bottom, condition)

    assert_rows(grid, one)


def test_of_an_inpainting():
    flow = perturb(tfnvp.RealNVP((2, 2), 2, (4,), condition_shape=3))
    images, conditions, hidden = RNG.uniform(size=(5, 2, 2)), C[:5], np.eye(2, dtype=bool)
    many = inpaint(flow, images, hidden, 3, 1e-2, condition=conditions)
    for i in range(5):
        # The noise depends on the number of images.
        alike = inpaint(flow, images, hidden, 3, 1e-2, condition=np.tile(conditions[i], (5, 1)))
        np.testing.assert_allclose(many[i], alike[i], rtol=1e-5)
    assert np.abs(many - alike)[:4].max() > 1e-3


def test_of_scores(flows):
    flow = flows["none"]
    reference = scoring.make_reference(flow, RNG.normal(size=(200, 2)).astype("float32"))
    many = scoring.score(flow, X, reference)
    for name in ("log_density", "quantile", "outlier"):
        assert_rows(
            getattr(many, name).astype("float32"),
            lambda i, name=name: getattr(scoring.score(flow, X[i : i + 1], reference), name),
        )


# --- Served ---------------------------------------------------------------------------------------


def served(signature, kind, i=None, /, **inputs):
    """Answers of a signature for all rows or for row `i`; conditions have a batch axis there."""
    rows = slice(None) if i is None else slice(i, i + 1)
    inputs = {k: v[rows] if np.ndim(v) else v for k, v in inputs.items()}
    if kind == "one for all":
        inputs["condition"] = C[5:6]
    elif "one each" in kind:
        inputs["condition"] = C[rows]
    (*_, answer) = signature(*map(tf.convert_to_tensor, inputs.values())).values()
    return answer


@each_condition
@pytest.mark.parametrize("name", ["log_prob", "encode", "decode"])
def test_of_signatures(flows, signatures, kind, name):
    signature, (many, _) = signatures[kind][name], CONDITIONS[kind]
    answer = served(signature, kind, x=X)
    assert_rows(answer, lambda i: served(signature, kind, i, x=X))
    np.testing.assert_allclose(answer, CALLS[name](flows[kind], X, many), rtol=1e-4, atol=1e-5)


@conditions_and_temperatures
def test_of_served_samples(flows, signatures, kind, temperature):
    flow, (many, _) = flows[kind], CONDITIONS[kind]
    expected = flow.sample(N, SEED, temperature, many)
    condition = [] if many is None else [np.reshape(many, (-1, 3))]
    given = (tf.constant(N), tf.constant(SEED), tf.constant(temperature), *condition)
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    answer = signatures[kind]["sample"](*given)["x"]
    np.testing.assert_allclose(answer, expected, **tolerance)
    answer = signatures[kind]["sample_and_log_prob"](*given)
    np.testing.assert_allclose(answer["x"], expected, **tolerance)
    densities = flow.log_prob(answer["x"], many)
    np.testing.assert_allclose(answer["log_prob"], densities, rtol=1e-3, atol=1e-3)


@each_condition
def test_of_samples_by_a_seed_for_each(flows, signatures, kind):
    # A map over rows takes long where it is no graph.
    tf.config.run_functions_eagerly(False)
    signature, temperatures = signatures[kind]["sample_rows"], np.linspace(0, 2, N, dtype="float32")
    answer = served(signature, kind, seed=SEEDS, temperature=temperatures)
    assert_rows(answer, lambda i: served(signature, kind, i, seed=SEEDS, temperature=temperatures))
    for i in ROWS:
        z = temperatures[i] * flows[kind].sample_latents(1, SEEDS[i])
        expected = flows[kind].decode(z, CONDITIONS[kind][1](i))
        np.testing.assert_allclose(answer[i], expected[0], rtol=1e-4, atol=1e-5)


@each_condition
def test_of_served_interpolations(signatures, kind):
    signature = signatures[kind]["interpolate"]
    corners = X[(np.arange(N)[:, np.newaxis] + np.arange(4)) % N]
    weights = RNG.uniform(size=(N, 4)).astype("float32")
    answer = served(signature, kind, corners=corners, weights=weights)
    assert_rows(answer, lambda i: served(signature, kind, i, corners=corners, weights=weights))


@pytest.mark.parametrize("kind", ["none", "one each"])
def test_of_many_sizes_by_few_programs(flows, kind, monkeypatch):
    """Rows that fill up a program change nothing."""
    all_expected = flows[kind].encode(X, CONDITIONS[kind][0])
    monkeypatch.setattr(calls, "_COMPILED_ROWS", 16)
    monkeypatch.setattr(type(flows[kind]), "uses_xla", lambda flow: True)
    run, used = calls.CompiledCalls(flows[kind]), set()

    def encode(x, condition):
        used.add(len(x))
        return flows[kind]._encode(x, condition)

    monkeypatch.setattr(run, "function", lambda name, xla=False: encode)
    for rows in range(16, 40):
        condition = None if kind == "none" else tf.constant(C[:rows])
        found = run.run("_encode", tf.constant(X[:rows]), condition)
        np.testing.assert_allclose(found, all_expected[:rows], rtol=1e-5, atol=1e-6)
    # Four as they are, and those of an octave: 20, 24, 28, 32, and then 40.
    assert used == {16, 17, 18, 19, 20, 24, 28, 32, 40}
