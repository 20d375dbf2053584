import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb


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


@pytest.mark.parametrize("components", [0, 6])
def test_a_number_of_components_that_does_not_fit_is_refused(components):
    with pytest.raises(ValueError, match="`components` must be from 1 to the number of rows, 5"):
        tfnvp.bases.logistic_mixture(np.zeros((5, 2)), components)
