import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture as Mixture

import tfnvp
from tests.conftest import perturb
from tfnvp import _internals
from tfnvp.bases.gaussian_mixture import choose_mixture


@pytest.fixture
def boxes():
    """Two independent variables: one of two narrow uniforms, one wide one."""
    generator = np.random.default_rng(0)
    first = generator.uniform(0.0, 0.01, 3000) + generator.integers(0, 2, 3000)
    return np.stack([first, generator.uniform(0.0, 5.0, 3000)], axis=1).astype("float32")


def test_a_mixture_starts_close_to_the_density_of_its_sample(boxes):
    base = tfnvp.bases.logistic_mixture(boxes, components=10)
    entropy = -np.log(0.5 / 0.01) + np.log(5.0)
    nats = -float(np.mean(base.log_prob(boxes)))
    # A cell may span the gap between the two uniforms.
    assert entropy < nats < entropy + 0.8
    # One logistic for each variable is far worse.
    single = tfnvp.bases.logistic_mixture(boxes, components=1)
    assert -float(np.mean(single.log_prob(boxes))) > nats + 2


def test_units_do_not_matter(boxes):
    expected = tfnvp.bases.logistic_mixture(boxes, components=4).log_prob(boxes)
    unit = 2.0**-30
    found = tfnvp.bases.logistic_mixture(boxes * unit, components=4).log_prob(boxes * unit)
    found += boxes.shape[1] * np.log(unit)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_flow_trains_it(boxes):
    base = tfnvp.bases.logistic_mixture(boxes, components=3)
    flow = tfnvp.NICE(2, couplings=2, hidden_units=(4,), base=base)
    assert len(flow.trainable_variables) == 2 * 4 + 1 + 3
    before = [v.numpy() for v in base.trainable_variables]
    flow.compile("adam", run_eagerly=True)
    flow.fit(boxes[:64], epochs=1, verbose=0)
    for old, new in zip(before, base.trainable_variables, strict=True):
        assert (old != new.numpy()).any()


