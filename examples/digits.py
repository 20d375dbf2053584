"""Handwritten digits with callbacks: averaged weights, held-out bits per dimension, sample grids.

Writes digits/samples-0001.png and so on, digits/history.csv, and digits/flow.keras.
"""

import argparse
import pathlib

import keras

import tfnvp
from tfnvp.callbacks import BitsPerDim, LatentDiagnostics, SampleGrid


def main(epochs=200, every=20, folder="digits"):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    digits = tfnvp.data.load_digits()  # Integer grey levels, 0 to 16.

    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP(
        (8, 8), levels=17, logit_alpha=0.01, dropout=0.2, partition="random", couplings=8
    )
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, epochs * 6)
    flow.compile(keras.optimizers.AdamW(schedule, use_ema=True, ema_momentum=0.99))
    history = flow.fit(
        tfnvp.data.training_dataset(digits.train, 17, batch_size=256, seed=0),
        validation_data=(tfnvp.data.dequantize(digits.validation, 17, seed=(0, 1)), None),
        epochs=epochs,
        callbacks=[
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            SampleGrid(folder, every=every),
            BitsPerDim(digits.validation, every=every),
            LatentDiagnostics(digits.validation, every=every),
            keras.callbacks.CSVLogger(folder / "history.csv"),
        ],
        verbose=0,
    ).history
    flow.save(folder / "flow.keras")

    test = flow.log_prob(tfnvp.data.dequantize(digits.test, 17, seed=(0, 2)))
    bits = float(flow.bits_per_dim(test.numpy().mean()))
    first = history["held_out_bits_per_dim"][0]
    print(f"bits per dimension: validation after one epoch {first:.3f}, test at the end {bits:.3f}")
    print(f"pictures in {folder}")
    return bits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 2, "every": 1} if parser.parse_args().quick else {}))
