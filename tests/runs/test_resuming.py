import dataclasses
import json
import os

import numpy as np
import pytest

from tfnvp import recipes
from tfnvp.data import Splits
from tfnvp.runs import resuming
from tfnvp.runs.folder import RunFolder


def begin(path, recipe="realnvp-table", dataset="table", **changes):
    """Writes the configuration of a run that has begun."""
    run = RunFolder(path)
    run.path.mkdir(parents=True)
    table = path.parent / "t.csv"
    table.touch()
    config = dataclasses.asdict(recipes.get(recipe).override(["epochs=5", "dropout=0.3"]))
    config |= {
        "dataset": dataset,
        "seed": 4,
        "run": "1f",
        "data_crc32": 1,
        "source_of_data": {"table": str(table)},
    }
    run.write_config({**config, **changes})
    return run


def test_the_kind_of_data_chooses_the_recipe(tmp_path):
    for source, name in (
        ({}, "realnvp-digits"),
        ({"dataset": "mnist"}, "realnvp-digits"),
        ({"images": "faces"}, "realnvp-images"),
        ({"table": "t.csv"}, "realnvp-table"),
    ):
        plan = resuming.plan(source=source)
        assert (plan.recipe.name, plan.source, plan.seed) == (name, source, 0)
        assert not plan.is_resumed
    for levels, name in ((None, "realnvp-table"), (17, "realnvp-images")):
        (tmp_path / "records.json").write_text(json.dumps({"levels": levels}))
        assert resuming.plan(source={"records": tmp_path}).recipe.name == name


def test_what_is_given_overrides_the_recipe():
    plan = resuming.plan("nice-digits", ["epochs=7", "dropout=0.5", "epochs=8"], seed=3)
    assert (plan.recipe.name, plan.recipe.epochs, plan.seed) == ("nice-digits", 8, 3)
    assert plan.recipe.options["dropout"] == 0.5


def test_small_tables_get_small_batches_unless_their_size_is_given(tmp_path):
    rows = np.zeros((48, 2))
    splits = Splits("table", rows, rows, rows)
    table = {"table": "t.csv"}
    begin(tmp_path / "run", batch_size=200)
    for plan, batch_size in (
        (resuming.plan(source=table), 32),
        (resuming.plan(None, ["batch_size=256"], table), 256),
        (resuming.plan(output=tmp_path / "run", resume=True), 200),
    ):
        assert plan.recipe_for(splits).batch_size == batch_size


@pytest.mark.parametrize(
    ("recipe", "changes", "expected"),
    [
        ("realnvp-table", [], "trained"),
        ("realnvp-table", ["standardize=false"], False),
        ("nice-digits", ["standardize=true"], "trained"),
    ],
)
def test_runs_of_the_first_version_keep_their_flows(tmp_path, recipe, changes, expected):
    options = recipes.get(recipe).override(changes).options
    run = begin(tmp_path / "run", recipe, options=options)
    # Nor had recipes an optimizer then.
    config = {k: v for k, v in run.config().items() if k not in ("run", "optimizer")}
    run.write_config(config)
    plan = resuming.plan(output=tmp_path / "run", resume=True)
    assert plan.recipe.options["standardize"] == expected
    resuming.check_same(run, config | dataclasses.asdict(plan.recipe))
    with pytest.raises(ValueError, match="seed was 4, now 5"):
        resuming.check_same(run, config | dataclasses.asdict(plan.recipe) | {"seed": 5})


def test_a_resumed_run_keeps_what_is_not_given_again(tmp_path):
    run = begin(tmp_path / "run", start_from="a.keras")
    plan = resuming.plan(output=run.path, resume=True)
    assert plan.is_resumed
    assert plan.start_from == "a.keras"
    assert plan.output == run.path
    assert (plan.recipe.epochs, plan.recipe.options["dropout"], plan.seed) == (5, 0.3, 4)
    assert plan.source == {"table": str(tmp_path / "t.csv")}
    # Options of the data do not replace its name, nor its name the options.
    run.write_config(run.config() | {"source_of_data": {"columns": "a,b", **plan.source}})
    for given in ({"skip_bad": True}, {"table": "u.csv"}):
        expected = {"columns": "a,b", **plan.source, **given}
        assert resuming.plan(output=run.path, resume=True, source=given).source == expected
    run = begin(tmp_path / "other" / "run")
    plan = resuming.plan(output=run.path, resume=True)
    # The name of the same recipe adds nothing.
    assert resuming.plan("realnvp-table", output=run.path, resume=True) == plan
    plan = resuming.plan("nice-digits", ["epochs=6"], {"dataset": "digits"}, 1, run.path, True)
    assert (plan.recipe.name, plan.recipe.epochs, plan.seed) == ("nice-digits", 6, 1)
    assert plan.source == {"dataset": "digits"}


