import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import functions_eager, perturb
from tfnvp import _internals
from tfnvp.bijectors import AffineCoupling, Logit, MultiScale, Squeeze
from tfnvp.bijectors.compose import value_and_log_det
from tfnvp.conditioners import ResidualCNN
from tfnvp.partitions import Channels, Checkerboard
from tfnvp.running_statistics import RunningStatistics

tfd = tfp.distributions
SMALL = {"base_filters": 2, "residual_blocks": 1}
MODERN = {
    "network": "gated",
    "normalization": None,
    "squeeze_first": True,
    "channel_maps": "lu",
    "dequantization": "variational",
}


def images(n, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape)).astype("uint8")


def floats(n, shape, seed=0):
    return ((images(n, shape, seed) + 0.5) / 256).astype("float32")


def set_statistics(flow, seed=0):
    """Gives every normalization, also those inside of networks, statistics of its own."""
    generator = np.random.default_rng(seed)
    layers = [sub for layer in flow.keras_layers for sub in _internals.all_layers(layer)]
    found = [layer for layer in layers if isinstance(layer, RunningStatistics)]
    for layer in found:
        layer.mean.assign(generator.normal(0.0, 0.3, layer.channels))
        layer.variance.assign(generator.uniform(0.5, 2.0, layer.channels))
    return len(found)


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


@pytest.fixture
def float64():
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def inverse(flow, x):
    return value_and_log_det(flow.bijector, x, 3)


@pytest.mark.parametrize(
    ("shape", "scales", "blocks", "options"),
    [
        ((4, 4, 1), 2, 1, {}),
        ((3, 5, 2), 1, 0, {"normalization": "act_norm"}),
        ((2, 3, 1), 1, 1, {"normalization": None}),
        ((8, 4, 1), 2, 1, MODERN),
    ],
)
def test_log_det_and_inverse_are_exact(shape, scales, blocks, options, float64):
    flow = tfnvp.ImageRealNVP(shape, scales, 2, blocks, **options)
    perturb(flow, deviation=0.15)
    assert (set_statistics(flow) > 0) == (options != MODERN)
    if options.get("normalization") == "act_norm":
        flow.adapt(floats(8, shape))
        perturb(flow, deviation=0.05)
    x = np.random.default_rng(1).uniform(0.01, 0.99, size=(1, *shape))
    z, log_det = inverse(flow, tf.constant(x))
    assert z.dtype == tf.float64
    # Central differences, all in one batch.
    size, step = int(np.prod(shape)), 1e-6
    steps = step * np.eye(size).reshape(size, *shape)
    after, before = (inverse(flow, tf.constant(x + s))[0] for s in (steps, -steps))
    jacobian = (after - before).numpy().reshape(size, size) / (2 * step)
    expected = np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_det, [expected], rtol=1e-6)
    again, log_det = value_and_log_det(flow.bijector, z, 3, inverse=False)
    np.testing.assert_allclose(again, x, atol=1e-8)
    np.testing.assert_allclose(log_det, [-expected], rtol=1e-6)


def test_learned_dequantization_starts_uniform_and_stays_within_grey_levels():
    pixels = images(3, (8, 4, 1))
    x = tfnvp.data.dequantize(pixels, 256, seed=(0, 0))
    flow = tfnvp.ImageRealNVP((8, 4, 1), **SMALL, **MODERN)
    plain = tfnvp.ImageRealNVP((8, 4, 1), **SMALL, **{**MODERN, "dequantization": "uniform"})
    np.testing.assert_allclose(flow.log_prob(x), plain.log_prob(x), rtol=1e-5)
    moved = perturb(flow, deviation=0.5).bijector.bijectors[0].inverse(x)
    np.testing.assert_array_equal(tfnvp.data.quantize(moved), pixels)
    assert np.abs(moved - x).max() > 0.5 / 256


def test_latents_of_a_squeezed_flow_lie_at_their_pixels():
    flow = tfnvp.ImageRealNVP((8, 4, 1), **SMALL, **MODERN)
    scales = flow.latent_scales()
    squeezed = Squeeze().forward(tf.constant(scales, tf.float32))
    kept = Squeeze(order="ordered").forward(squeezed)
    np.testing.assert_array_equal(kept[0, 0], [1.0] * 8 + [0.0] * 8)


