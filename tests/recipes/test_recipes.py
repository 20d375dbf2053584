import inspect
import itertools
import math

import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb
from tfnvp import recipes
from tfnvp.data.splits import Splits
from tfnvp.recipes import MINUTES, MODELS, PARAMETERS, RECIPES, get
from tfnvp.recipes.options import OPTIONS
from tfnvp.recipes.recipe import read_recipes
from tfnvp.runs.build import compile_flow, make_flow

SHAPES = {
    "digits": (8, 8),
    "table": (6,),
    "images": (32, 32, 3),
    "power": (6,),
    "gas": (8,),
    "hepmass": (21,),
    "miniboone": (43,),
    "bsds300": (63,),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "tfd": (48, 48, 1),
    "svhn_cropped": (32, 32, 3),
    "cifar10": (32, 32, 3),
    "imagenet32": (32, 32, 3),
    "lfw": (32, 32, 3),
}

# Counted from the papers' tables: weights of the networks and the diagonal scaling.
NICE_PARAMETERS = {
    "nice-mnist": 19_158_352,
    "nice-tfd": 346_166_912,
    "nice-svhn": 72_617_216,
    "nice-cifar10": 72_617_216,
}


def shape_of(recipe):
    return SHAPES.get(recipe.dataset, (64, 64, 3))


def reduced(recipe):
    """Shape and options of a recipe's model at little width, which is the same for many recipes."""
    shape, options = shape_of(recipe), dict(recipe.options)
    options.pop("dropout", None)
    if recipe.model == "image_real_nvp":
        # A full stack of scales on the smallest images that allow it.
        side = 2 ** (options["scales"] + options.get("squeeze_first", False))
        return (side, side, shape[-1]), {**options, "base_filters": 2, "residual_blocks": 1}
    if recipe.model == "jet":
        return (8, 8, shape[-1]), {**options, "couplings": 6, "width": 8, "heads": 2, "patch": 2}
    if "hidden_units" in options:
        options["hidden_units"] = (4,) * len(options["hidden_units"])
    if len(shape) > 1:
        options["levels"] = 17 if recipe.dataset == "digits" else 256
        return (4, 4, *shape[2:]), options
    # Tables with an even and with an odd number of columns.
    return (6 + shape[0] % 2,), options


def kind(recipe):
    """The same for recipes whose reduced models are the same, up to the number of deep scales."""
    shape, options = reduced(recipe)
    if options.get("scales", 0) > 2:
        return "many scales"
    return recipe.model, shape, repr(sorted(options.items()))


# One recipe of each kind; of those with many scales the last, which has the most.
DISTINCT = {kind(recipe): name for name, recipe in RECIPES.items()}.values()


def test_the_deepest_recipe_is_among_the_distinct_ones():
    deepest = max(recipe.options.get("scales", 0) for recipe in RECIPES.values())
    assert deepest in [RECIPES[name].options.get("scales", 0) for name in DISTINCT]


