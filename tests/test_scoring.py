import json

import numpy as np
import pyarrow
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from pyarrow import csv, parquet
from scipy import stats

import tfnvp
from tests.conftest import perturb
from tfnvp import scoring
from tfnvp.data import tables
from tfnvp.data.division import row_hashes
from tfnvp.evaluation import log_probs

NAMES = ("height", "weight", "age")


def people(n, seed):
    """Rows in very different units."""
    normal = np.random.default_rng(seed).normal(size=(n, 3))
    return (normal * [10.0, 1000.0, 0.1] + [170.0, 65_000.0, 4.0]).astype("float32")


def write(path, rows, names=NAMES, **columns):
    table = pyarrow.table(dict(zip(names, rows.T, strict=True)) | columns)
    (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, path)
    return path


@pytest.fixture(scope="module")
def flow():
    """A flow of points in the plane."""
    return perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))


@pytest.fixture(scope="module")
def of_people():
    """An untrained flow of rows in very different units: it only standardises them."""
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.adapt(people(500, 0))
    return flow


def test_log_density_is_in_the_units_of_the_data(of_people):
    x, new = people(500, 0), people(5, 1)
    expected = stats.norm.logpdf(new, x.mean(0), x.std(0)).sum(1)
    np.testing.assert_allclose(scoring.score(of_people, new).log_density, expected, rtol=1e-4)


def test_quantiles_count_the_reference(flow):
    usual = flow.sample(99, seed=0).numpy()
    reference = scoring.make_reference(flow, usual)
    rows = np.concatenate([usual[:3], [[50.0, 50.0], [np.nan, 0.0], [0.0, np.inf]]])
    scores = scoring.score(flow, rows, reference, threshold=0.05)
    below = [(reference.log_density <= s).sum() for s in scores.log_density[:3]]
    np.testing.assert_allclose(scores.quantile[:3], (np.array(below) + 1) / 100)
    assert scores.quantile[3] == pytest.approx(0.01)
    assert scores.outlier.tolist()[3:] == [True, False, False]
    assert np.isnan(scores.log_density[4:]).all()
    assert np.isnan(scores.quantile[4:]).all()
    assert scores.skipped == 2


