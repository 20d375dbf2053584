"""Computes a value and its log-det in one pass, and caches the last pair of each direction."""

import copy
import itertools
import weakref
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfnvp import _internals

_next_number = itertools.count(1).__next__


class ValueAndLogDet:
    """Computes value and log-det in one pass, where TFP has a separate method for each.

    A mixin of a `tfb.Bijector` with `_forward_and_log_det(x)` and `_inverse_and_log_det(y)`. TFP
    caches results by the identity of tensors, without a limit and regardless of changed weights and
    gradient tapes. Here at most one pair of input and output is cached in each direction, until
    its output is deleted, and it is used only where it is certain to be right:

    - the tensors are the very same objects, in the same graph;
    - the variables were not written since (see `_Memory.version`);
    - no tape watches an input or a variable, neither then nor now; or exactly one tape does, the
      same one, with the same tensors. Otherwise, and with a persistent tape, results are computed
      again.

    On a tape, an input that comes from a cached pair, such as `x` in `forward(x)` after
    `x = inverse(y)`, counts as a function of `y`: the gradient by `y` and by weights is right,
    that by `x` itself is None.
    """

    _weights = ()

    #: Members that are not ours: TFP's networks create their variables in their first call.
    _foreign = ()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._memory = _Memory()

    def _current_weights(self):
        """Returns all variables on which results depend."""
        return (*self._weights, *(v for member in self._foreign for v in member.variables))

    def _value_and_log_det(self, x, inverse, kwargs):
        weights = self._current_weights()
        if (found := self._memory.find(x, inverse, kwargs, weights)) is not None:
            return found
        result = self._compute(x, inverse, kwargs)
        self._memory.keep(x, inverse, kwargs, result, weights)
        return result

    def _compute(self, x, inverse, kwargs):
        """Returns value and log-det, also for half precision and for tensors of unknown rank."""
        if x.dtype in (tf.float16, tf.bfloat16):
            # Log-dets are sums, and TensorFlow solves no equations in half precision.
            value, log_det = self._compute(tf.cast(x, tf.float32), inverse, kwargs)
            return tf.cast(value, x.dtype), tf.cast(log_det, x.dtype)
        if x.shape.rank is None and self.forward_min_event_ndims:
            event_shape, shape = getattr(self, "event_shape", None), tf.shape(x)
            if event_shape is None or kwargs:
                raise ValueError(
                    f"{self.name} needs tensors of known rank, which `tf.ensure_shape` sets. "
                    f"Received shape: {x.shape}"
                )
            flat = tf.reshape(x, (-1, *event_shape))
            value, log_det = self._compute(flat, inverse, kwargs)
            return tf.reshape(value, shape), tf.reshape(log_det, shape[: -len(event_shape)])
        compute = self._inverse_and_log_det if inverse else self._forward_and_log_det
        return compute(x, **kwargs)

    def _sum_last(self, log_det, inverse, event_ndims):
        """Sums a log-det over event axes beyond the bijector's own."""
        own = self.inverse_min_event_ndims if inverse else self.forward_min_event_ndims
        extra = 0 if event_ndims is None else event_ndims - own
        if extra < 0:
            raise ValueError(f"`event_ndims` must be at least {own}. Received: {event_ndims}")
        return tf.reduce_sum(log_det, axis=list(range(-extra, 0))) if extra else log_det

    def __hash__(self):
        static = hash((type(self), *map(id, self._weights)))
        if not _internals.hashed_by_a_cache():
            return static
        # TFP's caches of compositions are keyed by the hashes of their members. They must miss
        # after every change of a weight, and always while a tape records.
        recording = _next_number() if _internals.tape_is_recording() else 0
        version = self._memory.version(self._current_weights()) or _next_number()
        return hash((static, version, recording))

    def __eq__(self, other):
        """Whether the arguments are equal and the variables are the same objects."""
        if not super().__eq__(other):
            return False
        pairs = itertools.zip_longest(self._current_weights(), other._current_weights())
        return all(mine is theirs for mine, theirs in pairs)

    def __copy__(self):
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def _arguments(self):
        """Returns the constructor's arguments, from which copies are made."""
        if self.parameters is None:
            raise TypeError(
                f"{self.name} cannot be copied or saved: its constructor must call "
                "`super().__init__(..., parameters=dict(locals()))`. Received: parameters=None"
            )
        return self.parameters

    def __deepcopy__(self, memo):
        parameters = copy.deepcopy(self._arguments(), memo)
        return memo.setdefault(id(self), _remade(type(self), parameters, self._weights))

    def __reduce_ex__(self, protocol):
        if self.parameters is None:
            return super().__reduce_ex__(protocol)
        # Keras makes new variables when it unpickles a layer: they must be the bijector's.
        return _remade, (type(self), self.parameters, [v.numpy() for v in self._weights])


def _remade(kind, parameters, weights):
    """Makes a bijector from its parameters and the values of its variables."""
    bijector = kind(**parameters)
    for variable, value in zip(bijector._weights, weights, strict=True):
        variable.assign(value)
    return bijector


