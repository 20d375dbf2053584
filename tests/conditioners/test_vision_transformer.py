import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import perturb
from tfnvp.conditioners import VisionTransformer


def transformer(outputs=3, **kwargs):
    return VisionTransformer(outputs, **{"width": 6, "blocks": 1, "heads": 2, **kwargs})


@pytest.mark.parametrize("condition", [None, (7, 16)])
def test_number_of_parameters(condition):
    network = VisionTransformer(10, width=32, blocks=3, heads=4, patch=2)
    image = (None, 4, 8, 3)
    network.build(image if condition is None else [image, (None, *condition)])
    width, tokens = 32, 8
    attention, norm = 4 * (width * width + width), 2 * width
    hidden = (width + 1) * 4 * width + (4 * width + 1) * width
    expected = (12 + 1) * width + tokens * width + 3 * (attention + hidden + 2 * norm) + norm
    expected += (width + 1) * 40
    if condition is not None:
        expected += (16 + 1) * width + 7 * width + 3 * (attention + norm)
    assert network.count_params() == expected == (40_168 if condition is None else 53_800)


def test_it_is_the_formula():
    network, generator = transformer(), np.random.default_rng(0)
    x, condition = generator.normal(size=(2, 4, 5)), generator.normal(size=(2, 3, 7))
    network([x, condition])
    perturb(network, 0.5)

    def dense(layer, h):
        return h @ layer.kernel.numpy() + layer.bias.numpy()

    def norm(layer, h):
        h = h - h.mean(axis=-1, keepdims=True)
        h = h / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-6)
        return h * layer.gamma.numpy() + layer.beta.numpy()

    def attention(layer, h, values):
        """Head by head."""
        heads, found = [], layer.output_dense.bias.numpy()
        for i in range(2):
            q, k, v = (
                source @ part.kernel.numpy()[:, i] + part.bias.numpy()[i]
                for part, source in (
                    (layer.query_dense, h),
                    (layer.key_dense, values),
                    (layer.value_dense, values),
                )
            )
            scores = np.exp(q @ np.swapaxes(k, 1, 2) / np.sqrt(3))
            heads.append(scores / scores.sum(axis=-1, keepdims=True) @ v)
            found = found + heads[i] @ layer.output_dense.kernel.numpy()[i]
        return found

    def gelu(h):
        return 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))

    h, c = (
        dense(layer.dense, part) + layer.positions.numpy()
        for layer, part in zip(network.embeddings, (x, condition), strict=True)
    )
    block = network.residuals[0]
    normalized = norm(block.attention_norm, h)
    h = h + attention(block.attention, normalized, normalized)
    h = h + attention(block.cross_attention, norm(block.cross_norm, h), c)
    h = h + dense(block.narrow, gelu(dense(block.hidden, norm(block.hidden_norm, h))))
    expected = dense(network.projection, norm(network.norm, h))
    np.testing.assert_allclose(network([x, condition]), expected, rtol=1e-3, atol=1e-3)


def test_positions_are_drawn_at_the_size_of_the_width():
    network = transformer(width=100)
    network.build((None, 400, 2))
    np.testing.assert_allclose(np.std(network.embeddings[0].positions), 0.1, rtol=0.02)


def test_patches_are_blocks_of_pixels():
    """Without attention, a block of pixels gives the outputs of that block."""
    network = transformer(outputs=2, patch=2, blocks=0, zero_init=False)
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 3)).astype("float32")
    before = network(x).numpy()
    changed = np.copy(x)
    changed[0, 2:, 2:4] += 1.0
    differs = np.zeros((4, 6), bool)
    differs[2:, 2:4] = True
    np.testing.assert_array_equal(np.any(network(changed) != before, axis=-1)[0], differs)
    # The fourth position of six is of the second row of blocks, and the first column.
    network.embeddings[0].positions.assign_add(np.outer(np.eye(6)[3], np.arange(6)))
    differs = np.zeros((4, 6), bool)
    differs[2:, :2] = True
    np.testing.assert_array_equal(np.any(network(x) != before, axis=-1)[0], differs)
    network.projection.kernel.assign(tf.zeros((6, 8)))
    network.projection.bias.assign(np.arange(8))
    block = np.arange(8).reshape(2, 2, 2)
    np.testing.assert_array_equal(network(x)[0], np.tile(block, (2, 3, 1)))


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({"width": 5}, None, "`width` must be a multiple of `heads` = 2. Received: 5"),
        ({"heads": 0}, None, "`heads` must be a positive int"),
        ({"dropout": -0.1}, None, "`dropout` must be"),
        ({}, (2, 3), "needs tokens .* or images"),
        ({}, (2, None, 3), "of known size"),
        ({"patch": 2}, (2, 4, 3, 1), "`patch` must divide .* Received: 2"),
        ({"patch": 2}, (2, 4, 3), "be 1 for tokens"),
        ({}, [(2, 4, 3), (2,)], "needs conditions"),
    ],
)
def test_wrong_arguments_and_shapes_are_named(arguments, shape, message):
    with pytest.raises(ValueError, match=message):
        transformer(**arguments).build(shape)


@pytest.mark.parametrize(
    ("built", "shapes", "message"),
    [
        ([(2, 1, 4)], [(2, 5, 4)], r"expected shape=\(None, 1, 4\), found shape=\(2, 5, 4\)"),
        ([(2, 2, 6, 4)], [(2, 3, 4, 4)], r"expected shape=\(None, 2, 6, 4\)"),
        ([(2, 3, 4), (2, 1, 5)], [(2, 3, 4), (2, 4, 5)], r"expected shape=\(None, 1, 5\)"),
        ([(2, 3, 4), (2, 5)], [(2, 3, 4)], r"expects 2 input\(s\)"),
    ],
)
def test_sizes_stay_those_of_the_first_call(built, shapes, message):
    network = transformer()
    network.build(built)
    with pytest.raises(ValueError, match=message):
        network([tf.ones(shape) for shape in shapes])
