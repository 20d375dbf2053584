import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import tfnvp
from tests.cli.test_command_line import run
from tests.conftest import perturb
from tfnvp.data import Splits
from tfnvp.report import write_report
from tfnvp.runs import folder as run_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
NASTY = "<script>alert('x')</script>&\"$x^{"


class Page(html.parser.HTMLParser):
    """Collects what a browser would act on, and checks that elements close in order."""

    void = frozenset({"meta", "img", "br", "hr", "link", "input"})
    # In SVG, elements may close themselves; the parser calls `handle_startendtag` for those.

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.addresses, self.titles = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        names = ("href", "src", "xlink:href", "action", "data", "srcset", "poster")
        self.addresses += [attributes[name] for name in names if name in attributes]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


def check(path):
    """Everything that holds for every report; returns the page."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags[:2] == ["html", "head"]
    assert "script" not in page.tags
    assert len(set(page.ids)) == len(page.ids)
    # Nothing is fetched, and every reference within the page has its target.
    bare = re.sub(r'base64,[^"]*', "", text)
    assert not re.search(r"https?:|url\((?!#)|@import|//[a-z]", bare)
    for address in page.addresses:
        if address.startswith("#"):
            assert address[1:] in page.ids
        else:
            kind, content = address.split(",", 1)
            assert kind == "data:image/png;base64"
            Image.open(io.BytesIO(base64.b64decode(content))).load()
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert "nan" not in bare.lower()
    return page


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run folder of a small NICE on digits, one epoch, with a name that HTML must not believe."""
    folder = tmp_path_factory.mktemp("report") / "<b>run"
    options = ["--set", "hidden_units=[16]", "--set", "couplings=3", "--epochs", "2", "--json"]
    saved = ["--saved-models", folder.parent / "saved"]
    assert run("train", "--model", "nice", *options, "--output", folder, *saved) == 0
    return folder


def test_report_of_a_run(digits, tmp_path, capsys):
    page_file = tmp_path / "report.html"
    assert run("report", digits, "-o", page_file, "--rows", "100") == 0
    assert f"report in {page_file}" in capsys.readouterr().out
    page = check(page_file)
    assert page.titles == [
        "Samples",
        "Interpolation",
        "Likelihoods",
        "Latents",
        "Learned rescaling",
        "Reconstruction",
        "Learning curves",
        "Model",
        "Training",
        "Split",
        "Test likelihood",
    ]
    text = page_file.read_text(encoding="utf-8")
    assert "<h1>&lt;b&gt;run</h1>" in text
    assert "pixels shuffled" in text
    assert "bits per dimension" in text
    # The page says what `flow.log_prob` says.
    flow = run_folder.load_model(digits)
    assert f"{flow.count_params():,}" in text
    assert "hidden units" in text
    assert "couplings" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_renders_it(digits, tmp_path):
    run("report", digits, "-o", tmp_path / "report.html", "--rows", "50")
    shots = {}
    for scheme in (0, 1):  # Dark, light.
        shot = tmp_path / f"{scheme}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,1500"]
        options += [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
        address = (tmp_path / "report.html").as_uri()
        subprocess.run([CHROMIUM, *options, address], check=True, capture_output=True, timeout=120)
        shots[scheme] = np.asarray(Image.open(shot).convert("L"), "float32")
    dark, light = shots[0], shots[1]
    assert dark.shape == (1500, 500)
    assert np.median(dark) < 60
    assert np.median(light) > 240
    # Nothing is wider than a phone: the last pixels of each line are empty.
    assert np.ptp(light[:, -8:]) == 0


def test_points_with_nasty_names(tmp_path):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    rows = flow.sample(90, seed=0).numpy()
    splits = Splits(NASTY, rows[:30], rows[30:60], rows[60:], columns=(NASTY, "b"))
    path = write_report(flow, tmp_path / "r.html", splits, title=NASTY, rows=50)
    page = check(path)
    assert page.titles[:3] == ["Samples", "Deformation", "Likelihoods"]
    assert "columns shuffled" in path.read_text(encoding="utf-8")


def test_tables_custom_bases_and_no_data(tmp_path):
    import tensorflow_probability as tfp

    base = tfp.distributions.MultivariateNormalDiag([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    flow = perturb(tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), base=base))
    path = write_report(flow, tmp_path / "r.html", rows=50)
    assert check(path).titles == ["Samples", "Latents", "Reconstruction", "Model"]
    assert "No data was given" in path.read_text(encoding="utf-8")
    rows = flow.sample(40, seed=0).numpy()
    splits = Splits("table", rows[:20], rows[:20], rows[20:])
    other = Splits("elsewhere", rows + 9, rows + 9, rows + 9)
    path = write_report(flow, tmp_path / "r.html", splits, other=other, rows=50)
    assert "Likelihoods" in check(path).titles
    assert "elsewhere" in path.read_text(encoding="utf-8")


def test_streamed_training_rows_are_left_out(tmp_path):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    rows = flow.sample(40, seed=0).numpy()
    path = write_report(
        flow, tmp_path / "r.html", Splits("x", SimpleNamespace(shape=(40, 2)), rows, rows), rows=50
    )
    check(path)
    assert "<td>train</td>" not in path.read_text(encoding="utf-8")


def test_runs_on_tables_are_reported_and_evaluated_on_their_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("t.npy", np.random.default_rng(0).normal(size=(200, 3)))
    options = ["--set", "couplings=2", "--set", "hidden_units=[8]", "--epochs", "1", "--json"]
    assert run("train", "--table", "t.npy", "--output", "r", *options) == 0
    assert run("report", "r", "--rows", "20") == 0
    assert "Likelihoods" in check(tmp_path / "report.html").titles
    capsys.readouterr()
    assert run("evaluate", "r", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20


def test_colour_images(tmp_path):
    flow = tfnvp.ImageRealNVP((4, 4, 3), scales=2, base_filters=2, residual_blocks=1)
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3)).astype("uint8")
    splits = Splits("noise", images[:10], images[10:20], images[20:], 256)
    assert "Interpolation" in check(write_report(flow, tmp_path / "r.html", splits)).titles


