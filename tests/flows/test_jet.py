import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.partitions import PackedCheckerboard, RandomHalves, Stripes
from tfnvp.testing import CHECKS, check_bijector

TINY = {"couplings": 2, "blocks": 1, "width": 4, "heads": 2, "patch": 2, "spatial_every": 2}


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


def images(n, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape)).astype("uint8")


def scanned(flow):
    return next(b for b in flow.bijector.bijectors if b.name == "couplings")


# --- The paper's arithmetic, in NumPy ------------------------------------------------------------


def norm(x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) + beta


def gelu(x):
    # `flax.linen.gelu` is the form with tanh.
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(x, w, block):
    def heads_of(name):
        part = f"{block}_attention_{name}"
        return np.einsum("btw,whd->bhtd", x, w[f"{part}_kernel"]) + w[f"{part}_bias"][:, None]

    query, key, value = map(heads_of, ("query", "key", "value"))
    logits = np.einsum("bhtd,bhsd->bhts", query, key) / np.sqrt(query.shape[-1])
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed = np.einsum("bhts,bhsd->bthd", weights, value)
    out = f"{block}_attention_attention_output"
    return np.einsum("bthd,hdw->btw", mixed, w[f"{out}_kernel"]) + w[f"{out}_bias"]


def transformer(tokens, w, blocks):
    def dense(x, name):
        return x @ w[f"{name}_kernel"] + w[f"{name}_bias"]

    h = dense(tokens, "embedding_0_dense") + w["embedding_0_positions"]
    for block in (f"block_{i}" for i in range(blocks)):
        normed = norm(h, w[f"{block}_attention_norm_gamma"], w[f"{block}_attention_norm_beta"])
        h = h + attention(normed, w, block)
        normed = norm(h, w[f"{block}_hidden_norm_gamma"], w[f"{block}_hidden_norm_beta"])
        h = h + dense(gelu(dense(normed, f"{block}_hidden")), f"{block}_narrow")
    return np.split(dense(norm(h, w["norm_gamma"], w["norm_beta"]), "projection"), 2, axis=-1)