@pytest.mark.parametrize("shape", [(6, 8, 1), (8, 6, 1)])
def test_a_squeezed_flow_needs_one_more_even_size(shape):
    tfnvp.ImageRealNVP(shape, **SMALL)
    with pytest.raises(ValueError, match=r"divisible by 2\*\*scales = 4"):
        tfnvp.ImageRealNVP(shape, squeeze_first=True, **SMALL)


@pytest.fixture(scope="module")
def three_scales():
    """A flow of three scales, without normalizations."""
    return tfnvp.ImageRealNVP((8, 8, 1), scales=3, normalization=None, **SMALL)


def test_composition_is_that_of_the_paper(three_scales):
    even, odd = Checkerboard(True), Checkerboard()
    first, second = Channels(), Channels(True)

    def at_scale(members):
        couplings = [m for m in members if isinstance(m, AffineCoupling)]
        return [(m.partition, m.event_shape, m.conditioner.filters) for m in couplings]

    logit, *members = three_scales.bijector.bijectors
    assert isinstance(logit.bijector, Logit)
    shape, squeezed = (8, 8, 1), (4, 4, 4)
    assert at_scale(members) == [
        *((p, shape, 2) for p in (even, odd, even)),
        *((p, squeezed, 4) for p in (first, second, first)),
    ]
    assert isinstance(members[3].bijector, Squeeze)
    assert members[3].bijector.order == members[7].order == "channel_major"
    assert isinstance(members[8], MultiScale)

    members = members[8].inner.bijectors
    shape, squeezed = (4, 4, 2), (2, 2, 8)
    assert at_scale(members) == [
        *((p, shape, 4) for p in (even, odd, even)),
        *((p, squeezed, 8) for p in (first, second, first)),
    ]
    members = members[-1].inner.bijectors
    assert at_scale(members) == [(p, (2, 2, 4), 8) for p in (even, odd, even, odd)]
    assert len(members) == 4


def test_latents_leave_in_checkerboards(three_scales):
    flow = three_scales
    # Each 4 x 4 block: of the pixels that the first scale keeps, the second one keeps half.
    block = [[2, 0, 1, 0], [0, 2, 0, 1], [1, 0, 2, 0], [0, 1, 0, 2]]
    scales = flow.latent_scales()
    np.testing.assert_array_equal(scales[:, :, 0], np.tile(block, (2, 2)))
    # The coarser scales do not touch what has left.
    x = floats(2, (8, 8, 1))
    before = inverse(flow, x)[0].numpy()
    perturb(flow.bijector.bijectors[-1])
    after = inverse(flow, x)[0].numpy()
    np.testing.assert_array_equal(after[:, scales == 0], before[:, scales == 0])
    assert (after[:, scales > 0] != before[:, scales > 0]).any(axis=0).all()


def test_learned_dequantization_samples_pixels_beyond_the_bounds():
    """The logit with an `alpha` above 0 gives some: they are black or white."""
    flow = perturb(tfnvp.ImageRealNVP((4, 4, 1), scales=1, **MODERN, **SMALL), 0.1)
    x = flow.decode(np.random.default_rng(0).normal(scale=4.0, size=(20, 4, 4, 1))).numpy()
    assert x.min() >= 0.0
    assert x.max() <= 1.0
    assert {0, 255} <= set(flow.sample_images(50, temperature=4.0, seed=0).numpy().flat)


def test_bits_per_dim_of_a_known_density():
    shape = (2, 2, 1)
    uniform = tfd.Independent(tfd.Uniform(tf.zeros(shape), 0.5 * tf.ones(shape)), 3)
    flow = tfnvp.ImageRealNVP(
        shape, scales=1, alpha=None, normalization=None, base=uniform, **SMALL
    )
    # Couplings start as the identity. Half of the grey levels, equally often: 7 bits each.
    dark = images(5, shape) // 2
    np.testing.assert_allclose(flow.bits_per_dim(flow.log_prob(dark)), np.full(5, 7.0), rtol=1e-6)
    flow.compile()
    assert flow.evaluate(dark, verbose=0, return_dict=True)["bits_per_dim"] == pytest.approx(7.0)


