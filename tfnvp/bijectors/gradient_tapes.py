"""Keeps TFP's caches from answering with what the gradient tape that records has not seen."""

import itertools
import weakref

import tensorflow as tf
from tensorflow.python.eager import record

# 0 and 1 have meanings of their own below.
_next_version = itertools.count(2).__next__


class TapeVersion:
    """Tells results on the recording tape from those of before, or of another tape.

    TFP caches what a bijector computed by the identity of its argument. What was computed before
    a tape began, such as the latents of a sample, or on a tape that has ended, has no gradient on
    it. Mixing this number into a bijector's hash makes the cache miss then.

    TensorFlow tells of a tensor whether a tape records what becomes of it. So the last result
    that was handed out under a version is kept, weakly: while a tape follows it, the version
    stays. Of tapes in each other, one that began in between is not told from the outer one.

    Args:
      has_weights: whether results depend on variables. Without, no tape may follow any result, as
        when data go through a logit, and there is one version for all tapes.
    """

    def __init__(self, has_weights):
        self._has_weights = has_weights
        self._version = 1
        self._computed = None
        self._pending = False

    def __call__(self):
        """Returns 0 where no tape records, else a number for results on it."""
        if not record.could_possibly_record():
            return 0
        if self._has_weights and not self._pending and not self._is_recorded():
            self._version = _next_version()
            self._pending = True
        return self._version

    def computed(self, result):
        """Tells that `result` was computed now, under the present version."""
        if record.could_possibly_record():
            self._computed = weakref.ref(result)
            self._pending = False

    def _is_recorded(self):
        result = None if self._computed is None else self._computed()
        return result is not None and is_recorded(result)


class OnTape:
    """Copies a tensor that a tape watches, once for a tape.

    TFP's bijectors without variables answer from caches that know no tapes: a new tensor is not
    in them.
    """

    def __init__(self):
        self._last = (lambda: None, lambda: None)

    def __call__(self, x):
        """Returns `x`, or its copy on the tape that records."""
        if not tf.is_tensor(x) or not record.could_possibly_record() or not is_recorded(x):
            return x
        original, copied = (reference() for reference in self._last)
        if original is not x or copied is None or not is_recorded(copied):
            copied = tf.identity(x)
            self._last = (weakref.ref(x), weakref.ref(copied))
        return copied


def is_recorded(x):
    """Whether a tape records what becomes of the tensor `x`."""
    return record.should_record_backprop([x])
