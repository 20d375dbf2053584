"""Networks in half precision, likelihoods in single: Keras' policies, of all or of one flow."""

import keras
import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb

pytestmark = pytest.mark.usefixtures("eagerly_throughout")

# NICE makes its networks as Real NVP does.
_FLOWS = {
    "real_nvp": lambda **kwargs: tfnvp.RealNVP(6, couplings=2, hidden_units=(16, 16), **kwargs),
    "neural_spline": lambda **kwargs: tfnvp.NeuralSplineFlow(6, 2, (16, 16), bins=3, **kwargs),
    "image_real_nvp": lambda **kwargs: tfnvp.ImageRealNVP(
        (2, 2, 1), scales=1, base_filters=4, residual_blocks=0, levels=None, **kwargs
    ),
    "jet": lambda **kwargs: tfnvp.Jet((2, 2, 2), 2, 1, 8, 2, 1, spatial_every=2, **kwargs),
}


def _rows(flow):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (32, *flow.event_shape))
    return x.astype("float32")


@pytest.mark.parametrize("name", _FLOWS)
def test_a_flow_of_half_precision_has_nearly_the_likelihood_of_single(name):
    single, half = _FLOWS[name](), _FLOWS[name](conditioner_dtype="mixed_bfloat16")
    perturb(single, 0.1)
    half.set_weights(single.get_weights())
    x = _rows(single)
    ours, expected = half.log_prob(x).numpy(), single.log_prob(x).numpy()
    assert ours.dtype == np.float32
    assert all(weight.dtype == "float32" for weight in half.trainable_weights)
    np.testing.assert_allclose(ours, expected, rtol=0.02, atol=0.05)
    # Half precision is really used, and the inverse is exact all the same: it uses the same.
    assert np.abs(ours - expected).max() > 0
    np.testing.assert_allclose(half.decode(half.encode(x)), x, atol=2e-3)


@pytest.mark.parametrize("name", _FLOWS)
def test_the_policy_of_one_flow_is_saved_and_trains(name, tmp_path):
    flow = _FLOWS[name](conditioner_dtype="mixed_bfloat16")
    flow.compile("adam")
    flow.fit(_rows(flow), batch_size=16, epochs=1, verbose=0)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    x = _rows(flow)
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))


def test_the_global_policy_is_for_networks_alone():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        flow = _FLOWS["real_nvp"]()
    finally:
        keras.config.set_dtype_policy("float32")
    assert flow.compute_dtype == "float32"
    dtypes = {layer.compute_dtype for layer in flow.keras_layers}
    assert "bfloat16" in dtypes
    assert flow.log_prob(_rows(flow)).dtype == "float32"
