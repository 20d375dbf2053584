"""Writes a flow as the next version of a served model."""

import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Mapping

import keras
import tensorflow as tf

from tfnvp import advice
from tfnvp._atomic import locked
from tfnvp.export import card as model_card
from tfnvp.export.signatures import default_max_samples, make_signatures
from tfnvp.export.warmup import warmup_requests, write_warmup
from tfnvp.export.weights import StoredWeights, not_finite


def export(
    flow: keras.Model,
    path: str | os.PathLike,
    signatures: Iterable[str] | None = None,
    weights_dtype: str = "float32",
    jit_compile: bool = False,
    warmup: Iterable[int] = (1,),
    warmup_scalars: bool = False,
    card: Mapping | None = None,
    condition_range: bool = False,
    max_samples: int | None = None,
) -> pathlib.Path:
    """Writes a flow to `path/VERSION`, the layout of TensorFlow Serving.

    VERSION is the next free integer. The model is written under a temporary name and renamed, so
    that a server never finds half of it, and existing versions stay as they are. If the version
    before has data of other shapes, a warning says so.

    | signature | inputs | outputs |
    |---|---|---|
    | `log_prob` | `x` | `log_prob` (nats), `bits_per_dim` if quantized |
    | `encode` | `x` | `z` |
    | `decode` | `z` | `x` |
    | `sample` | `num_samples` int32, `seed` int32[2], `temperature` float32 | `x` |
    | `sample_rows` | `seed` int32[batch, 2], `temperature` float32[batch] | `x` |
    | `sample_and_log_prob` | as `sample` | `x`, `log_prob` |
    | `interpolate` | `corners` [batch or 1, 4, ...], `weights` float32[batch, 4] | `x` |
    | `log_prob_uint8`, `encode_uint8` | `x` uint8 | as `log_prob`, `encode` |
    | `log_prob_uint8_draws` | `x` uint8, `draws` int32, `seed` int32[2] | as `log_prob` |

    All inputs but `num_samples`, `draws`, and the `seed` and `temperature` beside them have a batch
    dimension of any size, and so have all outputs. Row `i` of `interpolate` decodes
    `sum_k weights[i, k] * encode(corners[i, k])`; one set of corners serves all rows. A
    conditional flow also takes `condition`, one for each row or one for all; with a condition
    network of several inputs, a `condition_NAME` for each. With a custom base distribution there is
    no `temperature`. The last two lines exist only for flows that take integers
    (`flow.accepts_integers`). Pixels count as the middles of their bins, `(x + 0.5) / levels`; with
    `draws` they get noise, and the answer is the importance-weighted bound of
    `tfnvp.evaluation.evaluate`.

    The same seed gives the same samples on every replica, compiled by XLA or not.

    The version also holds `signature.json`, `model_card.md` and warm-up requests, which a server
    runs before it offers the version.

    Args:
      flow: a `tfnvp.Flow`.
      path: folder of the model; its versions lie below it.
      signatures: names of the signatures to write, the first of which is also
        `serving_default`. Default: all that the flow can have.
      weights_dtype: "float32", or "bfloat16" to store the kernels of layers in half the space;
        computations stay in float32.
      jit_compile: bool, let XLA compile log-likelihoods, encoding and decoding for the platform
        that runs the model. The noise of samples is drawn outside, and stays the same.
      warmup: batch sizes of warm-up requests, each for every signature whose inputs all have a
        batch dimension; `()` for none.
      warmup_scalars: bool, warm up signatures with scalar inputs too, such as `sample`. A server
        run with `--enable_batching` rejects them, and with such a record would not load the model.
      card: mapping for `model_card.md`: headings to texts or to mappings of names to values, for
        example `{"Data": "...", "Test likelihood": {"nats": 1.0, "nats_standard_error": 0.1}}`.
        Numbers that are not finite are null in `signature.json`.
      condition_range: bool, write the smallest and the largest conditions in training into the
        card, too. They are values of single rows, which can be private.
      max_samples: int, the most samples that a request to `sample`, `sample_and_log_prob`,
        `sample_rows` or `interpolate` gets, and the most draws of noise; the answer to more is
        INVALID_ARGUMENT. Default: as many as need at most about 1 GiB.

    Returns:
      `pathlib.Path` of the version.

    Raises:
      TypeError: if `card` is not a mapping, or holds what JSON cannot express.
      ValueError: for headings of `card` that the export itself writes ("Flow", "Versions",
        "Signatures", "SHA-256"), signatures that are unknown or that the flow cannot have, another
        `weights_dtype`, a `max_samples` that is not a positive int32, batch sizes that are not from
        1 to `max_samples`, or a flow with a normalisation that still waits for
        its first batch (a server must not train), or with weights that are not finite.
      OSError: if the folder cannot be written; nothing is left behind.

    >>> import tempfile, tensorflow as tf, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> version = flow.export(tempfile.mkdtemp() + "/moons", signatures=["log_prob", "decode"])
    >>> version.name
    '1'
    >>> served = tf.saved_model.load(str(version)).signatures["log_prob"]
    >>> served(x=tf.zeros([3, 2]))["log_prob"].shape.as_list()
    [3]

    Source: TensorFlow Serving, "SavedModel Warmup" and the file system source's version policy.
    """
    model_card.check(card)
    if max_samples is None:
        max_samples = default_max_samples(flow)
    if isinstance(max_samples, bool) or max_samples not in range(1, 2**31):
        raise ValueError(f"`max_samples` must be an int from 1 to 2**31 - 1. Got: {max_samples!r}")
    available = make_signatures(flow, StoredWeights(flow, weights_dtype), jit_compile, max_samples)
    names = list(available) if signatures is None else list(signatures)
    if not names or set(names) - set(available):
        raise ValueError(
            f"`signatures` must be a list of some of {', '.join(available)} for this flow. "
            f"Received: {signatures!r}"
        )
    _check_weights(flow)
    chosen = {name: available[name] for name in names}
    path = pathlib.Path(path)
    if path.is_file():
        raise FileExistsError(f"`path` must be a folder of versions. Received a file: {path}")
    if versions := _versions(path):
        before = path / str(max(versions))
        if changed := model_card.changed_shapes(before, flow):
            advice.warn_of_other_shapes(before, changed)
    requests = warmup_requests(path.name, chosen, warmup, warmup_scalars, max_samples)
    path.mkdir(parents=True, exist_ok=True)
    archive = keras.export.ExportArchive()
    for name, signature in {"serving_default": chosen[names[0]], **chosen}.items():
        archive.add_endpoint(name, signature.function, signature.inputs)
    # A server ignores names that are not integers.
    temporary = path / f".writing-{uuid.uuid4().hex}"
    facts = {
        "weights_dtype": weights_dtype,
        "jit_compile": bool(jit_compile),
        "max_samples": max_samples,
    }
    with locked(path, path.glob(".writing-*"), shared=True):
        try:
            archive.write_out(str(temporary), verbose=False)
            write_warmup(temporary, requests)
            model_card.write(temporary, path.name, flow, chosen, facts, card, condition_range)
            return _publish(temporary, path)
        except tf.errors.OpError as error:
            raise OSError(f"{path} cannot be written: {error.message}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary, path):
    """Renames a written model to the next free version."""
    version = max(_versions(path), default=0) + 1
    while True:
        try:
            return temporary.rename(path / str(version))
        except OSError:
            # Another process took the number: a rename never replaces a folder with content.
            if not (path / str(version)).exists():
                raise
            version += 1


def _versions(path):
    children = path.iterdir() if path.is_dir() else ()
    return [int(child.name) for child in children if child.name.isdecimal()]


def _check_weights(flow):
    """Raises `ValueError` for weights that the first request would set, or with NaN or inf."""
    for module in flow.distribution.submodules:
        initialized = getattr(module, "initialized", None)
        if isinstance(initialized, keras.Variable) and not int(initialized.numpy()):
            raise ValueError(
                f"{module.name} still waits for its first batch, which initialises it: call "
                f"`flow.adapt(data)` or `flow.fit(data)` before the export. Received: {flow}"
            )
    # One such weight would answer every request by NaN.
    if (weight := not_finite(flow)) is not None:
        raise ValueError(
            f"`flow` must have finite weights. Received: {flow} with NaN or inf in {weight.path}"
        )
