import numpy as np
import pytest
import tensorflow_probability as tfp

import tfnvp
from tfnvp.arguments import CHOICES
from tfnvp.flows.inpainting import hidden_mask, inpaint


@pytest.mark.parametrize("kind", CHOICES["mask"])
def test_masks_hide_what_they_say(kind):
    hidden = hidden_mask(kind, (8, 8, 3))
    assert hidden.shape == (8, 8, 3)
    assert (hidden == hidden[..., :1]).all()
    grey = hidden_mask(kind, (8, 8))
    np.testing.assert_array_equal(grey, hidden[..., 0])
    expected = {"center": 0.25, "random": 0.75}.get(kind, 0.5)
    np.testing.assert_allclose(grey.mean(), expected, atol=0.15 if kind == "random" else 0)
    where = {"top": grey[0], "bottom": grey[-1], "left": grey[:, 0], "right": grey[:, -1]}
    where["even"] = grey[:, ::2]
    assert where.get(kind, np.array(True)).all()


@pytest.mark.parametrize("size", range(1, 8))
def test_masks_hide_half_of_a_side_of_any_size(size):
    half = max(1, size // 2)
    for kind in ("top", "bottom", "left", "right"):
        assert hidden_mask(kind, (size, size)).sum() == half * size
    hidden = hidden_mask("center", (size, 8))
    assert hidden.sum() == half * 4
    above, below = np.flatnonzero(hidden.any(axis=1))[[0, -1]]
    assert 0 <= (size - 1 - below) - above <= 1


def test_random_masks_follow_their_seed():
    first, again, other = (hidden_mask("random", (8, 8), seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_hidden_pixels_climb_to_the_mode_and_the_others_stay():
    # Independent logistic pixels around 0.25: the mode is known.
    bijector = tfp.bijectors.Chain([tfp.bijectors.Shift(0.25), tfp.bijectors.Scale(0.05)])
    flow = tfnvp.Flow(bijector, (4, 4), base="normal")
    images = np.full((3, 4, 4), 0.8, "float32")
    hidden = hidden_mask("left", (4, 4))
    filled = inpaint(flow, images, hidden, steps=3000, step_size=1e-4)
    np.testing.assert_array_equal(filled.numpy()[:, ~hidden], images[:, ~hidden])
    np.testing.assert_allclose(filled.numpy()[:, hidden], 0.25, atol=0.02)
    np.testing.assert_array_equal(filled, inpaint(flow, images, hidden, steps=3000, step_size=1e-4))


def test_each_step_adds_its_own_noise():
    # The density is flat: only noise moves pixels.
    flow = tfnvp.Flow(tfp.bijectors.Scale(1e4), (32, 32))
    images, everywhere = np.zeros((4, 32, 32)), np.ones((32, 32), bool)

    def path(steps, seed=0, step_size=1e-6):
        return inpaint(flow, images, everywhere, steps, step_size, seed).numpy().ravel()

    moved = path(16) - path(0)
    rates = 1e-3 / (100 + np.arange(16))
    np.testing.assert_allclose(moved.std(), np.sqrt((rates**2).sum()), rtol=0.1)
    other = path(16, seed=1) - path(0, seed=1)
    for one, another in ((path(0), path(0, seed=1)), (moved, other)):
        assert abs(np.corrcoef(one, another)[0, 1]) < 0.1
    wide = path(4, step_size=1.0)
    assert (wide.min(), wide.max()) == (0, 1)


def test_grey_levels_are_dequantized():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=8)
    grey = np.random.default_rng(0).integers(0, 8, (2, 4, 4, 1))
    hidden = hidden_mask("left", (4, 4, 1))
    filled = inpaint(flow, grey, hidden, steps=2, seed=3)
    np.testing.assert_array_equal(filled, inpaint(flow, grey, hidden, steps=2, seed=3))
    np.testing.assert_array_equal(np.floor(8 * filled[:, :, 2:]), grey[:, :, 2:])


def test_bad_arguments_are_named():
    flow = tfnvp.Flow(tfp.bijectors.Identity(), (4, 4))
    with pytest.raises(ValueError, match="`mask` must be one of"):
        hidden_mask("inside", (4, 4))
    with pytest.raises(ValueError, match="needs images"):
        hidden_mask("top", (16,))
    with pytest.raises(ValueError, match="`hidden` must have the shape"):
        inpaint(flow, np.zeros((2, 4, 4)), np.zeros((3, 3), bool))
    for value in (np.nan, -0.1, 1.5):
        images = np.full((2, 4, 4), 0.5)
        images[1, 0, 3] = value
        with pytest.raises(ValueError, match=rf"`images` must have .* not hidden.*: {value}"):
            inpaint(flow, images, hidden_mask("left", (4, 4)), steps=1)
        inpaint(flow, images, hidden_mask("right", (4, 4)), steps=1)
