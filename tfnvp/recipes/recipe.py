"""What a recipe is, the rules for its values, and the recipes of `recipes.toml`.

Neither this module nor the file needs TensorFlow.
"""

import ast
import contextlib
import dataclasses
import difflib
import functools
import json
import math
import pathlib
import tomllib
from collections.abc import Iterable
from typing import Any, Self

from tfnvp.recipes.options import OPTIONS

#: Name of a model, in recipes and on the command line, to its class in `tfnvp.flows`.
MODELS = {
    "nice": "NICE",
    "real_nvp": "RealNVP",
    "neural_spline": "NeuralSplineFlow",
    "image_real_nvp": "ImageRealNVP",
    "jet": "Jet",
}

# Fields that only describe.
_DESCRIBING = ("name", "description", "options", "published", "source")

# For small tables: least number of steps in an epoch, by smaller batches, and of rows in a batch.
_STEPS_PER_EPOCH = 16
_SMALLEST_BATCH = 32


def _is_count(value, least=1):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value, above=0.0, below=math.inf):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and above < value < below


def _or_none(accepts):
    return lambda value: value is None or accepts(value)


# The rule of a field: a function that accepts a value, and the rule in words.
_POSITIVE = (_is_number, "a number above 0")
_COUNT = (_is_count, "an int of 1 or more")
_SHARE = functools.partial(_is_number, below=1.0)
_RULES = {
    "model": (MODELS.__contains__, f"one of {', '.join(MODELS)}"),
    "dataset": (lambda value: isinstance(value, str), "the name of a data set"),
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "patience": (_or_none(_is_count), "null, to train for all epochs, or an int of 1 or more"),
    "warmup_epochs": (functools.partial(_is_count, least=0), "an int of 0 or more"),
    "learning_rate": _POSITIVE,
    "optimizer": (("adamw", "muon").__contains__, "adamw or muon"),
    "epsilon": _POSITIVE,
    "clipnorm": _POSITIVE,
    "beta_2": (_SHARE, "a number between 0 and 1"),
    "weight_decay": (
        lambda value: value in (None, 0) or _is_number(value),
        "null, for none, or a number of 0 or more",
    ),
    "ema_momentum": (_or_none(_SHARE), "null, for no average, or a number between 0 and 1"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run except its seed.

    Args:
      name: name on the command line.
      description: one line on what it is.
      dataset: name of the data set, as in `tfnvp.data.load_named`.
      model: "real_nvp", "nice", "neural_spline", "image_real_nvp" or "jet".
      options: arguments of the model's constructor besides shape and levels.
      epochs: largest number of epochs; training stops earlier when the validation loss no longer
        improves (`patience`).
      batch_size: rows of a batch.
      learning_rate: peak of the schedule.
      warmup_epochs: epochs over which the learning rate rises to its peak, at most a fifth of all
        epochs; afterwards it falls to zero along a cosine.
      optimizer: "adamw" or "muon", of `tfnvp.optimizers`.
      beta_2: of Adam.
      epsilon: of Adam.
      weight_decay: decoupled weight decay, or None.
      clipnorm: largest global norm of a step's gradient, in nats; the loose default only catches
        explosions.
      ema_momentum: momentum of the moving average of the weights, which is evaluated and saved, or
        None for no average. Short trainings use a smaller one, so that the average spans at most
        two thirds of the steps. Not for flows with batch normalization, whose statistics belong to
        the weights themselves.
      patience: epochs without a better validation loss after which training stops, or None.
      published: the published figure with its unit and split, or "".
      source: where the configuration comes from.

    Raises:
      ValueError: for a value of the wrong type or out of range, or an option that the model does
        not have.
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
    optimizer: str = "adamw"
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float | None = None
    clipnorm: float = 100.0
    ema_momentum: float | None = None
    patience: int | None = 50
    published: str = ""
    source: str = "tfnvp"

    def __post_init__(self) -> None:
        for name, (accepts, rule) in _RULES.items():
            value = getattr(self, name)
            if not accepts(value):
                raise ValueError(f"`{name}` must be {rule}. Received: {value!r}")
        known = OPTIONS[self.model]
        if unknown := [name for name in self.options if name not in known]:
            fields = [name for name in FIELDS if name not in _DESCRIBING]
            raise ValueError(
                f"{self.model} has no option {unknown[0]!r}: it has {', '.join(known)}; fields of "
                f"recipes are {', '.join(fields)}"
            )

    def replace(self, **changes: Any) -> Self:
        """Returns the recipe with fields changed; `None` leaves a field as it is."""
        changes = {key: value for key, value in changes.items() if value is not None}
        return dataclasses.replace(self, **changes)

    def for_rows(self, rows: int) -> Self:
        """Returns the recipe with smaller batches where a table has few rows.

        One step per epoch is too few for the schedule and for the average of the weights: a batch
        has at most a sixteenth of the `rows` training rows, or 32 if that is more.
        """
        fitting = max(_SMALLEST_BATCH, rows // _STEPS_PER_EPOCH)
        return self.replace(batch_size=min(self.batch_size, fitting))

    def override(self, assignments: Iterable[str]) -> Self:
        """Returns the recipe with fields, or options of its model, changed by "name=value" texts.

        Values are read as JSON (`0.1`, `true`, `null`, `[64, 64]`), or as Python (`None`,
        `(64, 64)`), or else as text.

        Raises:
          ValueError: for a text without "=", or a value that the field does not accept.

        >>> get("nice-digits").override(["epochs=7", "dropout=0.5"]).options["dropout"]
        0.5
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
        with contextlib.suppress(ValueError, SyntaxError):
            return read(text)
    return text


#: Names of a recipe's fields.
FIELDS = tuple(field.name for field in dataclasses.fields(Recipe))


def _tuples(value):
    """Returns TOML's value with tuples in place of lists."""
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def read_recipes(text: str) -> dict[str, Recipe]:
    """Reads recipes in TOML, one table each, in the order of the text.

    Args:
      text: the TOML. A table's fields are those of `Recipe`; `base` names another table, whose
        fields and options it inherits; `abstract = true` marks a table that is only inherited from.

    Returns:
      Dictionary of names to `Recipe`.

    Raises:
      ValueError: for a base that does not exist, an unknown field or a value out of range; the
        message names the table.

    >>> read_recipes('''
    ... [parent]
    ... abstract = true
    ... dataset = "digits"
    ... batch_size = 32
    ... [child]
    ... base = "parent"
    ... description = "an example"
    ... model = "nice"
    ... epochs = 3
    ... learning_rate = 1e-3
    ... options = {hidden_units = [8, 8]}
    ... ''')["child"].options
    {'hidden_units': (8, 8)}
    """
    tables = _tuples(tomllib.loads(text))
    found = {}
    for name in tables:
        if tables[name].get("abstract", False):
            continue
        try:
            found[name] = Recipe(name=name, **_inherited(tables, name))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the recipe {name!r} cannot be read: {error}") from error
    return found


def _inherited(tables, name, heirs=()):
    """Returns the fields of a table together with those of its bases."""
    if name in heirs or name not in tables:
        raise ValueError(f"`base` must name another table of the file. Received: {name!r}")
    fields = {key: value for key, value in tables[name].items() if key not in ("base", "abstract")}
    base = tables[name].get("base")
    inherited = {} if base is None else _inherited(tables, base, (*heirs, name))
    options = {**inherited.get("options", {}), **fields.get("options", {})}
    return {**inherited, **fields, "options": options}


#: The recipes by name.
RECIPES = read_recipes(pathlib.Path(__file__).with_name("recipes.toml").read_text("utf-8"))

#: Numbers of parameters by recipe, of those whose data has a known shape.
PARAMETERS, MINUTES = (
    tomllib.loads(pathlib.Path(__file__).with_name(name).read_text("utf-8"))
    for name in ("parameters.toml", "minutes.toml")
)


def get(name: str) -> Recipe:
    """Returns a recipe by its name.

    Raises:
      ValueError: if no recipe has that name.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.8)
        hint = f"choose one of {', '.join(RECIPES)}"
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        raise ValueError(f"unknown recipe {name!r}: {hint}")
    return RECIPES[name]


def default(dataset: str = "digits", model: str = "real_nvp") -> Recipe:
    """Returns the recipe that is used where only a kind of data, or a model, is given.

    Of several such recipes it is the first one in the file.

    Args:
      dataset: "digits", "table" or "images".
      model: "real_nvp" (with convolutions for images); of digits and tables also "neural_spline",
        of digits "nice".

    Raises:
      ValueError: if no recipe trains the model on such data.

    >>> default().name, default("table").name, default(model="nice").name
    ('realnvp-digits', 'realnvp-table', 'nice-digits')
    """
    of_data = {}
    for recipe in RECIPES.values():
        if recipe.dataset == dataset:
            of_data.setdefault(recipe.model, recipe)
    if dataset == "images":
        model = "image_real_nvp"
    if model not in of_data:
        raise ValueError(f"unknown model {model!r}: choose one of {', '.join(of_data)}")
    return of_data[model]
