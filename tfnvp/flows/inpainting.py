"""Inpainting: fills the hidden pixels of images by gradient ascent on the likelihood."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfnvp.arguments import check_choice
from tfnvp.flows.flow import Flow


def hidden_mask(kind: str, event_shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Returns a mask of hidden pixels.

    Args:
      kind: "top", "bottom", "left" or "right" half, "even" columns, the "center" (the middle half
        of rows and columns), or a "random" three quarters. Half of a side is rounded down, but is
        one pixel at least.
      event_shape: `(H, W)` or `(H, W, C)`.
      seed: int, seed of the random mask.

    Returns:
      boolean array of `event_shape`, true where hidden.

    Raises:
      ValueError: if the kind is unknown or the event is not an image.

    >>> hidden_mask("left", (2, 4)).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    check_choice("mask", kind)
    if len(event_shape) not in (2, 3):
        raise ValueError(f"a mask of pixels needs images. Received: event_shape={event_shape}")
    hidden = np.zeros(event_shape[:2], bool)
    rows, columns = (max(1, size // 2) for size in hidden.shape)
    above, before = (hidden.shape[0] - rows) // 2, (hidden.shape[1] - columns) // 2
    places = {
        "top": np.s_[:rows],
        "bottom": np.s_[-rows:],
        "left": np.s_[:, :columns],
        "right": np.s_[:, -columns:],
        "even": np.s_[:, ::2],
        "center": np.s_[above : above + rows, before : before + columns],
        "random": np.random.default_rng(seed).uniform(size=hidden.shape) < 0.75,
    }
    hidden[places[kind]] = True
    return hidden if len(event_shape) == 2 else np.repeat(hidden[..., None], event_shape[2], -1)


def inpaint(
    flow: Flow,
    images: npt.ArrayLike,
    hidden: npt.ArrayLike,
    steps: int = 3000,
    step_size: float = 1e-4,
    seed: int = 0,
    condition: npt.ArrayLike | None = None,
) -> tf.Tensor:
    """Fills hidden pixels by annealed, noisy gradient ascent; observed pixels do not change.

    ::

        x <- clip(x + a_i (d log p(x) / dx + noise), 0, 1) where hidden,
        a_i = step_size * 1000 / (100 + i)

    from uniform noise. The paper has `a_i = 10 / (100 + i)`, which is `step_size=0.01`; the
    authors' code uses the gradient of the mean over 100 images, which makes it 0.0001. With larger
    steps, pixels jump between black and white.

    Args:
      flow: a `tfnvp.Flow` over images in [0, 1].
      images: `[n, *event_shape]` in [0, 1], or grey levels, which get noise; hidden pixels are
        ignored.
      hidden: boolean array of `event_shape`, or `[n, *event_shape]`, true where hidden.
      steps: int, number of steps; about 100,000 for the paper's pictures.
      step_size: float.
      seed: int, seed of the noise.
      condition: `[n, *condition_shape]`, for conditional flows.

    Returns:
      `[n, *event_shape]`.

    Raises:
      ValueError: if shapes do not fit, or observed pixels are outside [0, 1] or NaN.

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 5.2.
    """
    images = flow.data_spec.to_floats(images, (seed, 0))
    hidden = np.asarray(hidden, bool)
    if hidden.shape not in (flow.event_shape, tuple(images.shape)):
        raise ValueError(
            f"`hidden` must have the shape {flow.event_shape} or {tuple(images.shape)}. "
            f"Received: {hidden.shape}"
        )
    observed = np.where(hidden, 0.5, images)
    if len(wrong := observed[~((observed >= 0.0) & (observed <= 1.0))]):
        raise ValueError(
            "`images` must have grey levels, or numbers in [0, 1], where they are not hidden. "
            f"Received: {wrong[0]}"
        )

    @tf.function
    def ascend(images):
        x = tf.where(hidden, tf.random.stateless_uniform(images.shape, (seed, 0)), images)
        for i in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(x)
                log_prob = flow.log_prob(x, condition)
            noise = tf.random.stateless_normal(images.shape, tf.stack([seed, i + 1]))
            rate = 1000.0 * step_size / (100.0 + tf.cast(i, tf.float32))
            moved = tf.clip_by_value(x + rate * (tape.gradient(log_prob, x) + noise), 0.0, 1.0)
            x = tf.where(hidden, moved, images)
        return x

    return ascend(images)
