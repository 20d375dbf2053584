"""What each option of `ImageRealNVP` is worth: the same few steps with one option changed."""

import gc
import time

import keras

import tfnvp
from tfnvp import recipes
from tfnvp.data import training_dataset
from tfnvp.evaluation import evaluate

_OPTIONS = (
    {},
    {"network_batch_norm": False},
    {"normalization": "act_norm"},
    {"normalization": None},
    {"network": "gated"},
    {"squeeze_first": True},
    {"channel_maps": "lu"},
    {"scale": "softclamp"},
    {"scale": "sigmoid"},
    {"dequantization": "variational"},
    {"network": "gated", "normalization": "act_norm"},
    {"network": "gated", "normalization": "act_norm", "squeeze_first": True},
    {
        "network": "gated",
        "normalization": "act_norm",
        "squeeze_first": True,
        "channel_maps": "lu",
        "dequantization": "variational",
    },
)

# Steps before the timed ones.
_FIRST = 20


def compare(splits, steps, batch_size, test_rows, seed):
    """Trains a small flow with each of the options, by Adam at 1e-3.

    Yields:
      Dicts of the options, the number of weights, milliseconds of a step, and bits per dimension
      of test images with their standard error, by one draw of noise.
    """
    published = recipes.get("realnvp-mnist-small").options
    for options in _OPTIONS:
        keras.utils.set_random_seed(seed)
        flow = tfnvp.ImageRealNVP(splits.event_shape, **published, **options)
        flow.compile(keras.optimizers.Adam(1e-3))
        batches = training_dataset(splits.train, splits.levels, batch_size, seed=seed)
        flow.fit(batches.take(_FIRST), verbose=0)
        start = time.perf_counter()
        flow.fit(batches.repeat().skip(_FIRST).take(steps - _FIRST), verbose=0)
        seconds = time.perf_counter() - start
        found = evaluate(flow, splits.test[:test_rows], draws=1)
        yield {
            "options": options,
            "weights": flow.count_params(),
            "step_ms": 1e3 * seconds / (steps - _FIRST),
            "bits_per_dim": found.bits_per_dim,
            "standard_error": found.bits_per_dim_standard_error,
        }
        del flow
        keras.backend.clear_session()
        gc.collect()


def markdown(results):
    """Table of the options, in the order of the results."""
    lines = ["| options | weights | ms a step | bits/dim, test |", "|---|---|---|---|"]
    for result in results:
        named = ", ".join(f"`{name}={value!r}`" for name, value in result["options"].items())
        bits = f"{result['bits_per_dim']:.3f} ± {result['standard_error']:.3f}"
        weights = f"{result['weights']:,}"
        lines.append(f"| {named or 'none'} | {weights} | {result['step_ms']:.0f} | {bits} |")
    return "\n".join(lines)