def halves(y, i, order, columns):
    """Passed and moved tokens of a coupling, and the indices of the latter in a flat event."""
    batch, tokens, channels = y.shape
    index = np.arange(tokens * channels).reshape(tokens, channels)
    if order is not None:
        parts = index[:, order[: channels // 2]], index[:, order[channels // 2 :]]
    else:
        r, c = np.divmod(np.arange(tokens), columns)
        kind = [(r + c) % 2, c % 2, r % 2][i // 4]
        first, second = index[kind == 0], index[kind == 1]
        parts = (second, first) if i // 2 % 2 else (first, second)
        parts = [part.reshape(tokens, channels // 2) for part in parts]
    flat = y.reshape(batch, -1)
    return *(flat[:, part] for part in parts), parts[1]


def log_density(x, weights, orders, patch, blocks):
    """Natural logarithm of the density of images in [0, 1] of 256 levels."""
    batch, height, width, channels = x.shape
    rows, columns = height // patch, width // patch
    y = x * 256 / 127.5 - 1
    y = y.reshape(batch, rows, patch, columns, patch, channels).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(batch, rows * columns, patch**2 * channels)
    log_det = np.full(batch, x[0].size * np.log(256 / 127.5))
    for i, order in enumerate(orders):
        w = {name: stack[i] for name, stack in weights.items()}
        passed, moved, places = halves(y, i, order, columns)
        minus_b, s = transformer(passed, w, blocks)
        sigmoid = 1 / (1 + np.exp(-s))
        flat = y.reshape(batch, -1)
        flat[:, places] = (moved - minus_b) * 2 * sigmoid
        y = flat.reshape(y.shape)
        log_det += (np.log(sigmoid) + np.log(2)).sum(axis=(1, 2))
    return log_det - 0.5 * (y**2 + np.log(2 * np.pi)).sum(axis=(1, 2))


def test_densities_are_those_of_the_published_arithmetic():
    # All six kinds of spatial couplings, each after one of channels.
    sizes = {"couplings": 12, "blocks": 1, "width": 8, "heads": 2, "patch": 2, "spatial_every": 2}
    flow = perturb(tfnvp.Jet((8, 8, 2), **sizes, seed=3))
    b = scanned(flow)
    weights = {v.name.removeprefix("stack_of_"): np.asarray(v, "float64") for v in b.weights}
    orders = []
    for partition in b.parameters["partitions"]:
        spatial = not isinstance(partition, RandomHalves)
        parts = () if spatial else partition.split(tf.range(8))
        orders.append(np.concatenate([p.numpy() for p in parts]) if parts else None)
    x = (images(3, (8, 8, 2)) + 0.3) / 256
    expected = log_density(x, weights, orders, patch=2, blocks=1)
    np.testing.assert_allclose(flow.log_prob(x.astype("float32")), expected, rtol=1e-5)


def test_the_order_of_the_couplings_is_that_of_the_paper():
    flow = tfnvp.Jet((4, 4, 2), 35, blocks=0, width=2, heads=1, patch=2)
    partitions = scanned(flow).parameters["partitions"]
    spatial = partitions[4::5]
    assert [type(p) for i, p in enumerate(partitions) if i % 5 < 4] == [RandomHalves] * 28
    assert len({p.seed for p in partitions if isinstance(p, RandomHalves)}) == 28
    even, odd = PackedCheckerboard(True), PackedCheckerboard()
    columns, rows = Stripes("vertical"), Stripes("horizontal")
    assert spatial == [even, odd, columns, columns.swap(), rows, rows.swap(), even]


def test_the_number_of_weights_of_a_coupling_is_that_of_the_paper():
    # 207 M in 32 couplings; the pattern of one coupling is not counted.
    flow = tfnvp.Jet((64, 64, 3), couplings=1)
    tokens, channels, width = 256, 24, 512
    attention_and_hidden = 4 * width * (width + 1) + 2 * 4 * width * width + 5 * width
    block = attention_and_hidden + 4 * width
    ends = width * (channels + 1) + tokens * width + 2 * width + 2 * channels * (width + 1)
    assert flow.count_params() == 2 * block + ends == 6_474_288


def test_it_starts_as_the_map_of_pixels():
    flow = tfnvp.Jet((4, 4, 2), **TINY)
    x = images(2, (4, 4, 2))
    z = flow.encode((x + 0.5) / 256)
    # Whole levels from -1 to 1, and half the width of one.
    np.testing.assert_allclose(z, (x + 0.5) / 127.5 - 1, atol=1e-5)
    np.testing.assert_array_equal(flow.decode(z) * 256 // 1, x)
    # Uniform noise in [0, 1 / 127.5) for each of the 32 numbers.
    nats = -0.5 * np.sum(z**2 + np.log(2 * np.pi), axis=(1, 2, 3))
    expected = -nats / np.log(2) / 32 + np.log2(127.5)
    ours = flow.bits_per_dim(flow.log_prob((x + 0.5) / 256))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


# The others hardly depend on the network: scanned couplings of another one pass them.
OF_THE_NETWORK = {"finite values", "round trip", "log-dets", "variables", "gradients"}


@pytest.mark.parametrize(
    "skip", [CHECKS.keys() - OF_THE_NETWORK, pytest.param((), marks=pytest.mark.slow)]
)
def test_every_check_passes(skip):
    flow = perturb(tfnvp.Jet((4, 4, 1), **TINY))
    check_bijector(flow.bijector, tf.random.uniform([2, 4, 4, 1], seed=1), skip=skip)


def test_it_trains_and_saves(tmp_path):
    shape = (4, 4, 1)
    flow = perturb(tfnvp.Jet(shape, **TINY, condition_shape=3, seed=5), 0.1)
    x, c = images(16, shape), np.eye(3, dtype="float32")[np.arange(16) % 3]
    before = flow.get_weights()
    flow.compile(keras.optimizers.Adam(1e-2))
    flow.fit(x, c, batch_size=8, verbose=0)
    for old, new, v in zip(before, flow.get_weights(), flow.weights, strict=True):
        # Attention to a single token has no gradient by queries and keys.
        if v.trainable and not re.search("cross_(norm|.*(query|key))|key_bias", v.path):
            assert (old != new).reshape(len(old), -1).any(axis=1).all(), v.path
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    levels = ((x + 0.5) / 256).astype("float32")
    nats = flow.log_prob(levels, c)
    np.testing.assert_array_equal(loaded.log_prob(levels, c), nats)
    assert (nats != flow.log_prob(levels, np.roll(c, 1, axis=1))).numpy().all()


def test_a_condition_is_standardised_once_for_all_couplings():
    flow = tfnvp.Jet((4, 4, 1), **TINY, condition_shape=2)
    c = np.random.default_rng(0).normal(5, 3, size=(64, 2)).astype("float32")
    flow.adapt(images(64, (4, 4, 1)), c)
    seen = flow.embed_condition(c)
    np.testing.assert_allclose(np.mean(seen, axis=0), np.zeros(2), atol=1e-4)
    np.testing.assert_allclose(np.std(seen, axis=0), np.ones(2), atol=1e-2)
    plain = tfnvp.Jet((4, 4, 1), **TINY, condition_shape=2, standardize_condition=False)
    assert plain.condition_network is None


def test_without_spatial_couplings_a_grid_can_be_odd():
    flow = perturb(tfnvp.Jet((6, 6, 1), **{**TINY, "spatial_every": 0}), 0.1)
    x = (images(2, (6, 6, 1)) + 0.5) / 256
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-5)


def test_the_configuration_holds_every_argument():
    arguments = inspect.signature(tfnvp.Jet).parameters
    flow = tfnvp.Jet((4, 4, 1), **TINY)
    given = {"image_shape": [4, 4, 1], **TINY}
    given |= {"conditioner_dtype": "float32", "name": flow.name}
    expected = {name: given.get(name, arguments[name].default) for name in arguments}
    assert flow.get_config() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_shape": (4, 4)}, "image_shape"),
        ({"image_shape": (6, 4, 1)}, r"divisible by 2 \* patch = 4.*\(6, 4, 1\)"),
        ({"image_shape": (4, 5, 1), "spatial_every": 0}, "divisible by patch = 2"),
        ({"patch": 1}, r"`patch` must give patches of an even number.*patch=1"),
        ({"patch": 0}, "`patch`"),
        ({"couplings": 0}, "`couplings`"),
        ({"spatial_every": -1}, "`spatial_every`"),
        ({"seed": -1}, "`seed`"),
        ({"width": 5}, "`width` must be a multiple of `heads`"),
        ({"levels": 1}, "`levels`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfnvp.Jet(**{"image_shape": (4, 4, 1), **TINY, **arguments})
