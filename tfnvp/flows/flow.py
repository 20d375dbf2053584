"""A normalizing flow as a Keras model: trained by `fit`, sampled, inverted, saved."""

import math
import pathlib
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp import advice
from tfnvp.arguments import check_int
from tfnvp.bases.named import make_base
from tfnvp.bijectors.bijector import Bijector, event_shape_tuple, latent_shape
from tfnvp.bijectors.compose import Chain, takes_condition, value_and_log_det, walk
from tfnvp.fitting import programs
from tfnvp.fitting.initialization import Adaptation, ConditionScale
from tfnvp.fitting.maximum_likelihood import MaximumLikelihood
from tfnvp.flows import tracking
from tfnvp.flows.calls import CompiledCalls, FlowCalls
from tfnvp.flows.diagnostics import Diagnostics, diagnose
from tfnvp.flows.saving import SavedFlow
from tfnvp.flows.serialization import serialize
from tfnvp.inputs.condition_network import compiles_well, describe_conditions
from tfnvp.inputs.density import mark_density_zero
from tfnvp.inputs.spec import DataSpec
from tfnvp.inputs.support import DataSide, finite_rows, like_rows, support_of
from tfnvp.quantization import BitsPerDim, bits_per_dim


@keras.saving.register_keras_serializable("tfnvp")
class Flow(FlowCalls, SavedFlow, MaximumLikelihood):
    """The distribution of `x = bijector.forward(z)` with `z` from a simple base, as a Keras model.

    ::

        log p(x) = log p_base(z) + log|det dz/dx|,    z = bijector.inverse(x)

    `fit(x)` needs no targets: the loss is the mean of `-log p(x)` in nats. Everything of a Keras
    model works: callbacks, validation, sample weights, saving. A conditional flow learns
    `p(x | condition)` from `fit(x, condition)`, from data sets of pairs `(x, condition)`, or from
    dictionaries `{"x": ..., "condition": ...}`.

    Args:
      bijector: any `tfb.Bijector` from latents `z` to data `x`, ours, TFP's or a chain of both.
      event_shape: int or tuple, shape of one data point.
      base: "normal" (the default), "logistic", or a `tfd.Distribution` over the latents.
      condition_shape: int or tuple, shape of the condition, where the bijector takes one. With a
        condition network, the shape of its input, or a dictionary or tuple of the shapes of its
        inputs; a functional model knows them.
      levels: int, for quantized data such as pixels: the number of grey levels. Data is then
        `(pixel + u) / levels` with `u` uniform in [0, 1), see `tfnvp.data.dequantize`, and the
        metric `bits_per_dim = (-log p(x) + D log levels) / (D log 2)` is reported.
      name: name of the model.
      condition_network: Keras layer or model `c = network(condition)`, whose output the bijector
        takes as its condition. It runs once in each call, is trained with the flow, and is saved
        and exported with it. The condition of a network with several inputs is a dictionary or
        tuple of arrays. Whole numbers stay what they are, so labels can go to a
        `keras.layers.Embedding`; `tfnvp.conditioners.StandardizedInputs` around the network
        standardises its other inputs. `flow.distribution` and `flow.bijector` take
        `flow.embed_condition(condition)`.
      angles: array of bools of the latents' shape, true for latents that are angles, as those of
        `tfnvp.bijectors.SplineCoupling` can be: their base is uniform on [-pi, pi), also at other
        temperatures.

    Raises:
      TypeError: if `bijector` is not a bijector, `condition_network` not a Keras layer, or `base`
        neither name nor distribution.
      ValueError: if shapes do not fit together; from calls, if data has the wrong shape, holds
        integers, or is not finite.

    >>> import numpy as np, tensorflow_probability as tfp, tfnvp
    >>> flow = tfnvp.Flow(tfp.bijectors.Exp(), event_shape=2)
    >>> [round(float(nats), 3) for nats in flow.log_prob(np.ones([3, 2], "float32"))]
    [-1.838, -1.838, -1.838]

    Source: Dinh, Krueger and Bengio 2014 (NICE), equation 2.
    """

    #: Whether whole grey levels are taken as data, and dequantized with fresh noise in every call.
    accepts_integers = False

    #: Whether XLA is known to compile the flow, and to make it faster, also on CPUs.
    compiles_well = False

    #: How many data points `fit` uses to start normalisations, scalings and whitenings.
    adaptation_rows = 2**14

    def __init__(
        self,
        bijector: tfp.bijectors.Bijector,
        event_shape: int | tuple[int, ...],
        base: str | tfp.distributions.Distribution | None = None,
        condition_shape: int | tuple[int, ...] | None = None,
        levels: int | None = None,
        name: str | None = None,
        condition_network: keras.layers.Layer | None = None,
        angles: npt.ArrayLike | None = None,
    ):
        # Likelihoods are float32 with any global policy; conditioners have their own policy.
        super().__init__(name=name, dtype="float32")
        if not isinstance(bijector, tfp.bijectors.Bijector):
            raise TypeError(f"`bijector` must be a tfb.Bijector. Received: {bijector!r}")
        if levels is not None:
            check_int("levels", levels, least=2)
        self.event_shape = event_shape_tuple(event_shape)
        self._conditions, embedded_shape = describe_conditions(condition_network, condition_shape)
        self.condition_shape = self._conditions and self._conditions.shape
        if takes_condition(bijector) != (embedded_shape is not None):
            raise ValueError(
                "`condition_shape` must be given exactly where the bijector takes a condition. "
                f"Received: condition_shape={condition_shape!r}, bijector {bijector}"
            )
        for part in (step.bijector for step in walk(bijector)):
            if getattr(part, "condition_shape", None) not in (None, embedded_shape):
                raise ValueError(
                    f"`condition_shape` must be that of {part.name}, {part.condition_shape}. "
                    f"Received: {embedded_shape}"
                    f"{' from `condition_network`' * (condition_network is not None)}"
                )
        self.base = base = "normal" if base is None else base
        self.levels = levels
        self.bijector = bijector
        self.latent_shape = latent_shape(bijector, self.event_shape)
        self.angles = None if angles is None else np.asarray(angles, bool)
        # TFP's own bijectors use caches that ignore gradient tapes; our chain avoids them.
        own = isinstance(bijector, (Bijector, Chain))
        self.distribution = tfp.distributions.TransformedDistribution(
            make_base(base, self.latent_shape, self.angles),
            bijector if own else Chain([bijector]),
            # Accepts `condition=...`, and TFP's form `bijector_kwargs={...}`.
            kwargs_split_fn=lambda kwargs: ({}, kwargs.get("bijector_kwargs", kwargs)),
            name="flow",
        )
        # Keras trains and saves what it finds in attributes, but does not search `tf.Module`s.
        networks = () if condition_network is None else (condition_network,)
        self.keras_layers, self.keras_variables = tracking.find(self.distribution, *networks)
        if networks:
            self.condition_network = condition_network
        self.condition_scale = ConditionScale(bijector, condition_network, self._conditions)
        if levels is not None:
            self.bits_per_dim_metric = BitsPerDim(levels, self.event_size)
        self._support = support_of(bijector)
        self._data_side = DataSide(bijector, self.event_shape)
        self.adaptation = Adaptation(
            bijector, self.condition_scale, self.embed_condition, self._data_side
        )
        self._calls = CompiledCalls(self)
        self.built = True

    @property
    def event_size(self) -> int:
        """The number of variables of one data point."""
        return math.prod(self.event_shape)

    @property
    def data_spec(self) -> DataSpec:
        """What the flow accepts as data."""
        return DataSpec(
            self.event_shape,
            self.levels,
            self.accepts_integers,
            self._support,
            data_side=self._data_side,
            conditions=self._conditions,
        )

    @property
    def _latent_spec(self) -> DataSpec:
        return DataSpec(self.latent_shape, name="z", conditions=self._conditions)

    # --- What the model computes, as graph code -----------------------------------------------

    def call(self, x: Any, condition: Any = None, training: bool | None = None) -> tf.Tensor:
        """Returns `log p(x)`, or `log p(x | condition)`, in nats: `[batch]`.

        Called with `training=True` (as `fit` does), dropout and normalisations train.
        """
        x, condition = self.data_spec.unpack(x, condition)
        if not training:
            return self._log_prob(x, self.embed_prepared(condition))
        # An unusable row makes the loss NaN, which ends training, but has no gradient.
        x, condition, usable = self.data_spec.mask_unusable_rows(x, condition)
        condition = self.embed_prepared(condition)
        # Layers inside the bijector inherit `training` from this call's context.
        in_xla = self.compiles_well and self._runs_in_xla()
        if in_xla and programs.halves_are_faster(x, self.bijector.trainable_variables):
            log_prob = programs.on_halves(self._unmarked_log_prob, x, condition)
        else:
            log_prob = self._unmarked_log_prob(x, condition)
        return tf.where(usable, log_prob, tf.constant(float("nan"), log_prob.dtype))

    def embed_prepared(self, condition: Any) -> tf.Tensor | None:
        """Returns the condition that the bijector takes: NaN for rows that no network can use.

        Args:
          condition: conditions as `data_spec.prepare` returns them, or None.
        """
        if condition is None or self.condition_network is None:
            return condition
        # Networks can hide NaN, as TensorFlow's ReLU does in graphs, and XLA takes any label.
        usable = self._conditions.usable_rows(condition, largest=np.finfo("float32").max)
        embedded = self.condition_network(self._conditions.masked(condition, usable))
        embedded = tf.cast(embedded, tf.float32)
        return tf.where(like_rows(usable, embedded), embedded, float("nan"))

    def _inverse(self, x, condition):
        """Returns `(z, log|det dz/dx|)`: what subclasses override to change how data is encoded."""
        return value_and_log_det(self.bijector, x, len(self.event_shape), condition)

    def _forward(self, z, condition):
        """Returns `(x, log|det dx/dz|)`, the other direction of `_inverse`."""
        return value_and_log_det(self.bijector, z, len(self.latent_shape), condition, False)

    def _unmarked_log_prob(self, x, condition):
        """Returns the log-density of supported rows, which is NaN where numbers overflow."""
        z, log_det = self._inverse(x, condition)
        return self.distribution.distribution.log_prob(z) + log_det

    def _log_prob(self, x, condition):
        x_or_harmless, inside = self.data_spec.mask_unsupported_rows(x)
        nats = self._unmarked_log_prob(x_or_harmless, condition)
        return mark_density_zero(self, nats, inside, x, condition)

    def _unmarked_encode(self, x, condition):
        return self._inverse(x, condition)[0]

    def _encode(self, x, condition):
        x, inside = self.data_spec.mask_unsupported_rows(x)
        z = self._unmarked_encode(x, condition)
        inside &= finite_rows(z)
        return tf.where(like_rows(inside, z), z, tf.constant(float("nan"), z.dtype))

    def _decode(self, z, condition):
        return self._forward(z, condition)[0]

    def _decode_and_log_prob(self, z, condition):
        x, log_det = self._forward(z, condition)
        nats = self.distribution.distribution.log_prob(z) - log_det
        return x, mark_density_zero(self, nats, finite_rows(x), z, condition)

    # --- What users call ----------------------------------------------------------------------

    def adapt(self, x: Any, condition: Any = None) -> None:
        """Initialises normalisations and scalings from data; `fit` does so before its first epoch.

        That includes mean and standard deviation of conditions. `adapt` of a trained flow changes
        what its networks were trained for; to train on more data, call `fit` alone.

        Args:
          x: `[batch, *event_shape]`, a sample of the training data.
          condition: as for `log_prob`.
        """
        x, condition = self.data_spec.prepare(x, condition)
        if fault := self.data_spec.find_unsupported(x.numpy()):
            raise ValueError(fault)
        if self._has_trained:
            advice.warn_of_adapting_a_trained_flow()
        self.adaptation.run(x, condition)
        self.adaptation.advise(x, condition)

    def check(self, x: Any, condition: Any = None) -> Diagnostics:
        """Measures round-trip error, latents against the base, log-dets; see `flows.diagnostics`.

        Args:
          x: `[batch, *event_shape]`, two points or more.
          condition: as for `log_prob`.

        Returns:
          `tfnvp.flows.diagnostics.Diagnostics`.
        """
        return diagnose(self, x, condition)

    def bits_per_dim(self, log_prob: Any) -> Any:
        """Converts log-densities of this flow, in nats, to bits per dimension.

        Raises:
          ValueError: if the flow was made without `levels`.
        """
        if self.levels is None:
            raise ValueError("bits per dimension need a flow made with `levels`. Received: None")
        return bits_per_dim(log_prob, self.levels, self.event_size)

    def uses_xla(self) -> bool:
        """Whether XLA compiles training and large evaluations by default."""
        policies = {layer.compute_dtype for layer in self.keras_layers}
        # On CPUs, XLA's products of half precision are slower than TensorFlow's.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        known = self.compiles_well and compiles_well(self.condition_network)
        return known and alone and (on_gpu or policies <= {"float32"})

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "bijector": serialize(self.bijector),
            "event_shape": list(self.event_shape),
            "base": serialize(self.base),
            "condition_shape": serialize(self.condition_shape),
            "levels": self.levels,
            "angles": serialize(self.angles),
        }

    def export(self, path: Any, **kwargs) -> pathlib.Path:
        """Writes a SavedModel for TensorFlow Serving; see `tfnvp.export.export` for arguments."""
        from tfnvp.export import export

        return export(self, path, **kwargs)
