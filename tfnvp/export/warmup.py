"""Requests that TensorFlow Serving runs on a new version before it offers it to clients."""

import pathlib

import tensorflow as tf

FILE = "assets.extra/tf_serving_warmup_requests"

# A server refuses a file with more records.
_MAX_RECORDS = 1000


def write_warmup(folder, model, signatures, batch_sizes, scalars):
    """Writes one `PredictionLog` for each signature and batch size to `assets.extra`.

    Args:
      folder: the SavedModel.
      model: name that the requests call the model by.
      signatures: dictionary from names to `Signature`.
      batch_sizes: rows of the requests; none: no file is written.
      scalars: bool, also signatures with inputs that have no batch dimension.

    Raises:
      ValueError: if a batch size is no positive int, or the records are more than 1000.
      ImportError: if `tensorflow-serving-api` is not installed.

    Source: TensorFlow Serving, "SavedModel Warmup".
    """
    batch_sizes = list(batch_sizes)
    names = [name for name, s in signatures.items() if s.has_rows or scalars]
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in batch_sizes):
        raise ValueError(f"`warmup` must be positive ints, batch sizes. Received: {batch_sizes}")
    if len(batch_sizes) * len(names) > _MAX_RECORDS:
        raise ValueError(
            f"a server takes at most {_MAX_RECORDS} warm-up records. Received: {len(batch_sizes)} "
            f"batch sizes for {len(names)} signatures"
        )
    if not batch_sizes:
        return
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "warm-up requests need tensorflow-serving-api: `pip install tfnvp[serving]`"
        ) from error
    file = pathlib.Path(folder) / FILE
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for name in names:
            for rows in batch_sizes:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = model
                request.model_spec.signature_name = name
                for specification in signatures[name].inputs:
                    tensor = _example(specification, rows)
                    request.inputs[specification.name].CopyFrom(tf.make_tensor_proto(tensor))
                writer.write(log.SerializeToString())


def _example(specification, rows):
    """A valid input: one half is inside the domain of data on [0, 1] and of data on the line."""
    value = rows if specification.name == "num_samples" else 0.5
    shape = [rows if size is None else size for size in specification.shape]
    return tf.cast(tf.fill(shape, value), specification.dtype)
