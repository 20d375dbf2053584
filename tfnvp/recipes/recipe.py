"""Named configurations: data, architecture, optimizer and schedule, with published numbers."""

import ast
import dataclasses
import difflib
import json
import math
from typing import Any

_MODELS = ("nice", "real_nvp", "image_real_nvp")

# Of small tables.
_STEPS_AN_EPOCH = 16
_LEAST_ROWS = 32


def _is_count(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value, above=0.0, below=math.inf):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and above < value < below


# Of each field that holds a number: what it may be, as a function and in words.
_POSITIVE = (_is_number, "a number above 0")
_COUNT = (_is_count, "an int of 1 or more")
_RULES = {
    "model": (lambda value: value in _MODELS, f"one of {', '.join(_MODELS)}"),
    "dataset": (lambda value: isinstance(value, str), "the name of a data set"),
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "patience": (
        lambda value: value is None or _is_count(value),
        "null, to train for all epochs, or an int of 1 or more",
    ),
    "warmup_epochs": (lambda value: _is_count(value, least=0), "an int of 0 or more"),
    "learning_rate": _POSITIVE,
    "epsilon": _POSITIVE,
    "clipnorm": _POSITIVE,
    "beta_2": (lambda value: _is_number(value, below=1.0), "a number between 0 and 1"),
    "weight_decay": (
        lambda value: value is None or value == 0 or _is_number(value),
        "null, for none, or a number of 0 or more",
    ),
    "ema_momentum": (
        lambda value: value is None or _is_number(value, below=1.0),
        "null, for no average, or a number between 0 and 1",
    ),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run but its seed.

    Args:
      name: name on the command line.
      description: one line on what it is.
      dataset: name of the data set, as in `tfnvp.data.load_named`.
      model: "real_nvp", "nice" or "image_real_nvp".
      options: arguments of the model's constructor besides shape and levels.
      epochs: most epochs; training stops earlier when validation no longer improves.
      batch_size: rows of a batch.
      learning_rate: peak of the schedule.
      warmup_epochs: epochs over which the learning rate rises to its peak, but a fifth of all at
        most; it then falls to zero along a cosine.
      beta_2: of Adam.
      epsilon: of Adam.
      weight_decay: decoupled weight decay (AdamW), or None.
      clipnorm: most length of a step's gradient, in nats; the loose default only catches
        explosions.
      ema_momentum: of the moving average of weights that is evaluated and kept, or None; less in
        short trainings, so that it spans two thirds of the steps at most. Not for flows with batch
        normalization, whose statistics belong to the weights themselves.
      patience: epochs without a better validation loss after which training stops, or None.
      published: the published figure with its unit and split, or "".
      source: where the configuration is from.

    Raises:
      ValueError: for a value of the wrong type or out of range.
    """

    name: str
    description: str
    dataset: str
    model: str
    options: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int = 0
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float | None = None
    clipnorm: float = 100.0
    ema_momentum: float | None = None
    patience: int | None = 50
    published: str = ""
    source: str = "tfnvp"

    def __post_init__(self):
        for name, (accepts, rule) in _RULES.items():
            value = getattr(self, name)
            if not accepts(value):
                raise ValueError(f"`{name}` must be {rule}. Received: {value!r}")

    def replace(self, **changes):
        """Returns the recipe with fields changed; `None` leaves a field as it is."""
        changes = {key: value for key, value in changes.items() if value is not None}
        return dataclasses.replace(self, **changes)

    def for_rows(self, rows):
        """Returns the recipe with smaller batches where a table has few rows.

        One step an epoch is too few for the schedule and for the average of the weights: batches
        get a sixteenth of the training rows, but 32 at least.
        """
        fitting = max(_LEAST_ROWS, rows // _STEPS_AN_EPOCH)
        return self.replace(batch_size=min(self.batch_size, fitting))

    def override(self, assignments):
        """Returns the recipe with fields, or options of its model, set by "name=value" texts.

        Values are read as JSON (`0.1`, `true`, `null`, `[64, 64]`) or as Python (`None`,
        `(64, 64)`), or else taken as text.

        Raises:
          ValueError: for a text without "=".
        """
        fields = set(FIELDS) - {"name", "options"}
        changes, options = {}, dict(self.options)
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise ValueError(f"expected NAME=VALUE. Received: {assignment!r}")
            (changes if name in fields else options)[name] = _value(text)
        return dataclasses.replace(self, options=options, **changes)


def _value(text):
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


#: Names of a recipe's fields.
FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))

_NICE = "Dinh, Krueger and Bengio 2014 (NICE, v6), figure 3"
_REAL_NVP = "Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 4 and table 1"

# Finest directions of images vary little more than dequantization's noise, by 1.3e-6, and a larger
# ridge would drown them.
_WHITENED = {"whiten": 1e-5}


def _nice(name, dataset, layers, units, base, published, **options):
    """NICE as published: AdaM 1e-3, beta_2 0.99, epsilon 1e-4, 1500 epochs, best by validation."""
    return Recipe(
        name=name,
        description=f"NICE, 4 couplings of {layers}x{units}, {base} base, pixels in [0, 1]",
        dataset=dataset,
        model="nice",
        options={"hidden_units": (units,) * layers, "base": base, **options},
        epochs=1500,
        batch_size=200,
        learning_rate=1e-3,
        beta_2=0.99,
        epsilon=1e-4,
        patience=100,
        published=published,
        source=_NICE,
    )


def _real_nvp(name, dataset, scales, filters, blocks, published):
    """Real NVP on images as published: Adam 1e-3, batches of 64."""
    return Recipe(
        name=name,
        description=f"Real NVP, {scales} scales, {filters} base maps, {blocks} residual blocks",
        dataset=dataset,
        model="image_real_nvp",
        options={"scales": scales, "base_filters": filters, "residual_blocks": blocks},
        epochs=200,
        batch_size=64,
        learning_rate=1e-3,
        published=published,
        source=_REAL_NVP,
    )


def _table(name, columns, hidden_units, batch_size, dropout, epochs, published):
    """Affine couplings by the recipe of Neural Spline Flows: LU maps, residual nets, cosine."""
    return Recipe(
        name=name,
        description=f"Real NVP with LU maps between couplings, {columns} columns",
        dataset=name.removeprefix("realnvp-"),
        model="real_nvp",
        options={
            "couplings": 10,
            "hidden_units": hidden_units,
            "scale": "sigmoid",
            "residual": True,
            "dropout": dropout,
            "linear": "lu",
            "whiten": True,
        },
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=1e-3,
        warmup_epochs=1,
        clipnorm=5.0,
        ema_momentum=0.999,
        published=f"{published} nats, test (Real NVP (5), (10); affine with LU)",
        source="Papamakarios et al. 2017, table 1; Durkan et al. 2019, table 1 and appendix B",
    )


def _small(name, description, dataset, model, options, epochs, batch_size=256, **fields):
    """Something a laptop trains, by a modern schedule: warm-up, cosine, averaged weights."""
    return Recipe(
        name=name,
        description=description,
        dataset=dataset,
        model=model,
        options=options,
        epochs=epochs,
        batch_size=batch_size,
        **{"learning_rate": 1e-3, "warmup_epochs": 5, "ema_momentum": 0.99, **fields},
    )


# What 2 processor cores finish in hours; the net is that of the paper, the schedule ours.
def _small_images(name, description, dataset, options, epochs, batch_size=16):
    """Convolutions that a laptop trains: small batches, and no average, for batch normalization."""
    return _small(
        name,
        description,
        dataset,
        "image_real_nvp",
        {"scales": 2, "residual_blocks": 2, **options},
        epochs,
        batch_size,
        learning_rate=4e-3,
        warmup_epochs=1,
        ema_momentum=None,
    )


_NICE_ON_CPU = {
    "hidden_units": (1000,) * 5,
    "base": "logistic",
    "conditioner_dtype": "mixed_bfloat16",
}


def _nice_on_cpu(name, description, dataset, published, **options):
    return _small(
        name,
        description,
        dataset,
        "nice",
        {**_NICE_ON_CPU, **options},
        epochs=120,
        batch_size=400,
        weight_decay=0.3,
        ema_momentum=0.998,
        published=published,
    )


_ALL = (
    _small(
        "realnvp-digits",
        "Real NVP on scikit-learn's 8x8 digits: the default of `tfnvp train`",
        "digits",
        "real_nvp",
        {"logit_alpha": 0.01, "dropout": 0.2, "partition": "random"},
        epochs=300,
    ),
    _small(
        "nice-digits",
        "NICE on scikit-learn's 8x8 digits",
        "digits",
        "nice",
        {
            "couplings": 6,
            "hidden_units": (256, 256),
            "base": "logistic",
            "logit_alpha": 0.01,
            "dropout": 0.1,
            "partition": "random",
        },
        epochs=300,
        learning_rate=2e-3,
    ),
    _small(
        "realnvp-table",
        "Real NVP on a table of real numbers, given by --table",
        "table",
        "real_nvp",
        {"dropout": 0.1},
        epochs=200,
    ),
    _small_images(
        "realnvp-images",
        "Real NVP with convolutions on a folder of images, given by --images",
        "images",
        {"base_filters": 24},
        epochs=20,
    ),
    _small_images(
        "realnvp-mnist-small",
        "Real NVP with convolutions that a laptop trains on MNIST in an hour",
        "mnist",
        {"base_filters": 16, "alpha": 1e-5},
        epochs=10,
        batch_size=32,
    ),
    _small_images(
        "realnvp-faces-small",
        "Real NVP with convolutions on faces, for a folder of 32x32 images by --images",
        "lfw",
        {"base_filters": 24},
        epochs=12,
    ),
    _table("realnvp-power", 6, (256,) * 5, 512, 0.0, 60, "-0.02, 0.17; 0.42"),
    _table("realnvp-gas", 8, (256,) * 5, 512, 0.1, 120, "4.78, 8.33; 12.24"),
    _table("realnvp-hepmass", 21, (128,) * 5, 256, 0.2, 160, "-19.62, -18.71; -16.99"),
    _table("realnvp-miniboone", 43, (32,) * 5, 128, 0.2, 800, "-13.55, -13.84; -10.55"),
    _table("realnvp-bsds300", 63, (128,) * 5, 512, 0.2, 100, "152.97, 153.28; 156.95"),
    _nice("nice-mnist", "mnist", 5, 1000, "logistic", "1980.50 nats (4.356 bits/dim), test"),
    _nice_on_cpu(
        "nice-mnist-cpu",
        "the net of nice-mnist by our schedule, which 2 processor cores finish in hours",
        "mnist",
        "1980.50 nats (4.356 bits/dim), test, by the paper's schedule",
    ),
    _nice_on_cpu(
        "nice-mnist-learned-base",
        "nice-mnist-cpu with a learned factorial base",
        "mnist",
        "1980.50 nats (4.356 bits/dim), test, with a logistic base",
        base="logistic_mixture",
    ),
    _nice_on_cpu("nice-fashion-cpu", "nice-mnist-cpu on Fashion-MNIST", "fashion_mnist", ""),
    _nice_on_cpu(
        "nice-fashion-learned-base",
        "nice-fashion-cpu with a learned factorial base",
        "fashion_mnist",
        "",
        base="logistic_mixture",
    ),
    _nice_on_cpu(
        "nice-faces-small",
        "NICE with whitening on faces, for a folder of 32x32 images by --images",
        "lfw",
        "",
        **_WHITENED,
    ),
    _small(
        "realnvp-mnist-mlp",
        "Real NVP without convolutions on MNIST, in logit space",
        "mnist",
        "real_nvp",
        {
            "couplings": 10,
            "hidden_units": (512, 512),
            "logit_alpha": 1e-6,
            "dropout": 0.2,
            "partition": "random",
            "conditioner_dtype": "mixed_bfloat16",
        },
        epochs=40,
        batch_size=250,
        weight_decay=0.1,
        ema_momentum=0.998,
        published="Real NVP (5): -1323.2 nats in logit space (1.93 bits/dim), test",
    ),
    _nice("nice-tfd", "tfd", 4, 5000, "normal", "5514.71 nats (4.547 bits/dim), test", **_WHITENED),
    _nice(
        "nice-svhn",
        "svhn_cropped",
        4,
        2000,
        "logistic",
        "11496.55 nats (2.601 bits/dim), test",
        **_WHITENED,
    ),
    _nice(
        "nice-cifar10",
        "cifar10",
        4,
        2000,
        "logistic",
        "5371.78 nats with pixels in [-1, 1] (4.477 bits/dim), test",
        **_WHITENED,
    ),
    _real_nvp("realnvp-cifar10", "cifar10", 2, 64, 8, "3.49 bits/dim, test"),
    _real_nvp("realnvp-imagenet32", "imagenet32", 4, 32, 4, "4.28 bits/dim, validation"),
    _real_nvp("realnvp-imagenet64", "imagenet64", 5, 32, 2, "3.98 bits/dim, validation"),
    _real_nvp("realnvp-lsun-bedroom", "lsun_bedroom", 5, 32, 2, "2.72 bits/dim, validation"),
    _real_nvp("realnvp-lsun-tower", "lsun_tower", 5, 32, 2, "2.81 bits/dim, validation"),
    _real_nvp("realnvp-lsun-church", "lsun_church", 5, 32, 2, "3.08 bits/dim, validation"),
    _real_nvp("realnvp-celeba", "celeb_a", 5, 32, 2, "3.02 bits/dim, validation"),
)

RECIPES = {recipe.name: recipe for recipe in _ALL}


def get(name):
    """Returns a recipe by its name.

    Raises:
      ValueError: if there is none of that name.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.8)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else "choose one of " + ", ".join(RECIPES)
        )
        raise ValueError(f"unknown recipe {name!r}: {hint}")
    return RECIPES[name]