def test_a_foreign_run_does_not_choose_the_data(tmp_path):
    run = begin(tmp_path / "run")
    (tmp_path / "t.csv").rename(tmp_path / "old.csv")
    (tmp_path / "t.csv").touch()
    with pytest.raises(ValueError, match=r"names data that is not followed.*`table`"):
        resuming.plan(output=run.path, resume=True)
    given = {"table": "t.csv"}
    assert resuming.plan(output=run.path, resume=True, source=given).source == given


def test_a_finished_run_is_not_resumed(tmp_path):
    run = begin(tmp_path / "run")
    run.write_metrics({})
    with pytest.raises(ValueError, match="is finished: there is nothing to resume"):
        resuming.plan(output=run.path, resume=True)


def test_a_folder_without_a_run_begins_one_if_it_is_said_what(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(ValueError, match=r"no run in .* to resume"):
        resuming.plan(output=missing, resume=True)
    for plan in (
        resuming.plan("nice-digits", output=missing, resume=True),
        resuming.plan(source={"table": "t.csv"}, output=missing, resume=True),
    ):
        assert not plan.is_resumed
        assert plan.output == missing
    assert not missing.exists()


def test_the_newest_unfinished_run_is_found(tmp_path):
    with pytest.raises(ValueError, match="no unfinished run in"):
        resuming.newest_unfinished(runs=tmp_path)
    for age, (name, recipe, dataset) in enumerate(
        (("c", "nice-digits", "digits"), ("b", "nice-digits", "mnist"), ("a", "realnvp-gas", "gas"))
    ):
        run = begin(tmp_path / name, recipe, dataset)
        os.utime(run.path / "config.json", (1000 - age, 1000 - age))

    def newest(*arguments):
        return resuming.newest_unfinished(*arguments, runs=tmp_path).path.name

    assert newest() == "c"
    assert newest(None, "mnist") == "b"
    assert newest("realnvp-gas") == "a"
    with RunFolder(tmp_path / "c").held():
        assert newest() == "b"
    RunFolder(tmp_path / "c").write_metrics({})
    assert newest("nice-digits") == "b"
    with pytest.raises(ValueError, match="no unfinished run of nice-digits of gas in"):
        newest("nice-digits", "gas")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 6}, "epochs was 5, now 6"),
        ({"seed": 1}, "seed was 4, now 1"),
        ({"options": {"dropout": 0.5}}, 'now {"dropout": 0.5}'),
        ({"name": "realnvp-power"}, 'name was "realnvp-table", now "realnvp-power"'),
        ({"dataset": "digits"}, 'dataset was "table", now "digits"'),
        ({"data_crc32": 2}, "data_crc32 was 1, now 2"),
    ],
)
def test_another_training_is_not_resumed(tmp_path, changes, difference):
    run = begin(tmp_path / "run")
    with pytest.raises(ValueError, match="is another training") as error_info:
        resuming.check_same(run, {**run.config(), **changes})
    assert difference in str(error_info.value)


def test_a_description_or_a_version_changes_no_training(tmp_path):
    run = begin(tmp_path / "run", options={"hidden_units": (4,)})
    changes = {"description": "other", "tfnvp": "9", "source_of_data": {}}
    # Tuples are lists in the file.
    resuming.check_same(run, {**run.config(), **changes, "options": {"hidden_units": (4,)}})


def test_older_runs_have_no_checksums(tmp_path):
    run = begin(tmp_path / "run", data_crc32=None)
    resuming.check_same(run, {**run.config(), "data_crc32": 7, "held_out_crc32": 8})


def test_a_run_keeps_its_division(tmp_path):
    assert resuming.plan(source={"table": "t.csv"}).division == "content"
    begin(tmp_path / "old")
    begin(tmp_path / "new", division="content")
    for name, division in (("old", None), ("new", "content")):
        assert resuming.plan(output=tmp_path / name, resume=True).division == division
