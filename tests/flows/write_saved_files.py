"""Writes the flows that `test_saved_files.py` reads: `python write_saved_files.py FOLDER`.

Run with tfnvp 0.1.0, it wrote those in `saved_files/`.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tfnvp import bijectors, partitions

tfb, tfd = tfp.bijectors, tfp.distributions

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(32, 4)) * [1, 2, 3, 4] + 1).astype("float32")
UNIT = RNG.uniform(0.05, 0.95, size=(32, 4)).astype("float32")
UNIT_SQUARES = RNG.uniform(0.05, 0.95, size=(32, 2, 2)).astype("float32")
CONDITION = (RNG.normal(size=(32, 3)) * 10 + 50).astype("float32")
IMAGES = RNG.uniform(0.05, 0.95, size=(16, 4, 4, 2)).astype("float32")
SMALL = {"couplings": 2, "hidden_units": (4,)}
SMALL_IMAGES = {"base_filters": 2, "residual_blocks": 1}
MASK = partitions.Mask([True, False, False, True])


def network(outputs):
    return tfnvp.conditioners.MLP(outputs, hidden_units=(4,))


def functional_network():
    inputs = [keras.Input((1,)), keras.Input((3,))]
    hidden = keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(hidden))


def chain():
    return bijectors.Chain(
        [
            tfb.Invert(bijectors.Logit(0.02)),
            bijectors.ActNorm(4, data_init=False),
            bijectors.Whitening(4),
            bijectors.AdditiveCoupling(network(2), partitions.Split(2), 4),
            bijectors.AffineCoupling(network(4), partitions.EvenOdd(), 4),
            bijectors.BatchNormalization(4),
            bijectors.LULinear(4, [2, 0, 3, 1]),
            bijectors.DiagonalScaling(4, 0.1),
        ]
    )


def tfp_chain():
    coupling = bijectors.AffineCoupling(network(2), partitions.Split(1), 2, scale="tanh")
    shift = tfb.Shift(tf.Variable([1.0, 2.0]))
    return tfb.Chain([shift, tfb.Softplus(), coupling, tfb.Permute([1, 0])])


def multi_scale():
    inner = [bijectors.ActNorm((2, 2, 4)), bijectors.DiagonalScaling((2, 2, 4))]
    return bijectors.Chain([bijectors.MultiScale(bijectors.Chain(inner))])


def flows():
    """Yields `(name, flow, x, condition)`."""
    yield "nice", tfnvp.NICE(4, **SMALL), X, None
    options = {"base": "logistic", "dropout": 0.1, "residual": True}
    nice = tfnvp.NICE(
        (2, 2),
        couplings=2,
        hidden_units=((4,), (4, 4)),
        partition="random",
        activation="tanh",
        logit_alpha=0.01,
        standardize=True,
        whiten=1e-4,
        levels=16,
        **options,
    )
    yield "nice_options", nice, UNIT_SQUARES, None
    nice = tfnvp.NICE(4, **SMALL, condition_shape=3, gradient_checkpointing=True)
    yield "nice_conditional", nice, X, CONDITION
    yield "real_nvp", tfnvp.RealNVP(4, **SMALL), X, None
    yield "real_nvp_trained", tfnvp.RealNVP(4, **SMALL), X, None
    real_nvp = tfnvp.RealNVP(
        4,
        **SMALL,
        scale="sigmoid",
        partition=MASK,
        activation="gelu",
        logit_alpha=0.05,
        standardize=False,
        levels=8,
        whiten=True,
        linear="lu",
        gradient_checkpointing=True,
        **options,
    )
    yield "real_nvp_options", real_nvp, UNIT, None
    several = [partitions.Split(1), partitions.EvenOdd(), MASK]
    real_nvp = tfnvp.RealNVP(4, 3, (4,), partition=several, scale="softclamp")
    yield "real_nvp_partitions", real_nvp, X, None
    real_nvp = tfnvp.RealNVP(4, **SMALL, scale="exp", conditioner_dtype="mixed_bfloat16")
    yield "real_nvp_exp", real_nvp, X, None
    yield "real_nvp_conditional", tfnvp.RealNVP(4, **SMALL, condition_shape=3), X, CONDITION
    real_nvp = tfnvp.RealNVP(4, **SMALL, condition_shape=3, standardize_condition=False)
    yield "real_nvp_raw_condition", real_nvp, X, (CONDITION - 50) / 10
    base = tfd.MultivariateNormalDiag(tf.Variable([0.0, 1.0, 2.0, 3.0]), tf.ones(4))
    yield "real_nvp_own_base", tfnvp.RealNVP(4, **SMALL, base=base), X, None
    base = tfnvp.bases.logistic_mixture(X, components=3)
    yield "real_nvp_mixture_base", tfnvp.RealNVP(4, **SMALL, base=base), X, None
    yield "image", tfnvp.ImageRealNVP((4, 4, 2), **SMALL_IMAGES), IMAGES, None
    image = tfnvp.ImageRealNVP(
        (4, 4, 2),
        scales=1,
        **SMALL_IMAGES,
        scale="sigmoid",
        alpha=None,
        normalization="act_norm",
        network_batch_norm=False,
        levels=None,
        base="logistic",
    )
    yield "image_options", image, IMAGES, None
    image = tfnvp.ImageRealNVP(
        (4, 4, 2), scales=1, **SMALL_IMAGES, condition_shape=3, normalization=None
    )
    yield "image_conditional", image, IMAGES, CONDITION[:16]
    yield "chain", tfnvp.Flow(chain(), 4), UNIT, None
    positive = (np.abs(X[:, :2]) + [2.2, 3.2]).astype("float32")
    yield "tfp_chain", tfnvp.Flow(tfp_chain(), 2), positive, None
    yield "multi_scale", tfnvp.Flow(multi_scale(), (4, 4, 2)), IMAGES, None
    coupling = bijectors.AffineCoupling(
        functional_network(), partitions.Split(1), 2, condition_shape=3
    )
    flow = tfnvp.Flow(coupling, 2, condition_shape=3)
    yield "functional_conditioner", flow, X[:, :2], (CONDITION - 50) / 10


def write(folder):
    arrays = {}
    for name, flow, x, condition in flows():
        if name in ("real_nvp_trained", "real_nvp_conditional"):
            flow.compile("adam")
            flow.fit(x, condition, batch_size=16, epochs=1, verbose=0)
        else:
            flow.adapt(x, condition)
        for i, weight in enumerate(flow.trainable_variables):
            noise = tf.random.stateless_normal(weight.shape, (i, 7), dtype=weight.dtype)
            weight.assign_add(0.05 * noise)
        flow.save(folder / f"{name}.keras")
        arrays[f"{name}/x"], one = x[:4], None
        if condition is not None:
            arrays[f"{name}/condition"], one = condition[:4], condition[0]
        log_prob = flow.log_prob(x[:4], arrays.get(f"{name}/condition"))
        arrays[f"{name}/log_prob"] = log_prob.numpy()
        arrays[f"{name}/sample"] = flow.sample(3, seed=1, condition=one).numpy()
    np.savez_compressed(folder / "expected.npz", **arrays)


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
