"""What networks in bfloat16 cost in likelihood: the same training in both, and the same weights."""

import keras
import numpy as np

import tfnvp
from tfnvp.data import dequantize, load_digits, training_dataset

_LEVELS = 17


def compare(model, epochs=100, seeds=(0, 1, 2)):
    """Trains on digits in float32 and with networks in bfloat16.

    Args:
      model: "nice" or "real_nvp".
      epochs: int.
      seeds: of initial weights, order and noise.

    Returns:
      List of dicts, one for each seed, of mean test log-densities in nats: of the flow trained in
      float32, of the one trained in bfloat16, and of the latter's weights evaluated in float32.
    """
    digits = load_digits()
    test = dequantize(digits.test, _LEVELS, seed=(1, 0))
    rows = []
    for seed in seeds:
        half = _trained(model, "mixed_bfloat16", digits.train, epochs, seed)
        whole = _flow(model, "float32")
        whole.set_weights(half.get_weights())
        nats = {
            "float32": _trained(model, "float32", digits.train, epochs, seed).log_prob(test),
            "bfloat16": half.log_prob(test),
            "bfloat16, evaluated in float32": whole.log_prob(test),
        }
        rows.append({"seed": seed, **{name: float(np.mean(n)) for name, n in nats.items()}})
    return rows


def _trained(model, dtype, images, epochs, seed):
    keras.utils.set_random_seed(seed)
    flow = _flow(model, dtype)
    flow.compile("adam")
    flow.fit(training_dataset(images, _LEVELS, 256, seed=seed), epochs=epochs, verbose=0)
    return flow


def _flow(model, dtype):
    kind = {"nice": tfnvp.NICE, "real_nvp": tfnvp.RealNVP}[model]
    return kind((8, 8), hidden_units=(256, 256), dropout=0.1, conditioner_dtype=dtype)