def test_the_logit_counts():
    flow = tfnvp.ImageRealNVP((2, 2, 1), scales=1, normalization=None, alpha=0.1, **SMALL)
    x = floats(3, (2, 2, 1)).astype("float64")
    p = 0.1 + 0.8 * x
    z = np.log(p) - np.log(1 - p)
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) + np.log(0.8) - np.log(p) - np.log(1 - p)
    np.testing.assert_allclose(flow.log_prob(x), log_p.sum(axis=(1, 2, 3)), rtol=1e-5)


def test_whole_grey_levels_are_dequantized_afresh():
    flow = tfnvp.ImageRealNVP((2, 2, 1), scales=1, **SMALL)
    x = images(3, (2, 2, 1))
    first, second = flow.log_prob(x), flow.log_prob(x)
    assert (first.numpy() != second.numpy()).all()
    z = flow.encode(x)
    np.testing.assert_array_equal(tfnvp.data.quantize(flow.decode(z)), x)
    np.testing.assert_allclose(flow.log_prob(x.tolist()), first, atol=0.5)
    with pytest.raises(ValueError, match="grey levels from 0 to"):
        flow.log_prob(x.astype("int32") + 200)
    sharp = tfnvp.ImageRealNVP((2, 2, 1), scales=1, levels=None, **SMALL)
    with pytest.raises(ValueError, match="integers"):
        sharp.log_prob(x)
    with pytest.raises(ValueError, match="integers"):
        sharp.compile() or sharp.fit(x)
    with pytest.raises(ValueError, match="levels"):
        sharp.sample_images(1)


def test_sampled_images_are_the_grey_levels_of_samples():
    flow = perturb(tfnvp.ImageRealNVP((2, 2, 1), 1, condition_shape=3, levels=32, **SMALL))
    for seed, temperature, condition in [(0, 1.0, [1, 0, 0]), (1, 0.5, [0, 1, 0])]:
        given = 16, seed, temperature, condition
        expected = tfnvp.data.quantize(flow.sample(*given), 32)
        np.testing.assert_array_equal(flow.sample_images(*given), expected)
    assert len(np.unique(expected)) > 2


class CountingCNN(ResidualCNN):
    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return super().call(inputs)


def test_each_network_is_called_once(monkeypatch):
    monkeypatch.setattr("tfnvp.flows.image_real_nvp.ResidualCNN", CountingCNN)
    flow = tfnvp.ImageRealNVP((4, 4, 1), 2, 1, 0, normalization=None)
    x = tf.constant(floats(2, (4, 4, 1)))
    CountingCNN.calls = 0
    flow.distribution.log_prob(x)
    assert CountingCNN.calls == 10
    flow(x)
    assert CountingCNN.calls == 20
    flow.sample(2)
    assert CountingCNN.calls == 30


def test_training_changes_every_weight():
    flow = tfnvp.ImageRealNVP((2, 4, 1), scales=2, condition_shape=3, **SMALL)
    x, c = floats(8, (2, 4, 1)), np.eye(3, dtype="float32")[np.arange(8) % 3]
    before = [v.numpy() for v in flow.trainable_variables]
    optimizer = keras.optimizers.Adam(1e-2)
    for _ in range(2):  # The first step changes the last layers only: others have no gradient yet.
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow(x, c, training=True))
        gradients = tape.gradient(loss, [v.value for v in flow.trainable_variables])
        optimizer.apply_gradients(zip(gradients, flow.trainable_variables, strict=True))
    unchanged = [
        v.path
        for v, old in zip(flow.trainable_variables, before, strict=True)
        if (v.numpy() == old).all()
    ]
    assert unchanged == []

    pixels = floats(4, (2, 4, 1))
    log_prob = flow.log_prob(pixels, c[:4]).numpy()
    assert np.isfinite(log_prob).all()
    assert (log_prob != flow.log_prob(pixels, c[1:5]).numpy()).all()
    sample = flow.sample_images(4, seed=0, condition=c[0]).numpy()
    assert sample.dtype == np.uint8
    assert sample.shape == (4, 2, 4, 1)


