"""A number that changes whenever a set of variables does."""

import itertools

import numpy as np
import tensorflow as tf

_next_version = itertools.count().__next__


class WeightsVersion:
    """Tells, cheaply and without hooks, whether variables were written since last asked.

    TFP caches what a bijector computed by the identity of its argument, whatever happened to
    the weights in between. Mixing this number into a bijector's hash makes the cache, also that
    of a `tfb.Chain` or `tfb.Invert` around it, miss after every weight update.

    In eager mode a read of a variable shares its buffer, and TensorFlow never writes to a buffer
    that somebody still reads: it allocates another. So while this object holds the last reads,
    equal addresses prove equal values, and it never compares the values themselves. In a
    `tf.function` it counts the operations that take a variable's handle and are not reads.
    Where neither can be known (a variable on a GPU), every answer is new, and nothing is cached.
    """

    def __init__(self, variables):
        self._variables = tuple(variables)
        self._last = (_next_version(), None, ())

    def __call__(self):
        """Returns a hashable value, equal to the previous one only if no variable changed."""
        if not self._variables:
            return 0
        if tf.executing_eagerly():
            return self._eager_version()
        return self._graph_version(tf.compat.v1.get_default_graph())

    def _eager_version(self):
        try:
            reads = [
                tf.raw_ops.ReadVariableOp(resource=v.handle, dtype=v.dtype) for v in self._variables
            ]
            addresses = [_address(read) for read in reads]
        except (AttributeError, TypeError, ValueError, BufferError):
            return _next_version()
        version, last_addresses, _ = self._last
        if addresses != last_addresses:
            version = _next_version()
            self._last = (version, addresses, reads)
        return version

    def _graph_version(self, graph):
        if not hasattr(graph, "capture"):
            return _next_version()
        writes = 0
        for variable in self._variables:
            consumers = graph.capture(variable.handle).consumers()
            writes += sum(op.type != "ReadVariableOp" for op in consumers)
        return (id(graph), writes)


def _address(tensor):
    if "CPU" not in tensor.device:
        raise BufferError("only host memory can be viewed without a copy")
    # Empty tensors share no buffer, and have no values that could change.
    return np.asarray(memoryview(tensor)).ctypes.data if tensor.shape.num_elements() else 0
