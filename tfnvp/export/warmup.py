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
    model: str,
    signatures: Mapping[str, Signature],
    batch_sizes: Iterable[int],
    scalars: bool,
    max_rows: int,
) -> list[bytes]:
    """Makes one `PredictionLog` for each signature and batch size.

    Args:
      model: name of the model in the requests.
      signatures: dictionary from names to `Signature`.
      batch_sizes: rows of the requests.
      scalars: bool, also for signatures with inputs that have no batch dimension.
      max_rows: int, the largest batch size: one request that fails keeps a server from the version.

    Returns:
      list of serialized records.

    Raises:
      ValueError: if a batch size is not an int from 1 to `max_rows`, or there are more than 1000
        records.

    Source: TensorFlow Serving, "SavedModel Warmup", `prediction_log.proto`, `predict.proto` and
    `model.proto`.
    """
    given = batch_sizes
    batch_sizes = list(given) if isinstance(given, Iterable) else [None]
    if any(isinstance(n, bool) or n not in range(1, max_rows + 1) for n in batch_sizes):
        raise ValueError(
            f"`warmup` must be batch sizes, ints from 1 to {max_rows} (`max_samples`). "
            f"Received: {given!r}"
        )
    names = [name for name, signature in signatures.items() if signature.has_rows or scalars]
    if len(batch_sizes) * len(names) > _MAX_RECORDS:
        raise ValueError(
            f"a server takes at most {_MAX_RECORDS} warm-up records: `warmup` must be shorter. "
            f"Received: {len(batch_sizes)} batch sizes for {len(names)} signatures"
        )
    records = []
    for name, rows in itertools.product(names, batch_sizes):
        specification = _field(1, model.encode()) + _field(3, name.encode())
        request = _field(1, specification)
        for tensor in signatures[name].inputs:
            value = tf.make_tensor_proto(_example(tensor, rows)).SerializeToString()
            request += _field(2, _field(1, tensor.name.encode()) + _field(2, value))
        records.append(_field(6, _field(1, request)))
    return records


def _field(number, content):
    """Returns a field of bytes as Protocol Buffers write it: its number and type, length, bytes."""
    head, length = [number << 3 | 2], len(content)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes([*head, length]) + content


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
    is_count = specification.shape.rank == 0 and specification.dtype.is_integer
    value = rows if is_count else 0.5
    shape = [rows if size is None else size for size in specification.shape]
    return tf.cast(tf.fill(shape, value), specification.dtype)