@pytest.mark.filterwarnings("ignore:.*log-density of such rows")
def test_rows_without_a_density_are_the_least_usual():
    positive = tfnvp.Flow(tfp.bijectors.Softplus(), 2)
    usual = np.random.default_rng(0).gamma(2.0, size=(99, 2))
    reference = scoring.make_reference(positive, usual)
    rows = np.array([[1.0, 1.0], [-1.0, 1.0], [1e300, 1.0], [np.nan, 1.0]])
    scores = scoring.score(positive, np.ma.masked_invalid(rows), reference)
    np.testing.assert_array_equal(scores.log_density[1:], [-np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(scores.quantile[1:], [0.01, 0.01, np.nan])
    assert scores.outlier.tolist() == [False, True, True, False]
    assert scores.skipped == 1
    # Broken weights make no row usual.
    broken = tfnvp.Flow(tfp.bijectors.Shift(tf.Variable([np.nan, 0.0])), 2)
    assert np.isnan(scoring.score(broken, rows[:1], reference).quantile).all()


def test_masked_grey_levels_stay_grey_levels():
    flow = perturb(tfnvp.RealNVP((2, 2), couplings=2, hidden_units=(8,), levels=4))
    rows = np.random.default_rng(0).integers(0, 4, (5, 2, 2)).astype("uint8")
    masked = np.ma.masked_array(rows, np.arange(20).reshape(5, 2, 2) >= 18)
    expected = scoring.score(flow, rows).log_density
    np.testing.assert_array_equal(scoring.score(flow, masked).log_density[:4], expected[:4])
    np.testing.assert_array_equal(log_probs(flow, masked)[:4], expected[:4])
    for found in (scoring.score(flow, masked).log_density, log_probs(flow, masked)):
        assert np.isnan(found[4])


def test_few_usual_rows_are_flagged_whatever_was_learned(flow):
    generator = np.random.default_rng(0)
    reference = scoring.make_reference(flow, generator.normal(size=(2000, 2)).astype("float32"))
    scores = scoring.score(flow, generator.normal(size=(4000, 2)), reference, threshold=0.1)
    assert abs(scores.outlier.mean() - 0.1) < 0.025  # Three standard deviations of both samples.


def test_rows_below_the_cut_are_those_flagged(flow):
    generator = np.random.default_rng(0)
    reference = scoring.make_reference(flow, generator.normal(size=(39, 2)).astype("float32"))
    rows = 2 * generator.normal(size=(500, 2))
    for threshold in (0.05, 0.1, 0.37):
        scores = scoring.score(flow, rows, reference, threshold)
        assert 0 < scores.outlier.sum() < 500
        np.testing.assert_array_equal(scores.log_density < reference.cut(threshold), scores.outlier)


def test_the_share_of_usual_rows_that_is_flagged_has_an_interval():
    generator, inside = np.random.default_rng(0), 0
    for _ in range(400):
        reference = scoring.Reference(None, np.sort(generator.uniform(size=30)))
        assert reference.cut(0.1) == reference.log_density[2]  # 3 / 31 <= 0.1 < 4 / 31.
        low, high = reference.flagged_share(0.1)
        inside += low <= reference.cut(0.1) <= high  # Of uniform numbers, the share below it.
    assert abs(inside / 400 - 0.95) < 0.04
    assert reference.default_threshold == 1 / 31


def test_rows_of_the_training_are_found(monkeypatch):
    rows = people(500, 0)
    mixed = np.concatenate([rows[:300], people(700, 1)])
    for most in (10_000, 100):
        monkeypatch.setattr(scoring.reference, "MOST_HASHES", most)
        known = scoring.smallest_hashes(np.split(rows[::-1], 5))
        assert len(known) == min(most, 500)
        reference = scoring.Reference(NAMES, np.float32([-1.0]), known)
        again = scoring.Reference.from_json(json.loads(json.dumps(reference.to_json())))
        assert again.share_of_training(row_hashes(rows[:200])) == 1.0
        assert again.share_of_training(row_hashes(people(200, 1))) == 0.0
        # A sample of a fifth gives an estimate: three deviations of a share of 200 rows.
        error = again.share_of_training(row_hashes(mixed)) - 0.3
        assert abs(error) < 0.1
        assert (error == 0) == (most > 500)
    with pytest.warns(UserWarning, match="of the rows of new are training rows"):
        scoring.advise_on_training_rows(reference, rows, "new")
    assert reference._replace(training_rows=None).share_of_training(row_hashes(rows)) == 0.0


def test_thresholds_and_shapes_are_checked(flow):
    reference = scoring.make_reference(flow, np.zeros((19, 2), "float32"))
    assert scoring.score(flow, np.zeros((1, 2)), reference).threshold == 0.05
    users = (
        reference.cut,
        reference.flagged_share,
        lambda threshold: scoring.score(flow, np.zeros((1, 2)), reference, threshold),
    )
    for threshold in (0.04, np.float32(0.0499), 1.0, float("nan"), True, "0.05"):
        for use in users:
            with pytest.raises(ValueError, match=r"`threshold` must lie between 0\.05, the"):
                use(threshold)
    with pytest.raises(ValueError, match="`level` must be a number between 0 and 1"):
        reference.flagged_share(0.05, level=95)
    with pytest.raises(ValueError, match="`threshold` is a quantile of a `reference`, which must"):
        scoring.score(flow, np.zeros((1, 2)), threshold=0.05)
    with pytest.raises(ValueError, match="`rows` must have the shape"):
        scoring.score(flow, np.zeros((1, 3)))


def test_large_references_are_thinned_evenly(flow):
    rows = np.random.default_rng(0).normal(size=(30_000, 2)).astype("float32")
    kept = scoring.make_reference(flow, rows).log_density
    everything = flow.log_prob(rows).numpy()
    assert len(kept) == 10_000
    for share in (0.001, 0.5, 0.9):
        np.testing.assert_allclose(
            (everything <= np.quantile(kept, share)).mean(), share, atol=2e-4
        )


def test_rows_without_score_are_no_reference(flow):
    rows = np.random.default_rng(0).normal(size=(99, 2)).astype("float32")
    gaps = np.full((900, 2), np.nan, "float32")
    with pytest.warns(UserWarning, match=r"900 of 999 rows of usual\.csv are left out"):
        reference = scoring.make_reference(flow, np.concatenate([gaps, rows]), source="usual.csv")
    assert len(reference.log_density) == 99
    expected = scoring.make_reference(flow, rows).log_density
    np.testing.assert_allclose(reference.log_density, expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"usual\.csv must hold rows .*: 900 rows, none"):
        scoring.make_reference(flow, gaps, source="usual.csv")
    # What `score` takes: integers, and events of several axes.
    assert len(scoring.make_reference(flow, np.zeros((19, 2), int)).log_density) == 19
    images = np.zeros((9, 2, 2), "float32")
    images[4, 1, 0] = np.inf
    with pytest.warns(UserWarning, match="1 of 9 rows .* the first is row 5"):
        reference = scoring.make_reference(tfnvp.Flow(tfp.bijectors.Identity(), (2, 2)), images)
    assert len(reference.log_density) == 8


@pytest.mark.parametrize("columns", [None, NAMES])
def test_references_are_written_and_read_again(tmp_path, columns):
    densities = np.sort(np.random.default_rng(0).normal(size=9).astype("float32"))
    reference = scoring.Reference(columns, densities)
    assert scoring.read_reference(tmp_path) is None
    scoring.write_reference(tmp_path, reference)
    for path in (tmp_path, tmp_path / "model.keras"):
        read = scoring.read_reference(path)
        assert read.columns == columns
        np.testing.assert_array_equal(read.log_density, reference.log_density)
    content = json.loads((tmp_path / "reference.json").read_text())
    assert content == {"columns": columns and list(columns), "log_density": densities.tolist()}


def test_columns_are_found_by_name(of_people):
    rows = people(5, 2)
    turned = pyarrow.table(
        dict(zip(NAMES[::-1], rows.T[::-1], strict=True)) | {"key": list("abcde")}
    )
    np.testing.assert_array_equal(scoring.rows_of(of_people, turned, NAMES, "t"), rows)
    with pytest.raises(ValueError, match=r"t lacks the columns \['size'\]"):
        scoring.rows_of(of_people, turned, ("size",), "t")
    with pytest.raises(ValueError, match="t has 4 columns, and the model was trained on 3"):
        scoring.rows_of(of_people, turned, None, "t")
    np.testing.assert_array_equal(scoring.rows_of(of_people, turned.select(NAMES), None, "t"), rows)


def test_texts_in_columns_of_numbers_are_gaps(of_people):
    # Of named columns, even one with fewer numbers than texts.
    columns = {"height": ["?", "unknown", "171.5"], "weight": [1.0, 2.0, None], "age": [None] * 3}
    rows = scoring.rows_of(of_people, pyarrow.table(columns), NAMES, "t")
    expected = np.float32([[np.nan, 1, np.nan], [np.nan, 2, np.nan], [171.5, np.nan, np.nan]])
    np.testing.assert_array_equal(rows, expected)


def test_all_rows_of_a_file_are_finite_or_left_out(of_people, tmp_path):
    rows = people(7, 8)
    file = tmp_path / "t.csv"
    write(file, rows[:, ::-1], NAMES[::-1], label=pyarrow.array(["x"] * 7))
    np.testing.assert_allclose(scoring.finite_rows(of_people, file, NAMES), rows, rtol=1e-6)
    rows[3, 1] = np.nan
    write(file, rows[:, ::-1], NAMES[::-1])
    with pytest.raises(ValueError, match="1 of 7 rows, the first in row 4; `skip_bad`"):
        scoring.finite_rows(of_people, file, NAMES)
    scoring.write_reference(tmp_path, scoring.Reference(NAMES, np.float32([-1.0])))
    with pytest.warns(UserWarning, match="1 of 7 rows .* the first is row 4"):
        good = scoring.finite_rows_of(of_people, file, tmp_path, skip_bad=True)
    np.testing.assert_allclose(good, np.delete(rows, 3, axis=0), rtol=1e-6)
    write(file, rows[3:4])
    with pytest.raises(ValueError, match=r"first in row 1$"):
        scoring.finite_rows(of_people, file, NAMES, skip_bad=True)


@pytest.mark.parametrize("kind", ["bounds", "softplus"])
def test_rows_outside_of_the_support_are_named_by_column_and_row_of_the_file(
    tmp_path, monkeypatch, recwarn, kind
):
    monkeypatch.setattr("tfnvp.data.table_formats._ROWS", 4)
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,), bounds={1: (0, None)})
    if kind == "softplus":
        flow = tfnvp.Flow(tfp.bijectors.Softplus(), 2)
    file = tmp_path / "t.csv"
    rows = np.random.default_rng(0).uniform(1, 2, (10, 2)).astype("float32")
    rows[2] = np.nan
    rows[[6, 8], 1] = -1.0, 0.0
    write(file, rows, ("height", "weight"))
    fault = (
        f"{file}: column 'weight' must "
        + {
            "bounds": "be above 0. Received: -1 in row 7; 2 of 10 values (20.00%) are not, 1 of",
            "softplus": "lie in the support of the flow, where the inverse of softplus is finite. "
            "Received: -1.0 in row 7. The log-density",
        }[kind]
    )
    found = scoring.score_table(flow, file, columns=("height", "weight"))
    (warning,) = recwarn
    assert str(warning.message).startswith(fault)
    assert np.flatnonzero(found.log_density == -np.inf).tolist() == [6, 8]
    assert np.isnan(found.log_density[2])

    recwarn.clear()
    read = scoring.finite_rows(flow, file, ("height", "weight"), skip_bad=True)
    assert [str(w.message).startswith(fault) for w in recwarn] == [True, False]  # And of row 3.
    recwarn.clear()
    with scoring.advised_on(flow):
        flow.log_prob(read)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"variable 1 .* in x\[5, 1\]"):
        flow.log_prob(read)


