"""The base of flows on vectors: options, bijectors between data and vector, couplings."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_probability as tfp

from tfnvp.arguments import check_flags, check_int, check_one_of
from tfnvp.bijectors import Chain, LULinear
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.bijectors.coupling import Coupling
from tfnvp.conditioners import (
    MLP,
    GradientCheckpointing,
    StandardizedCondition,
    StandardizedInputs,
)
from tfnvp.flows.data_side import data_side
from tfnvp.flows.flow import Flow
from tfnvp.flows.saving import SavedFlow
from tfnvp.flows.serialization import describe_activation, serialize
from tfnvp.inputs.bounds import Circle, Pair, are_circles, bounds_of, intervals
from tfnvp.inputs.condition_network import describe_conditions
from tfnvp.partitions import Partition
from tfnvp.partitions.of_couplings import partitions_for

# What files hold for values of `standardize`: in those of 0.1.0, True is "trained".
_SAVED = {True: "fixed", "trained": True}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorOptions:
    """The constructor arguments that all flows on vectors take; see `tfnvp.RealNVP` for each."""

    event_shape: int | Sequence[int]
    couplings: int
    hidden_units: Sequence
    base: str | tfp.distributions.Distribution
    partition: Partition | Sequence[Partition] | str | None
    activation: str | Callable | None
    dropout: float
    residual: bool
    logit_alpha: float | None
    standardize: bool | str
    whiten: bool | float
    condition_shape: int | Sequence[int] | None
    levels: int | None
    conditioner_dtype: str | keras.DTypePolicy | None
    gradient_checkpointing: bool
    standardize_condition: bool | str
    bounds: Mapping[int, Pair] | Sequence[Pair | None] | None
    name: str | None
    condition_network: keras.layers.Layer | None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "VectorOptions":
        """Returns the options among the `locals()` of a constructor."""
        return cls(**{field.name: arguments[field.name] for field in dataclasses.fields(cls)})

    def check(self) -> None:
        """Raises `ValueError` for invalid couplings or flags, or two maps of the same data."""
        check_int("couplings", self.couplings, most=10_000)
        check_flags(residual=self.residual, gradient_checkpointing=self.gradient_checkpointing)
        check_flags("robust", "trained", standardize=self.standardize)
        check_flags("robust", standardize_condition=self.standardize_condition)
        if self.bounds is not None and (self.logit_alpha, self.levels) != (None, None):
            raise ValueError(
                "`bounds` are for real numbers, `logit_alpha` and `levels` for grey levels, which "
                f"lie in [0, 1]: give one of them. Received: bounds={self.bounds!r}, "
                f"logit_alpha={self.logit_alpha!r}, levels={self.levels!r}"
            )

    def networks(self, partitions: Sequence[Partition], size: int, parameters: int) -> list:
        """Returns one network for each coupling.

        Args:
          partitions: the partition of each coupling.
          size: int, number of variables.
          parameters: int, how many numbers a coupling needs for each variable that it moves.
        """
        networks = []
        widths = hidden_units_for(self.hidden_units, self.couplings)
        for i, (partition, units) in enumerate(zip(partitions, widths, strict=True)):
            (moved,) = partition.shapes((size,))[1]
            network = MLP(
                moved * parameters,
                units,
                activation=self.activation,
                dropout=self.dropout,
                residual=self.residual,
                dtype=self.conditioner_dtype,
                name=f"conditioner_{i}",
            )
            takes_raw = self.condition_shape is not None and self.condition_network is None
            standardize = takes_raw and self.standardize_condition
            networks.append(wrapped(network, self.gradient_checkpointing, standardize))
        return networks


class VectorFlow(Flow):
    """A stack of couplings on vectors; its subclasses declare which.

    A subclass lists its arguments and their defaults, and passes on what differs: the class of its
    couplings, their arguments, and the bijectors around them.

    Args:
      options: the arguments that all subclasses have.
      coupling: function with the arguments of `tfnvp.bijectors.AdditiveCoupling`, such as a class,
        that returns one coupling.
      coupling_options: arguments of the subclass that are keyword arguments of each coupling.
      other_options: further arguments of the subclass, for its saved configuration.
      arrange: function of the list of couplings and the number of variables; it returns the
        bijectors from data side to base. Default: only the couplings.
      circular: intervals of the circular variables, a list with `Circle` or None for each, or None.
    """

    compiles_well = True

    #: Name of the bijector.
    bijector_name = "vector_flow"

    def __init__(
        self,
        options: VectorOptions,
        coupling: Callable[..., Coupling],
        coupling_options: dict | None = None,
        other_options: dict | None = None,
        arrange: Callable[[list, int], list] | None = None,
        circular: Sequence[Circle | None] | None = None,
    ):
        coupling_options, other_options = coupling_options or {}, other_options or {}
        event_shape = event_shape_tuple(options.event_shape)
        size = math.prod(event_shape)
        options = dataclasses.replace(
            options,
            # Each network makes an activation of its own: layers in two networks are not saved.
            activation=describe_activation(options.activation),
            conditioner_dtype=policy_name(options.conditioner_dtype),
            bounds=bounds_of(options.bounds, size),
        )
        arguments = {**vars(options), **coupling_options, **other_options}
        del arguments["condition_network"]  # Described when it is saved.
        options.check()
        intervals(options.bounds, circular)
        config = {name: serialize(value) for name, value in arguments.items()}
        config["standardize"] = _SAVED.get(options.standardize, options.standardize)
        before = data_side(
            event_shape,
            options.logit_alpha,
            options.standardize,
            options.whiten,
            options.bounds,
            circular,
        )
        network = wrapped_inputs(options.condition_network, options.standardize_condition)
        _, condition_shape = describe_conditions(network, options.condition_shape)
        if size < 2 and condition_shape is None:
            raise ValueError(
                "`event_shape` must have two variables or more, or the flow a `condition_shape`: "
                "a coupling changes some variables, given the others and the condition. "
                f"Received: {size} variable"
            )
        partitions = partitions_for(options.partition, options.couplings, size)
        # A coupling without a shape checks its options, and knows how many parameters it takes.
        shapeless = coupling(keras.layers.Identity(), partitions[0], **coupling_options)
        networks = options.networks(partitions, size, shapeless.parameters_per_variable)
        layers = [
            coupling(
                network,
                partition,
                (size,),
                condition_shape=condition_shape,
                name=f"coupling_{i}",
                **coupling_options,
            )
            for i, (network, partition) in enumerate(zip(networks, partitions, strict=True))
        ]
        if arrange is not None:
            layers = arrange(layers, size)
        super().__init__(
            Chain([*before, *layers], name=self.bijector_name),
            event_shape,
            options.base,
            options.condition_shape,
            options.levels,
            options.name,
            network,
            None if circular is None else are_circles(circular),
        )
        self._config = config
        #: Bounds of the variables, a list with `(low, high)` or None for each, or None.
        self.bounds = options.bounds
        #: Intervals of the circular variables, a list with `(low, high)` or None for each, or None.
        self.circular = circular

    def get_config(self) -> dict:
        return {**self._config, **SavedFlow.get_config(self)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> "VectorFlow":
        saved = config.get("standardize")
        if saved is True or saved == "fixed":
            config = {**config, "standardize": "trained" if saved is True else True}
        return super().from_config(config)


def wrapped(
    network: keras.layers.Layer, gradient_checkpointing: bool, standardize_condition: bool | str
) -> keras.layers.Layer:
    """Returns a coupling's network inside the layers that the flow's arguments ask for."""
    if gradient_checkpointing:
        network = GradientCheckpointing(network)
    if not standardize_condition:
        return network
    return StandardizedCondition(network, robust=standardize_condition == "robust")


def wrapped_inputs(
    network: keras.layers.Layer | None, standardize_condition: bool | str
) -> keras.layers.Layer | None:
    """Returns a condition network with standardised inputs, if the flow's argument asks for it."""
    is_wrapped = isinstance(network, StandardizedInputs)
    if is_wrapped or not standardize_condition or not isinstance(network, keras.layers.Layer):
        return network
    return StandardizedInputs(network, robust=standardize_condition == "robust")


def with_linear_maps(couplings: list, size: int, linear: str | None) -> list:
    """Puts a learned linear map, of variables in random order, around and between couplings.

    Args:
      couplings: list of bijectors.
      size: number of variables.
      linear: "lu", or None for only the couplings.

    Raises:
      ValueError: if `linear` is another value.
    """
    check_one_of("linear", linear, ("lu", None))
    if linear is None:
        return couplings
    generator = np.random.RandomState(0)
    layers = []
    for i in range(len(couplings) + 1):
        layers.append(LULinear(size, generator.permutation(size), name=f"linear_{i}"))
        layers += couplings[i : i + 1]
    return layers


def policy_name(conditioner_dtype: str | keras.DTypePolicy | None) -> str:
    """Returns the name of a Keras dtype policy, by default of the global one.

    A file names the policy of its flow, so that it does not depend on the global policy of the
    program that loads it.
    """
    return keras.dtype_policies.get(conditioner_dtype or keras.config.dtype_policy()).name


def hidden_units_for(hidden_units: Sequence, couplings: int) -> list[tuple]:
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
