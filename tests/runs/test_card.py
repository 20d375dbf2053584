import json

import pytest

from tfnvp.runs.card import read_card
from tfnvp.runs.folder import RunFolder


def test_a_card_tells_training_and_likelihood(tmp_path):
    assert read_card(tmp_path) is None
    run = RunFolder(tmp_path)
    config = {"name": "nice-digits", "dataset": "digits", "description": "as it is", "seed": 3}
    run.write_config({**config, "options": {"couplings": 2}, "data_crc32": 5})
    card = read_card(tmp_path)
    assert card == {"Training": {**config, "couplings": 2}}
    likelihood = {"nats": 1.5, "bits_per_dim": None}
    run.write_metrics({"test": likelihood, "epochs": 7, "rows": {"train": 9}})
    card = read_card(run.model, "bfloat16")
    assert card["Training"]["epochs run"] == 7
    assert card["Split"] == {"train": "9 rows"}
    measured = "float32 weights, before they became bfloat16"
    assert card["Test likelihood"] == {"nats": 1.5, "measured with": measured}
    assert "measured with" not in read_card(tmp_path)["Test likelihood"]


def test_a_card_tells_when_a_recipe_had_other_data(tmp_path):
    config = {"name": "nice-digits", "dataset": "faces", "description": "digits", "options": {}}
    RunFolder(tmp_path).write_config(config)
    card = read_card(tmp_path)
    assert card["Training"]["description"] == "the recipe nice-digits, on faces"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"seed": 1}),
        ("metrics.json", {"test": 3}),
        ("metrics.json", []),
        ("reference.json", {"columns": None, "log_density": []}),
    ],
)
def test_the_error_of_a_damaged_run_names_it(tmp_path, name, content):
    RunFolder(tmp_path).write_config({"name": "nice-digits", "dataset": "digits", "options": {}})
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(OSError, match="is damaged, or of a newer tfnvp"):
        read_card(tmp_path)
