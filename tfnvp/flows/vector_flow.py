"""What NICE and Real NVP on vectors share: the way from data to a vector, and the couplings."""

import math
import numbers
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow_probability as tfp

from tfnvp.bijectors import ActNorm, Logit, LULinear, Whitening
from tfnvp.conditioners import MLP, GradientCheckpointing, StandardizedCondition
from tfnvp.partitions import EvenOdd, Mask, Partition

tfb = tfp.bijectors


def data_side(event_shape, logit_alpha, standardize, whiten=False):
    """Returns the bijectors between data and the vector that the couplings transform."""
    size = math.prod(event_shape)
    bijectors = []
    if logit_alpha is not None:
        bijectors.append(tfb.Invert(Logit(logit_alpha)))
    if len(event_shape) > 1:
        bijectors.append(tfb.Reshape(event_shape_out=event_shape, event_shape_in=(size,)))
    if whiten is not False:
        if isinstance(whiten, bool):
            bijectors.append(Whitening(size))
        elif isinstance(whiten, numbers.Real) and whiten > 0:
            bijectors.append(Whitening(size, epsilon=whiten))
        else:
            raise ValueError(
                "`whiten` must be True, False or the ridge of the whitening, a number above 0. "
                f"Received: {whiten!r}"
            )
    if standardize:
        bijectors.append(ActNorm(size, data_init=False, name="standardize"))
    return bijectors


def couplings(
    kind,
    size,
    partitions,
    hidden_units,
    condition_shape,
    mlp,
    gradient_checkpointing,
    standardize_condition,
    **kwargs,
):
    """Returns one coupling of class `kind` for each partition, with an `MLP` of its own."""
    if size < 2:
        raise ValueError(
            "`event_shape` must have two variables or more: a coupling changes some of them, given "
            f"the others. Received: {size} variable"
        )
    standardized = standardize_condition and condition_shape is not None
    layers = []
    for i, (partition, units) in enumerate(zip(partitions, hidden_units, strict=True)):
        (moved,) = partition.shapes((size,))[1]
        conditioner = MLP(
            moved * kind.parameters_per_variable, units, name=f"conditioner_{i}", **mlp
        )
        layers.append(
            kind(
                wrapped(conditioner, gradient_checkpointing, standardized),
                partition,
                (size,),
                condition_shape=condition_shape,
                name=f"coupling_{i}",
                **kwargs,
            )
        )
    return layers


def wrapped(network, gradient_checkpointing, standardize_condition):
    """Returns a coupling's network with what the flow's arguments put around it."""
    if gradient_checkpointing:
        network = GradientCheckpointing(network)
    return StandardizedCondition(network) if standardize_condition else network


def between(couplings, linear, size):
    """Puts a learned linear map, of variables in random order, around and between couplings.

    Args:
      couplings: list of bijectors.
      linear: "lu", or None for the couplings alone.
      size: number of variables.

    Raises:
      ValueError: if `linear` is something else.
    """
    if linear is None:
        return couplings
    if linear != "lu":
        raise ValueError(f'`linear` must be "lu" or None. Received: {linear!r}')
    generator = np.random.RandomState(0)
    layers = []
    for i in range(len(couplings) + 1):
        layers.append(LULinear(size, generator.permutation(size), name=f"linear_{i}"))
        layers += couplings[i : i + 1]
    return layers


def check_couplings(couplings):
    """Raises `ValueError` unless the number of couplings is a positive int."""
    if isinstance(couplings, bool) or not isinstance(couplings, int) or couplings < 1:
        raise ValueError(f"`couplings` must be a positive int. Received: {couplings!r}")


def policy_name(conditioner_dtype):
    """Returns the name of a Keras dtype policy, by default of the global one.

    A saved flow says which it was, whatever the global policy is where it is loaded.
    """
    return keras.dtype_policies.get(conditioner_dtype or keras.config.dtype_policy()).name


def check_flags(**flags):
    """Raises `ValueError` for arguments that are neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"`{name}` must be True or False. Received: {value!r}")


def partitions_for(partition, couplings, size):
    """Returns a partition for each coupling: the given ones, or one and its swap by turns."""
    if partition is None:
        partition = EvenOdd()
    if isinstance(partition, str):
        return _random_partitions(partition, couplings, size)
    if isinstance(partition, Partition):
        return [partition if i % 2 == 0 else partition.swap() for i in range(couplings)]
    partitions = list(partition) if isinstance(partition, Iterable) else []
    if len(partitions) != couplings or not all(isinstance(p, Partition) for p in partitions):
        raise ValueError(
            "`partition` must be a tfnvp.partitions.Partition or a sequence of one for each of "
            f"the {couplings} couplings. Received: {partition!r}"
        )
    return partitions


def _random_partitions(partition, couplings, size):
    """Random halves, each followed by its swap; always the same for the same numbers."""
    if partition != "random":
        raise ValueError(
            '`partition` must be "random", a tfnvp.partitions.Partition or a sequence of them. '
            f"Received: {partition!r}"
        )
    generator = np.random.RandomState(0)
    masks = [
        Mask(np.argsort(generator.uniform(size=size)) < (size + 1) // 2)
        for _ in range(0, couplings, 2)
    ]
    return [mask for half in masks for mask in (half, half.swap())][:couplings]


def hidden_units_for(hidden_units, couplings):
    """Returns the hidden widths for each coupling: the same for all, or a sequence for each."""
    is_sequence = isinstance(hidden_units, Iterable) and not isinstance(hidden_units, str)
    hidden_units = list(hidden_units) if is_sequence else [hidden_units]
    if not any(isinstance(units, (list, tuple)) for units in hidden_units):
        return [tuple(hidden_units)] * couplings
    if len(hidden_units) != couplings:
        raise ValueError(
            "`hidden_units` must be a sequence of widths, or a sequence of such sequences, one "
            f"for each of the {couplings} couplings. Received: {hidden_units!r}"
        )
    return [tuple(units) for units in hidden_units]
