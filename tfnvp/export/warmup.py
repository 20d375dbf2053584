"""Requests that TensorFlow Serving runs on a new version before it offers it to clients."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping

import tensorflow as tf

from tfnvp.export.signatures import Signature

FILE = "assets.extra/tf_serving_warmup_requests"

# A server refuses a file with more records.
_MAX_RECORDS = 1000


def warmup_requests(
    model: str, signatures: Mapping[str, Signature], batch_sizes: Iterable[int], scalars: bool
) -> list[bytes]:
    """Makes one `PredictionLog` for each signature and batch size.

    Args:
      model: name of the model in the requests.
      signatures: dictionary from names to `Signature`.
      batch_sizes: rows of the requests.
      scalars: bool, also for signatures with inputs that have no batch dimension.

    Returns:
      list of serialized records.

    Raises:
      ValueError: if a batch size is not a positive int, or there are more than 1000 records.
      ImportError: if `tensorflow-serving-api` is not installed.

    Source: TensorFlow Serving, "SavedModel Warmup".
    """
    given = batch_sizes
    batch_sizes = list(given) if isinstance(given, Iterable) else [None]
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in batch_sizes):
        raise ValueError(f"`warmup` must be positive ints, batch sizes. Received: {given!r}")
    names = [name for name, signature in signatures.items() if signature.has_rows or scalars]
    if len(batch_sizes) * len(names) > _MAX_RECORDS:
        raise ValueError(
            f"a server takes at most {_MAX_RECORDS} warm-up records: `warmup` must be shorter. "
            f"Received: {len(batch_sizes)} batch sizes for {len(names)} signatures"
        )
    if not batch_sizes:
        return []
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "warm-up requests need a package: `pip install tensorflow-serving-api`"
        ) from error
    records = []
    for name, rows in itertools.product(names, batch_sizes):
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = model
        request.model_spec.signature_name = name
        for specification in signatures[name].inputs:
            tensor = tf.make_tensor_proto(_example(specification, rows))
            request.inputs[specification.name].CopyFrom(tensor)
        records.append(log.SerializeToString())
    return records


def write_warmup(folder: pathlib.Path, records: list[bytes]) -> None:
    """Writes records into a SavedModel, where a server looks for them; without records no file."""
    if not records:
        return
    file = pathlib.Path(folder) / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def _example(specification, rows):
    """Returns a valid input: 0.5 is in the domain of data in [0, 1] and of unbounded data."""
    value = rows if specification.name == "num_samples" else 0.5
    shape = [rows if size is None else size for size in specification.shape]
    return tf.cast(tf.fill(shape, value), specification.dtype)