class Entry:
    """Replaces TFP's cache of a class of bijectors, and has the same methods."""

    def __init__(self, bijector: Any = None):
        self._bijector = bijector

    def __get__(self, bijector, bijector_class=None):
        return self if bijector is None else Entry(bijector)

    def forward(self, x: tf.Tensor, **kwargs) -> tf.Tensor:
        return self._bijector._value_and_log_det(x, False, kwargs)[0]

    def inverse(self, y: tf.Tensor, **kwargs) -> tf.Tensor:
        return self._bijector._value_and_log_det(y, True, kwargs)[0]

    def forward_attributes(self, x: tf.Tensor, **kwargs) -> dict:
        return {"ildj": -self._bijector._value_and_log_det(x, False, kwargs)[1]}

    def inverse_attributes(self, y: tf.Tensor, **kwargs) -> dict:
        return {"ildj": self._bijector._value_and_log_det(y, True, kwargs)[1]}


class _Pair(NamedTuple):
    """An input with its output, stored so that both are freed once the output is unused."""

    x: Any
    y: Any
    log_det: Any
    kwargs: dict
    version: tuple
    tapes: int
    watched: tuple


class _Memory:
    """The last pair of each direction, by whether the direction is the inverse."""

    def __init__(self):
        self._pairs = {}
        self._reads = (_next_number(), None, ())

    def __reduce__(self):
        return _Memory, ()

    def find(self, x, inverse, kwargs, weights):
        """Returns the cached value and log-det of `x`, or None."""
        for pair_inverse, pair in tuple(self._pairs.items()):
            same = pair_inverse == inverse
            first, second, log_det = pair.x(), pair.y(), pair.log_det()
            if (first if same else second) is not x or second is None or log_det is None:
                continue
            if first is not None and self._is_right(pair, x, kwargs, weights):
                return (second, log_det) if same else (first, -log_det)
        return None

    def keep(self, x, inverse, kwargs, result, weights):
        """Caches a pair, if it can be checked later whether it is still right."""
        y, log_det = result
        arguments = (x, *kwargs.values())
        version = self.version(weights)
        if version is None or y is x or not all(map(tf.is_tensor, (*arguments, y, log_det))):
            return
        tapes, watched = 0, ()
        if _internals.tape_is_recording():
            tapes = _internals.tapes_watching([*arguments, *_handles(weights)])
            if tapes > 1:
                return
            watched = _watched([*arguments, *_handles(weights)]) if tapes else ()
        # A graph keeps its tensors alive; references from here would keep the graph alive.
        hold = _strongly if tf.executing_eagerly() else weakref.ref
        pairs = self._pairs

        def forget(reference):
            if inverse in pairs and pairs[inverse].y is reference:
                del pairs[inverse]

        pairs[inverse] = _Pair(
            hold(x), weakref.ref(y, forget), hold(log_det), kwargs, version, tapes, watched
        )

    def _is_right(self, pair, x, kwargs, weights):
        if pair.kwargs.keys() != kwargs.keys():
            return False
        if any(pair.kwargs[name] is not value for name, value in kwargs.items()):
            return False
        if pair.version != self.version(weights):
            return False
        if not _internals.tape_is_recording():
            return pair.tapes == 0
        # A tape opened after `keep` watches the variables only once they are read.
        _internals.tell_tapes_of_reads(weights)
        sources = [pair.x(), *kwargs.values(), *_handles(weights)]
        tapes = _internals.tapes_watching([x, *sources])
        if tapes != 1 or pair.tapes != 1:
            return tapes == pair.tapes == 0
        return _internals.tapes_watching([pair.y()]) == 1 and _watched(sources) == pair.watched

    def version(self, weights):
        """Returns a hashable value that is equal to an earlier one only if no variable changed.

        In eager mode a read of a variable shares its buffer, and TensorFlow never writes to a
        buffer that somebody still reads: it allocates another. So while this object holds the last
        reads, equal addresses prove equal values. In a `tf.function`, operations that take a
        variable's handle and are not reads are counted. Where neither can be known (a variable on a
        GPU), the version is None.
        """
        if not tf.executing_eagerly():
            graph = tf.compat.v1.get_default_graph()
            writes = _internals.count_writes(graph, weights)
            return None if writes is None else (id(graph), writes)
        if not weights:
            return 0, 0
        try:
            reads = [_internals.read(v) for v in weights]
            addresses = [_address(read) for read in reads]
        except (AttributeError, TypeError, ValueError, BufferError):
            return None
        number, last_addresses, _ = self._reads
        if addresses != last_addresses:
            number = _next_number()
            self._reads = (number, addresses, reads)
        return 0, number


def _strongly(tensor):
    return lambda: tensor


def _handles(variables):
    return [v.handle for v in variables]


def _watched(tensors):
    return tuple(_internals.tapes_watching([tensor]) for tensor in tensors)


def _address(tensor):
    if "CPU" not in tensor.device:
        raise BufferError("only host memory can be viewed without a copy")
    # Empty tensors share no buffer, and have no values that could change.
    return np.asarray(memoryview(tensor)).ctypes.data if tensor.shape.num_elements() else 0