def test_the_configuration_holds_every_argument():
    arguments = inspect.signature(tfnvp.ImageRealNVP).parameters
    flow = tfnvp.ImageRealNVP((2, 2, 1), 1, 1, 0, normalization=None)
    given = {"image_shape": [2, 2, 1], "scales": 1, "base_filters": 1, "residual_blocks": 0}
    given |= {"normalization": None, "conditioner_dtype": "float32", "name": flow.name}
    expected = {name: given.get(name, arguments[name].default) for name in arguments}
    assert flow.get_config() == expected


def test_no_images_give_no_rows():
    flow = tfnvp.ImageRealNVP((2, 2, 1), 1, 2, 1, levels=None, normalization=None)
    empty = np.zeros((0, 2, 2, 1), "float32")
    assert flow.log_prob(empty).shape == (0,)
    assert flow.distribution.log_prob(empty).shape == (0,)
    assert flow.distribution.sample(0).shape == flow.sample(0).shape == empty.shape
    coupling = next(b for b in flow.bijector.bijectors if isinstance(b, AffineCoupling))
    assert coupling.forward(tf.constant(empty)).shape == empty.shape


@pytest.mark.slow
def test_it_learns_from_data_sets_of_integers():
    flow = tfnvp.ImageRealNVP((2, 2, 1), 1, 1, 0, normalization="act_norm")
    x = 100 + images(64, (2, 2, 1)) // 8
    data = tf.data.Dataset.from_tensor_slices(x).batch(32)
    flow.compile(keras.optimizers.Adam(1e-2))
    with functions_eager(False):  # Steps are worth a graph.
        flow.fit(data, epochs=4, verbose=0)
    # The grey levels are 32 of 256: 5 bits.
    assert 4.8 < np.mean(flow.bits_per_dim(flow.log_prob(x))) < 5.8
    assert np.isfinite(flow.sample(50, seed=0)).all()
    assert int(flow.adaptation.done) == 1


def weights_of_a_network(inputs, outputs, filters, blocks):
    """Trainable weights of the paper's network, counted by hand."""
    input_norm, norm = inputs[0], filters
    stem = 9 * inputs[1] * filters + filters
    block = norm + 9 * filters**2 + norm + 9 * filters**2 + 2 * filters
    skips = (blocks + 1) * (filters**2 + 2 * filters)
    return input_norm + stem + blocks * block + skips + norm + filters * outputs + 2 * outputs


def test_the_number_of_weights_is_that_of_the_paper():
    c, f, blocks = 3, 4, 2
    flow = tfnvp.ImageRealNVP((4, 4, c), scales=2, base_filters=f, residual_blocks=blocks)
    checkerboard = weights_of_a_network((c, 2 * c + 1), 2 * c, f, blocks) + c
    channels = weights_of_a_network((2 * c, 4 * c), 4 * c, 2 * f, blocks) + 2 * c
    last = weights_of_a_network((2 * c, 4 * c + 1), 4 * c, 2 * f, blocks) + 2 * c
    found = sum(int(np.prod(v.shape)) for v in flow.trainable_variables)
    assert found == 3 * checkerboard + 3 * channels + 4 * last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (4, 4)}, "image_shape"),
        ({"image_shape": (6, 4, 1), "scales": 3}, r"divisible by .* = 4.*\(6, 4, 1\)"),
        ({"image_shape": (4, 4, 1), "scales": 3}, "two pixels or more to the last of the `scales`"),
        (
            {"image_shape": (5, 5, 1), "scales": 1, "dequantization": "variational"},
            "divisible by 2, for learned dequantization",
        ),
        ({"scales": 0}, "scales"),
        ({"image_shape": (2, 2, 1), "scales": 2, "normalization": "layer"}, "normalization"),
        ({"image_shape": (1, 1, 1), "scales": 1}, "two pixels"),
        ({"residual_blocks": -1}, "blocks"),
        ({"base_filters": 0}, "filters"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfnvp.ImageRealNVP(**{"image_shape": (4, 4, 1), **SMALL, **arguments})
