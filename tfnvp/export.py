"""Flows as SavedModels that TensorFlow Serving, or any TensorFlow runtime, runs without us."""

import pathlib
import shutil
import uuid

import keras
import tensorflow as tf

from tfnvp.flows.interpolation import four_corner_latents

SIGNATURES = (
    "log_prob",
    "encode",
    "decode",
    "sample",
    "sample_rows",
    "sample_and_log_prob",
    "interpolate",
)


def export(flow, path, signatures=SIGNATURES):
    """Writes a flow to `path/VERSION`, the layout of TensorFlow Serving.

    VERSION is the next free integer. The model is written under a temporary name and renamed, so
    a polling server never sees half of it, and no existing version is touched.

    | signature | inputs | outputs |
    |---|---|---|
    | `log_prob` (also `serving_default`) | `x` | `log_prob` (nats), `bits_per_dim` if quantized |
    | `encode` | `x` | `z` |
    | `decode` | `z` | `x` |
    | `sample` | `num_samples` int32, `seed` int32[2], `temperature` float32 | `x` |
    | `sample_rows` | `seed` int32[batch, 2], `temperature` float32[batch] | `x` |
    | `sample_and_log_prob` | as `sample` | `x`, `log_prob` |
    | `interpolate` | `corners` [4, ...], `rows` int32, `columns` int32 | `x` [rows, columns, ...] |

    A conditional flow also takes `condition`, one for each row. The same seed gives the same
    samples on every replica.

    Args:
      flow: a `tfnvp.Flow`.
      path: folder of the model; its versions lie below it.
      signatures: names of the signatures to write.

    Returns:
      `pathlib.Path` of the version.

    Raises:
      ValueError: for an unknown signature, or one that the flow cannot have (sampling of custom
        base distributions).
      OSError: if the folder cannot be written; nothing is left behind.
    """
    unknown = set(signatures) - set(SIGNATURES)
    if unknown:
        raise ValueError(f"`signatures` must be of {SIGNATURES}. Received: {sorted(unknown)}")
    if not isinstance(flow.base, str):
        signatures = [name for name in signatures if "sample" not in name]
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    endpoints = _endpoints(flow)
    archive = keras.export.ExportArchive()
    if "log_prob" in signatures:
        archive.add_endpoint("serving_default", *endpoints["log_prob"])
    for name in signatures:
        archive.add_endpoint(name, *endpoints[name])
    # A name that is no integer is invisible to a server.
    temporary = path / f".writing-{uuid.uuid4().hex}"
    try:
        archive.write_out(str(temporary), verbose=False)
        return _publish(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary, path):
    """Renames a written model to the next free version."""
    versions = [int(child.name) for child in path.iterdir() if child.name.isdigit()]
    version = max(versions, default=0) + 1
    while True:
        try:
            return temporary.rename(path / str(version))
        except OSError:
            # Taken in the meantime by another process: a rename never replaces a filled folder.
            if not (path / str(version)).exists():
                raise
            version += 1


def _endpoints(flow):
    """Returns for each signature the function and the specifications of its inputs."""

    def rows(name, shape):
        return tf.TensorSpec((None, *shape), tf.float32, name=name)

    x, z = rows("x", flow.event_shape), rows("z", flow.latent_shape)
    condition = () if flow.condition_shape is None else (rows("condition", flow.condition_shape),)
    number = tf.TensorSpec((), tf.int32, name="num_samples")
    seed = tf.TensorSpec((2,), tf.int32, name="seed")
    temperature = tf.TensorSpec((), tf.float32, name="temperature")
    row_seeds = tf.TensorSpec((None, 2), tf.int32, name="seed")
    row_temperatures = tf.TensorSpec((None,), tf.float32, name="temperature")

    def log_prob(x, condition=None):
        nats = flow._log_prob(x, condition)
        if flow.levels is None:
            return {"log_prob": nats}
        return {"log_prob": nats, "bits_per_dim": flow.bits_per_dim(nats)}

    def encode(x, condition=None):
        return {"z": flow._encode(x, condition)}

    def decode(z, condition=None):
        return {"x": flow._decode(z, condition)}

    def sample(num_samples, seed, temperature, condition=None):
        return decode(flow._sample_base(num_samples, seed, temperature), condition)

    def sample_rows(seed, temperature, condition=None):
        noise = tf.map_fn(
            lambda row: flow._sample_base(1, row, 1.0)[0], seed, fn_output_signature=tf.float32
        )
        scale = tf.reshape(temperature, [-1] + [1] * len(flow.latent_shape))
        return decode(noise * scale, condition)

    def sample_and_log_prob(num_samples, seed, temperature, condition=None):
        samples = sample(num_samples, seed, temperature, condition)["x"]
        return {"x": samples, "log_prob": flow._log_prob(samples, condition)}

    def interpolate(corners, rows, columns, condition=None):
        latents = four_corner_latents(flow._encode(corners, condition), rows, columns)
        if condition is not None:
            condition = tf.repeat(condition[:1], rows * columns, axis=0)
        images = flow._decode(tf.reshape(latents, (-1, *flow.latent_shape)), condition)
        shape = tf.concat([[rows, columns], flow.event_shape], axis=0)
        return {"x": tf.reshape(images, shape)}

    corners = tf.TensorSpec((4, *flow.event_shape), tf.float32, name="corners")
    grid = tuple(tf.TensorSpec((), tf.int32, name=name) for name in ("rows", "columns"))
    draw = (number, seed, temperature)
    arguments = {
        "log_prob": (log_prob, (x,)),
        "encode": (encode, (x,)),
        "decode": (decode, (z,)),
        "sample": (sample, draw),
        "sample_rows": (sample_rows, (row_seeds, row_temperatures)),
        "sample_and_log_prob": (sample_and_log_prob, draw),
        "interpolate": (interpolate, (corners, *grid)),
    }
    return {
        name: (tf.function(function), [*specifications, *condition])
        for name, (function, specifications) in arguments.items()
    }