def test_flows_of_other_data_score_no_tables(of_people):
    scoring.check_flow(of_people, "model")
    image = tfnvp.RealNVP((2, 2), couplings=2, hidden_units=(8,))
    conditional = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=(1,))
    for other in (image, conditional):
        with pytest.raises(ValueError, match="model is no flow of tables"):
            scoring.check_flow(other, "model")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"columns": null}',
        '{"columns": null, "log_density": []}',
        '{"columns": null, "log_density": 3}',
        '{"columns": null, "log_density": [2, 1]}',
        '{"columns": null, "log_density": ["a"]}',
        '{"columns": "ab", "log_density": [1]}',
        '{"columns": [1], "log_density": [1]}',
        '{"columns": {"a": 1}, "log_density": [1]}',
        '{"columns": null, "log_density": [1], "training_rows": []}',
        '{"columns": null, "log_density": [1], "training_rows": [-1]}',
    ],
)
def test_the_error_of_a_damaged_reference_names_it(tmp_path, content):
    (tmp_path / "reference.json").write_text(content)
    with pytest.raises(OSError, match=r"reference\.json is damaged"):
        scoring.read_reference(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_scored_in_pieces_as_a_whole(of_people, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("tfnvp.data.table_formats._ROWS", 100)
    monkeypatch.setattr("tfnvp.data.text_tables._BLOCK", 4096)
    monkeypatch.setattr("tfnvp.data.typed_tables._ROWS", 100)
    rows = people(350, 5)
    rows[[7, 340], 1] = np.nan
    keys = np.array([f"key {i}" for i in range(350)])
    file, output = write(tmp_path / f"new{suffix}", rows, key=keys), tmp_path / f"out{suffix}"
    reference = scoring.make_reference(of_people, people(100, 1), NAMES)
    expected = scoring.score(of_people, rows, reference)
    found = scoring.score_table(of_people, file, reference, output=output)
    for part, whole in zip(found[:4], expected[:4], strict=True):
        np.testing.assert_allclose(part, whole, rtol=1e-5)
    written = tables.read_table(output)
    assert written["key"].to_pylist() == keys.tolist()
    np.testing.assert_allclose(
        written["log_density"].to_numpy(), expected.log_density, rtol=1e-6, atol=1e-6
    )
    assert written.column_names[-3:] == ["log_density", "quantile", "outlier"]
    # Nothing is left of a file that cannot be scored to its end.
    rows_of_text = tmp_path / "words.csv"
    rows_of_text.write_text("height,weight,age\n" + "1,2,x\n" * 10)
    with pytest.raises(ValueError, match="column 'age' holds no numbers"):
        scoring.score_table(of_people, rows_of_text, output=tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_scores_replace_all_scores_of_an_earlier_call_and_no_other_column():
    def table(*names):
        return pyarrow.table({name: [float(i)] for i, name in enumerate(names)})

    all_scores = ("log_density", "quantile", "outlier")
    reasons = tuple(f"explain_{i}_{part}" for i in "12" for part in ("column", "gain", "value"))
    for new in (table("log_density"), table(*all_scores), table(*all_scores, *reasons[:3])):
        for old in ((), all_scores[:1], all_scores, all_scores + reasons, all_scores[:1] + reasons):
            found = scoring.with_scores(table("a", "my quantile", *old), new, "t")
            assert found.select(["a", "my quantile"]) == table("a", "my quantile")
            assert found.select(range(2, found.num_columns)) == new
        assert scoring.with_scores(table(*all_scores), new, "t") == new
    kept = scoring.with_scores(table("quantile", "a"), table("log_density"), "t")
    assert kept.column_names == ["quantile", "a", "log_density"]
    for names in (
        ("quantile", "a", *all_scores[:1]),  # Not all of a set.
        (*all_scores, "a"),  # Not at the end.
        ("a", "quantile", "outlier"),
        ("a", "outlier"),
    ):
        with pytest.raises(ValueError, match=r"t has a column '(log_d|quan|outl).*rename it first"):
            scoring.with_scores(table(*names), table(*all_scores), "t")


def test_explain_is_checked_before_the_table_is_read(of_people, tmp_path):
    for explain in (0, True, 1.5):
        with pytest.raises(ValueError, match="`explain` must be a positive int"):
            scoring.score_table(of_people, tmp_path / "missing.csv", explain=explain)
