"""Interpolation of faces: four faces in the corners, and decoded latents between them.

Trains a small convolutional Real NVP on a folder of pictures of faces, or on the Olivetti faces of
scikit-learn (a download of 4 MB), and writes faces_interpolation.png. With --quick it
uses drawn faces.
"""

import argparse

import keras
import numpy as np

import tfnvp

SIZE = 32


def olivetti():
    """The 400 faces of AT&T in Cambridge, 32 x 32: 360 to train on, 40 of other people."""
    from PIL import Image
    from sklearn.datasets import fetch_olivetti_faces

    faces = np.uint8(255 * fetch_olivetti_faces().images)
    small = [np.asarray(Image.fromarray(face).resize((SIZE, SIZE))) for face in faces]
    return np.stack(small)[..., np.newaxis]


def drawn(n=64, size=8):
    """Discs with two eyes and a mouth, of different sizes and greys."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    faces = []
    for _ in range(n):
        radius, grey = rng.uniform(0.6, 1.0), rng.uniform(120, 220)
        face = np.where(x**2 + y**2 < radius**2, grey, 30.0)
        for eye in (-0.35, 0.35):
            face[(x - eye) ** 2 + (y + 0.3) ** 2 < 0.03] = 20.0
        face[(np.abs(y - 0.4) < 0.12) & (np.abs(x) < rng.uniform(0.2, 0.5))] = 60.0
        faces.append(face)
    return np.uint8(faces)[..., np.newaxis]


def main(images=None, quick=False, epochs=60, path="faces_interpolation.png"):
    if quick:
        faces, epochs = drawn(), 1
        train, test = faces[:-4], faces[-4:]
    elif images:
        splits = tfnvp.data.load_images(images, SIZE)
        train, test = splits.train, splits.test
    else:
        faces = olivetti()
        train, test = faces[:-40], faces[-40:]

    keras.utils.set_random_seed(0)
    options = {
        "scales": 1 if quick else 2,
        "base_filters": 4 if quick else 16,
        "residual_blocks": 1 if quick else 2,
    }
    flow = tfnvp.ImageRealNVP(train.shape[1:], alpha=0.01, **options)
    flow.compile(keras.optimizers.Adam(1e-3, global_clipnorm=100.0))
    flow.fit(train, batch_size=32, epochs=epochs, verbose=0)  # uint8: fresh noise in every step.

    corners = test[:: max(1, len(test) // 4)][:4]
    x = tfnvp.data.dequantize(corners, 256, seed=(0, 0))
    tfnvp.plotting.save_grid(path, flow.interpolate(x, rows=8, columns=8))
    bits = float(np.mean(flow.bits_per_dim(flow.log_prob(test))))
    print(f"{bits:.3f} bits per dimension of {len(test)} test faces; picture in {path}")
    return bits


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="folder of pictures of faces")
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args()
    main(arguments.images, arguments.quick)