def nice_parameters(size, hidden_units, couplings=4):
    widths = [size // 2, *hidden_units, size // 2]
    network = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    return couplings * network + size


@pytest.mark.parametrize("name", NICE_PARAMETERS)
def test_published_nice_has_the_published_number_of_parameters(name):
    recipe = get(name)
    size = math.prod(shape_of(recipe))
    assert nice_parameters(size, recipe.options["hidden_units"]) == NICE_PARAMETERS[name]


def test_the_built_nice_has_the_number_of_parameters_of_the_formula():
    recipe = get("nice-mnist")
    flow = tfnvp.NICE((28, 28, 1), levels=256, **recipe.options)
    trainable = sum(math.prod(v.shape) for v in flow.trainable_variables)
    assert trainable == NICE_PARAMETERS["nice-mnist"]


def test_options_are_the_arguments_of_the_models():
    of_data = {
        "event_shape",
        "image_shape",
        "levels",
        "condition_shape",
        "bounds",
        "circular",
        "name",
    }
    for model, names in OPTIONS.items():
        arguments = inspect.signature(getattr(tfnvp, MODELS[model]).__init__).parameters
        assert {*names} == {*arguments} - of_data - {"self", "condition_network"}
        assert len(names) == len({*names})


def test_parameters_of_recipes_are_those_of_their_flows():
    no_shape = {recipe.name for recipe in RECIPES.values() if recipe.dataset in ("table", "images")}
    assert PARAMETERS.keys() == RECIPES.keys() - no_shape
    assert MINUTES.keys() <= PARAMETERS.keys()
    rows = np.random.default_rng(0)
    names = ["realnvp-digits", "nice-digits", "realnvp-miniboone", "realnvp-mnist-small"]
    for name in [*names, "neural-spline-digits", "jet-mnist-small"]:
        shape = shape_of(get(name))
        levels = (17 if name.endswith("digits") else 256) if len(shape) > 1 else None
        x = rows.integers(0, levels, (8, *shape)).astype("uint8") if levels else None
        x = rows.normal(size=(8, *shape)).astype("float32") if x is None else x
        flow = make_flow(get(name), Splits(name, x, x, x, levels))
        assert flow.count_params() == PARAMETERS[name]


def test_small_tables_have_small_batches():
    recipe = get("realnvp-table")
    assert [recipe.for_rows(n).batch_size for n in (20, 213, 1000, 10**5)] == [32, 32, 62, 256]
    assert recipe.replace(batch_size=16).for_rows(213).batch_size == 16


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", DISTINCT)
def test_every_recipe_inverts_at_reduced_width(name):
    recipe = RECIPES[name]
    shape, options = reduced(recipe)
    if str(options.get("base")).endswith("_mixture"):
        z = np.random.default_rng(0).normal(size=(20, math.prod(shape)))
        options["base"] = getattr(tfnvp.bases, options["base"])(z, components=2)
    # Little: residual networks at random carry values far from those of training.
    flow = perturb(getattr(tfnvp, MODELS[recipe.model])(shape, **options), 0.02)
    x = np.random.default_rng(0).uniform(0.2, 0.8, (3, *shape)).astype("float32")
    z = flow.encode(x)
    np.testing.assert_allclose(flow.decode(z), x, atol=1e-4)
    assert np.isfinite(flow.log_prob(x)).all()


def test_overrides_reach_fields_and_options():
    recipe = get("nice-digits").override(["epochs=7", "dropout=0.5", "base=normal"])
    assert recipe.epochs == 7
    assert recipe.options["dropout"] == 0.5
    assert recipe.options["base"] == "normal"
    assert get("nice-digits").options["dropout"] != 0.5
    assert recipe.replace(epochs=None).epochs == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get("nothing"), "unknown recipe 'nothing'"),
        (lambda: get("nice-digits").override(["epochs"]), "expected NAME=VALUE"),
        (
            lambda: get("nice-digits").replace(batch_size=0),
            "`batch_size` must be an int of 1 or more. Received: 0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_short_trainings_warm_up_and_average_less(epochs):
    recipe = get("realnvp-digits").replace(epochs=epochs)
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    compile_flow(flow, recipe, rows=8 * recipe.batch_size)
    steps, optimizer = 8 * epochs, flow.optimizer
    peak = max(range(steps), key=lambda step: float(optimizer._learning_rate(step)))
    assert peak <= steps / 5
    assert peak == min(40, steps // 5)
    assert optimizer.ema_momentum == pytest.approx(min(0.99, 1 - 1.5 / steps))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_recipes_name_their_optimizer(name):
    recipe = get("realnvp-digits").override([f"optimizer={name}"])
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    compile_flow(flow, recipe, rows=100)
    assert type(flow.optimizer) is tfnvp.optimizers.NAMED[name]
    with pytest.raises(ValueError, match="`optimizer` must be adamw or muon"):
        recipe.override(["optimizer=sgd"])


def test_only_matrices_and_filters_decay():
    options = {"normalization": "act_norm", "channel_maps": "lu"}
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, **options)
    compile_flow(flow, get("realnvp-mnist-small").replace(weight_decay=0.1), rows=100)
    decays = {w.name: flow.optimizer._use_weight_decay(w) for w in flow.trainable_variables}
    names = {name for name, decayed in decays.items() if decayed}
    assert names == {"lower", "upper", "direction"}


def test_a_kind_of_data_or_a_model_has_a_recipe():
    names = [recipes.default(data).name for data in ("digits", "table", "images")]
    assert names == ["realnvp-digits", "realnvp-table", "realnvp-images"]
    assert recipes.default(model="nice").name == "nice-digits"
    names = [recipes.default(data, "neural_spline").name for data in ("digits", "table")]
    assert names == ["neural-spline-digits", "neural-spline-table"]
    with pytest.raises(ValueError, match="unknown model 'image_real_nvp': choose one of real_nvp"):
        recipes.default(model="image_real_nvp")


TABLES = """
[parent]
abstract = true
dataset = "digits"
model = "nice"
epochs = 3
batch_size = 8
learning_rate = 1e-3
options = { base = "normal", hidden_units = [4, 4] }
[child]
base = "parent"
description = "first"
epochs = 5
options = { base = "logistic" }
[grandchild]
base = "child"
description = "second"
options = { hidden_units = [8] }
"""


def test_tables_inherit_fields_and_options():
    found = read_recipes(TABLES)
    assert list(found) == ["child", "grandchild"]
    last = found["grandchild"]
    assert (last.name, last.description, last.dataset, last.epochs) == (
        "grandchild",
        "second",
        "digits",
        5,
    )
    assert last.options == {"base": "logistic", "hidden_units": (8,)}
    assert found["child"].options["hidden_units"] == (4, 4)
    # What is given nowhere has its default.
    assert last.weight_decay is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[a]\nbase = "b"', "'a' cannot be read: `base` must name another table.* 'b'"),
        ('[a]\nbase = "a"', "`base` must name another table"),
        ('[a]\nbase = "child"\ndropout = 0.5', "'a' cannot be read: .*dropout"),
        ('[a]\nbase = "child"\nepochs = 0', "'a' cannot be read: `epochs` must be an int of 1"),
        ('[a]\nbase = "child"\nmodel = "glow"', "`model` must be one of nice, real_nvp"),
        ("[a]", "'a' cannot be read: .*missing"),
    ],
)
def test_a_table_that_is_no_recipe_is_named(table, message):
    with pytest.raises(ValueError, match=message):
        read_recipes(TABLES + table)


def test_published_configurations_are_those_of_the_papers():
    nice = get("nice-mnist")
    assert (nice.learning_rate, nice.beta_2, nice.epsilon, nice.epochs) == (1e-3, 0.99, 1e-4, 1500)
    expected = {"hidden_units": (1000,) * 5, "base": "logistic", "standardize": False}
    assert nice.options == expected
    assert "1980.50" in nice.published
    real_nvp = get("realnvp-imagenet64")
    assert (real_nvp.batch_size, real_nvp.learning_rate) == (64, 1e-3)
    assert real_nvp.options == {"scales": 5, "base_filters": 32, "residual_blocks": 2}
    assert "3.98 bits/dim" in real_nvp.published
    jet = get("jet-imagenet64")
    assert (jet.learning_rate, jet.beta_2, jet.batch_size, jet.epochs) == (3e-4, 0.95, 1024, 200)
    # In the units of the authors' code: gradients of bits per dimension, decay without rate.
    assert jet.clipnorm == pytest.approx(64 * 64 * 3 * math.log(2), rel=1e-4)
    assert jet.weight_decay * jet.learning_rate == pytest.approx(1e-5, rel=2e-3)
    assert jet.warmup_epochs == 0.1 * jet.epochs