def test_log_density_is_that_of_the_formula():
    z = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    base = perturb(tfnvp.bases.logistic_mixture(z, components=4))
    components = base.distribution.components_distribution
    logits = base.distribution.mixture_distribution.logits.numpy()
    loc, scale = components.loc.numpy(), tf.convert_to_tensor(components.scale).numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    u = np.exp(-(z[..., np.newaxis] - loc) / scale)
    expected = np.log((shares * u / (scale * (1 + u) ** 2)).sum(axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(base.log_prob(z), expected, rtol=1e-4)


@pytest.mark.parametrize("components", [0, 6, 2.5])
def test_a_number_of_components_that_does_not_fit_is_refused(components):
    with pytest.raises(ValueError, match="`components` must be a positive int, at most 5"):
        tfnvp.bases.logistic_mixture(np.zeros((5, 2)), components)


@pytest.mark.parametrize("z", [np.full((5, 2), np.nan), np.zeros((0, 2)), np.zeros(5)])
def test_latents_of_a_mixture_are_finite_rows(z):
    for mixture in (tfnvp.bases.logistic_mixture, tfnvp.bases.gaussian_mixture):
        with pytest.raises(ValueError, match=r"`z` must be .* of finite numbers"):
            mixture(z, 1)


@pytest.fixture(scope="module")
def clusters():
    """Four narrow clusters in correlated units."""
    generator = np.random.default_rng(0)
    places = generator.normal(size=(4, 3)) * 3
    z = places[generator.integers(4, size=800)] + 0.1 * generator.normal(size=(800, 3))
    return (z @ generator.normal(size=(3, 3))).astype("float32")


def test_gaussians_start_as_the_mixture_of_scikit_learn_and_a_wide_one(clusters):
    base = tfnvp.bases.gaussian_mixture(clusters, components=3, ridge=1e-3, seed=1)
    z = clusters.astype("float64")
    fitted = Mixture(3, reg_covar=1e-3, random_state=1).fit(z)
    wide = multivariate_normal(z.mean(axis=0), 25 * (np.cov(z.T, bias=True) + 1e-3 * np.eye(3)))
    for rows in (z, 100.0 * z[:5]):
        parts = [fitted.score_samples(rows) + np.log(len(z)), wide.logpdf(rows)]
        nats = logsumexp(parts, axis=0) - np.log(len(z) + 1)
        np.testing.assert_allclose(base.log_prob(rows.astype("float32")), nats, 1e-4, 1e-3)
    stacked = base.log_prob(clusters.reshape(2, 400, 3))
    np.testing.assert_allclose(stacked, base.log_prob(clusters).numpy().reshape(2, 400), rtol=1e-6)


def test_log_density_and_samples_of_gaussians_are_those_of_the_formula(clusters):
    base = perturb(tfnvp.bases.gaussian_mixture(clusters, components=2, ridge=0.1))
    assert [weight.shape[0] for weight in base.trainable_variables] == [3, 3, 3]
    factor = np.triu(base.precision_factor.numpy().astype("float64"))
    covariance = np.linalg.inv(factor @ factor.transpose(0, 2, 1))
    log_weights = base.logits.numpy() - logsumexp(base.logits.numpy())
    parts = [
        multivariate_normal(loc, of_one).logpdf(clusters) + log_weight
        for loc, of_one, log_weight in zip(base.loc.numpy(), covariance, log_weights, strict=True)
    ]
    np.testing.assert_allclose(base.log_prob(clusters), logsumexp(parts, axis=0), rtol=1e-4)
    drawn = base.sample(100_000, seed=(0, 1)).numpy()
    weights, loc = np.exp(log_weights), base.loc.numpy()
    mean = weights @ loc
    second = np.einsum("k,kij->ij", weights, covariance + loc[:, :, None] * loc[:, None])
    spread = np.sqrt(np.diag(second - np.outer(mean, mean)))
    np.testing.assert_allclose(drawn.mean(axis=0), base.mean(), atol=0.02 * spread.max())
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02 * spread.max())
    np.testing.assert_allclose(
        np.cov(drawn.T), second - np.outer(mean, mean), atol=0.03 * spread.max() ** 2
    )


def test_samples_of_gaussians_depend_neither_on_their_number_nor_on_the_compiler(clusters):
    base = tfnvp.bases.gaussian_mixture(clusters, components=4, ridge=0.1)

    def draw(n, **options):
        return tf.function(lambda: base.sample(n, seed=(0, 1)), **options)()

    drawn = draw(50)
    for others in (base.sample(7, seed=(0, 1)), draw(1), draw(0), draw(13, jit_compile=True)):
        np.testing.assert_allclose(others, drawn[: len(others)], rtol=1e-4, atol=1e-4)
    with tf.GradientTape() as tape:
        spread = tf.reduce_sum(base.sample(9, seed=(0, 1)) ** 2)
    loc, factor = tape.gradient(spread, [base.loc, base.precision_factor])
    assert tf.reduce_any(loc != 0)
    assert tf.reduce_any(factor != 0)


def test_draws_of_gaussians_need_no_array_for_each_component():
    base = tfnvp.bases.GaussianMixture(
        np.zeros(50), np.zeros((50, 3)), np.tile(np.eye(3), (50, 1, 1))
    )
    graph = tf.function(lambda: base.sample(1000, seed=(0, 1))).get_concrete_function().graph
    sizes = [t.shape.num_elements() for t, _ in _internals.results_in(graph)]
    assert max(sizes) <= 2 * 1000 * 3


def test_held_out_rows_choose_the_gaussians(clusters):
    assert choose_mixture(clusters, ridges=(10.0, 1e-2, 1e-3)) == (4, 1e-3)
    assert choose_mixture(clusters, counts=(64,), least_rows=100)[0] == 8
    assert choose_mixture(clusters[:2]) == (1, 1e-2)
    # Rows that are held out are in no other part, however often there is each.
    assert choose_mixture(np.repeat(clusters, 3, axis=0), ridges=(10.0, 1e-2, 1e-3)) == (4, 1e-3)
    noise = np.random.default_rng(0).normal(size=(60, 4))
    unequal = np.repeat(noise, 1 + np.arange(60) % 40, axis=0)
    assert choose_mixture(unequal, ridges=(0.1, 1e-6)) == (1, 0.1)
    # The covariances of many columns have too many numbers.
    assert choose_mixture(np.zeros((300, 1500)), counts=(64,), ridges=(1.0,)) == (1, 1.0)


def test_a_flow_over_gaussians_is_saved(clusters, tmp_path):
    base = tfnvp.bases.gaussian_mixture(clusters, components=2, ridge=0.01)
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(4,), base=base)
    perturb(flow)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.log_prob(clusters), flow.log_prob(clusters))
    assert len(loaded.trainable_variables) == len(flow.trainable_variables)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"components": 0}, "`components` must be a positive int. Received: 0"),
        ({"ridge": 0.0}, "`ridge` must be above 0 and finite. Received: 0.0"),
        ({"ridge": ()}, "`ridge` must be above 0"),
    ],
)
def test_arguments_of_gaussians_out_of_range_are_errors(clusters, arguments, message):
    with pytest.raises(ValueError, match=message):
        tfnvp.bases.gaussian_mixture(clusters, **arguments)


@pytest.mark.parametrize(
    ("logits", "loc", "factor"),
    [([0.0] * 3, [2, 2], [2, 2, 2]), ([0.0] * 2, [2], [2, 2, 2]), ([0.0] * 2, [2, 2], [2, 2, 3])],
)
def test_arrays_of_a_mixture_must_fit(logits, loc, factor):
    with pytest.raises(ValueError, match=r"must have the shapes \[k\], \[k, D\]"):
        tfnvp.bases.GaussianMixture(logits, np.zeros(loc), np.ones(factor))
