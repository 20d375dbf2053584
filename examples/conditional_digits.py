"""Digits given their class: one row of samples for each class, and Bayes' rule as a classifier.

A flow of p(image | class) samples images of a given class. The class with the highest likelihood
of an image classifies it, without a trained classifier. Writes conditional_digits.png.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

import tfnvp
from tfnvp.data import dequantize


def main(epochs=200, path="conditional_digits.png"):
    digits = tfnvp.data.load_digits()
    classes = np.eye(10, dtype="float32")

    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP(
        (8, 8),
        condition_shape=10,
        levels=17,
        logit_alpha=0.01,
        dropout=0.3,
        partition="random",
    )
    flow.compile(keras.optimizers.AdamW(1e-3, weight_decay=1e-2))
    # Fresh noise for every pass; pairs of (x, condition).
    pairs = tf.data.Dataset.from_tensor_slices((digits.train, classes[digits.train_labels]))
    pairs = pairs.shuffle(len(digits.train), seed=0).batch(128)
    pairs = pairs.map(lambda image, condition: (dequantize(image, 17), condition))
    flow.fit(pairs, epochs=epochs, verbose=0)

    rows = [flow.sample(10, seed=0, condition=classes[label]) for label in range(10)]
    tfnvp.plotting.save_grid(path, np.stack(rows))

    x = dequantize(digits.test, 17, seed=(0, 1))
    nats = np.stack([flow.log_prob(x, classes[label]) for label in range(10)], axis=1)
    accuracy = float(np.mean(nats.argmax(axis=1) == digits.test_labels))
    print(f"{100 * accuracy:.1f} % of test images are likeliest given their own class")
    print(f"picture in {path}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    main(**({"epochs": 1} if parser.parse_args().quick else {}))
