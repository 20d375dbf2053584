"""What the replicas of a flow share under `tf.distribute`, so that they compute as one process.

Keras runs a training step in every replica, on its part of the batch, and adds up the gradients.
That equals a step of one process only if three things are shared: the number of rows over which the
loss is a mean, the gradient that is clipped, and the statistics of batches.
"""

from typing import Any

import keras
import tensorflow as tf

from tfnvp import _internals
from tfnvp.arguments import CHOICES

STRATEGIES = CHOICES["strategy"]


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the `tf.distribute.Strategy` of a name in `STRATEGIES`.

    "mirrored" is one replica for each GPU of this machine; "multi_worker" one for each GPU (or
    processor) of all machines in the environment variable `TF_CONFIG`, and must be made before
    anything else is done with TensorFlow.

    Raises:
      ValueError: for another name, or if there is no `TF_CONFIG` for "multi_worker".

    >>> make_strategy("none").num_replicas_in_sync
    1
    """
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}: choose one of {', '.join(STRATEGIES)}")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if not tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec():
        raise ValueError(
            "the strategy 'multi_worker' reads the environment variable TF_CONFIG, such as "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", '
            '"index": 0}}. Received: no cluster'
        )
    return tf.distribute.MultiWorkerMirroredStrategy()


def several() -> bool:
    """Whether the calling code runs in one of several replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return replicas > 1 and not tf.distribute.in_cross_replica_context()


def total(tensors: Any) -> tf.Tensor | list:
    """Sums a tensor, or each of a list, over the replicas; unchanged where there is only one."""
    if not several():
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def share_of_mean(values: tf.Tensor) -> tf.Tensor:
    """One replica's share of the mean of `values` over the batches of all replicas.

    Its value is the mean over the replica's own rows (0 for none), divided by the number of
    replicas; Keras multiplies by that number again and averages, weighted by rows. Its gradient
    is that of the sum over the replica's own rows divided by the rows of all, so that gradients
    add up to those of one process, however unequal the parts of a last batch are.

    Args:
      values: `[rows]`.

    Returns:
      A scalar.
    """
    if not several():
        return tf.reduce_mean(values)
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    rows = tf.cast(tf.shape(values)[0], values.dtype)
    mean = tf.math.divide_no_nan(tf.reduce_sum(values), rows)
    share = rows / total(rows)
    return share * mean + tf.stop_gradient((1 / replicas - share) * mean)


def check_optimizer(optimizer: Any, strategy: Any) -> None:
    """Raises `ValueError` for a Keras optimizer that was made for other replicas."""
    if _internals.strategy_of(optimizer, strategy) is not strategy:
        raise ValueError(
            "the optimizer must be made where the flow is: under `with strategy.scope():`. "
            f"Received: {type(optimizer).__name__} made outside of {type(strategy).__name__}"
        )


def sum_before_clipping(optimizer: Any) -> None:
    """Lets a Keras optimizer add up replicas' gradients before it clips them.

    Alone, it clips each replica's part first, which changes length and direction of the sum. The
    sum is still computed once.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    _internals.sum_gradients_before_clipping(optimizer, total)


def multi_worker(strategy: Any) -> bool:
    """Whether the replicas of a strategy are in several processes."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return bool(strategy.cluster_resolver and strategy.cluster_resolver.cluster_spec())


def is_chief(strategy: Any) -> bool:
    """Whether this process writes files: it is the first worker, or the only process."""
    if not multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    chief = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (chief, 0)


def wait_for_chief(strategy: Any) -> None:
    """Waits until all workers call it: a worker that ends too early ends the others."""
    if multi_worker(strategy):
        _from_first(strategy, [])(0)


def as_step_logs(logs: dict) -> dict:
    """Adds the leading axis over which Keras averages the logs of workers."""
    if not multi_worker(tf.distribute.get_strategy()):
        return logs
    return {name: tf.expand_dims(value, 0) for name, value in logs.items()}


class FollowChief(keras.callbacks.Callback):
    """Keeps all workers at the weights, the optimizer's state and the epoch of the first one.

    Before training, since workers may have initialised normalisations from other noise, or not have
    read a backup; and after every epoch, since callbacks of the first may have stopped training,
    restored weights or lowered the learning rate. It comes after all other callbacks.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        flow = self.model
        self._variables = [v.value for v in (*flow.weights, *flow.optimizer.variables)]
        self._broadcast = _from_first(flow.distribute_strategy, self._variables)
        _internals.set_initial_epoch(flow, self._follow(_internals.initial_epoch(flow)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = bool(self._follow(int(self.model.stop_training)))

    def _follow(self, number):
        """Takes over the variables of the first worker, and returns its number."""
        number, *values = self._broadcast(number)
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        return int(number)


def _from_first(strategy, variables):
    """Returns a function that gives a number and the variables as the first worker has them."""

    @tf.function
    def share(number):
        context = tf.distribute.get_replica_context()
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        own = [tf.where(is_first, v, tf.zeros_like(v)) for v in (number, *variables)]
        # One by one, for they are of several types.
        return [context.all_reduce(tf.distribute.ReduceOp.SUM, value) for value in own]

    def broadcast(number):
        values = strategy.run(share, args=(tf.constant(number),))
        return [strategy.experimental_local_results(value)[0] for value in values]

    return broadcast