def test_shuffled_data_keep_what_they_should():
    from tfnvp.report.likelihoods import unusual_data
    from tfnvp.report.subject import Subject

    flow = tfnvp.RealNVP((2, 3), couplings=2, hidden_units=(8,), levels=256)
    images = np.random.default_rng(0).integers(0, 256, (20, 2, 3)).astype("uint8")
    subject = Subject(flow, Splits("x", images, images, images, 256), None, None, 20, 0)
    shuffled = unusual_data(subject)["pixels shuffled"]
    assert not np.array_equal(shuffled, subject.test)
    np.testing.assert_array_equal(
        np.sort(shuffled.reshape(20, -1)), np.sort(subject.test.reshape(20, -1))
    )
    table = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    subject = Subject(flow, Splits("x", table, table, table), None, None, 20, 0)
    made = unusual_data(subject)
    np.testing.assert_array_equal(
        np.sort(made["columns shuffled"], axis=0), np.sort(subject.test, axis=0)
    )
    assert (made["uniform"] >= table.min(0)).all()
    assert (made["uniform"] <= table.max(0)).all()


def test_the_spectrum_is_that_of_the_rescaling():
    from tfnvp.report.latents import spectrum
    from tfnvp.report.subject import Subject

    flow = tfnvp.NICE(3, couplings=3, hidden_units=(8,))
    flow.bijector.bijectors[-1].log_scale.assign(np.log([0.5, 2.0, 1.0]))
    section = spectrum(Subject(flow, None, None, None, 10, 0))
    assert section.table[0][1] == "2, 1, 0.5"
    plain = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    assert spectrum(Subject(plain, None, None, None, 10, 0)) is None


def test_what_cannot_be_reported(tmp_path):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=1)
    with pytest.raises(ValueError, match="without a condition"):
        write_report(flow, tmp_path / "r.html")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    rows = np.zeros((10, 3), "float32")
    with pytest.raises(ValueError, match="must be of the flow's shape"):
        write_report(flow, tmp_path / "r.html", Splits("x", rows, rows, rows))
    assert not list(tmp_path.iterdir())
