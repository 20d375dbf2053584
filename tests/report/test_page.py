"""Whole pages: what a browser acts on, and that every section is there."""

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow_probability as tfp
from PIL import Image

import tfnvp
from tests.conftest import perturb
from tfnvp.data import Splits
from tfnvp.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
NASTY = "<script>alert('x')</script>&\"$x^{"


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


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
    """Checks everything that holds for every report; returns the page and its text."""
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
    return page, text


@pytest.fixture(scope="module")
def nice():
    """A small NICE on digits with seventeen grey levels."""
    flow = tfnvp.NICE((8, 8), couplings=3, hidden_units=(16,), levels=17)
    flow.adapt(tfnvp.data.dequantize(tfnvp.data.load_digits().train, 17, seed=(0, 0)))
    return flow


@pytest.fixture(scope="module")
def report(nice, tmp_path_factory):
    """The report of a run folder whose name must be escaped in HTML."""
    folder = tmp_path_factory.mktemp("report") / "<b>run"
    folder.mkdir()
    config = {"name": "nice-digits", "dataset": "digits", "options": {"couplings": 3}, "seed": 5}
    (folder / "config.json").write_text(json.dumps(config))
    metrics = {"epochs": 2, "rows": {"train": 1293}, "test": {"nats": 1.25, "bits_per_dim": 3.0}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "history.csv").write_text(
        "epoch,bits_per_dim,loss,val_bits_per_dim,val_loss\n0,4.5,9.0,4.25,8.5\n1,4.0,8.0,,\n"
    )
    splits = tfnvp.data.load_named("digits")
    return write_report(
        nice, folder.parent / "report.html", splits, folder=folder, title=folder.name, rows=50
    )


def test_report_of_a_run(report, nice):
    page, text = check(report)
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
    assert "<h1>&lt;b&gt;run</h1>" in text
    assert "Evaluated on digits" in text
    assert "pixels shuffled" in text
    assert "bits per dimension" in text
    assert "50 of 360" in text
    assert f"{nice.count_params():,}" in text
    assert "hidden units" in text
    assert "<td>couplings</td><td>3</td>" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_renders_it(report, tmp_path):
    shots = {}
    for scheme in (0, 1):  # Dark, light.
        shot = tmp_path / f"{scheme}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,1500"]
        options += [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
        address = report.as_uri()
        subprocess.run([CHROMIUM, *options, address], check=True, capture_output=True, timeout=120)
        shots[scheme] = np.asarray(Image.open(shot).convert("L"), "float32")
    dark, light = shots[0], shots[1]
    assert dark.shape == (1500, 500)
    assert np.median(dark) < 60
    assert np.median(light) > 240
    # Nothing is wider than a phone: the last pixels of each line are empty.
    assert np.ptp(light[:, -8:]) == 0


def test_points_and_names_with_markup(tmp_path):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    rows = flow.sample(90, seed=0).numpy()
    splits = Splits(NASTY, rows[:30], rows[30:60], rows[60:], columns=(NASTY, "b"))
    page, text = check(write_report(flow, tmp_path / "r.html", splits, title=NASTY, rows=50))
    assert page.titles[:3] == ["Samples", "Deformation", "Likelihoods"]
    assert "columns shuffled" in text


def test_tables_with_other_data_and_a_custom_base(tmp_path):
    base = tfp.distributions.MultivariateNormalDiag([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    flow = perturb(tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), base=base))
    page, text = check(write_report(flow, tmp_path / "r.html", rows=50))
    assert page.titles == ["Samples", "Latents", "Reconstruction", "Model"]
    assert "No data was given" in text
    rows = flow.sample(40, seed=0).numpy()
    splits = Splits("table", rows[:20], rows[:20], rows[20:])
    other = Splits("elsewhere", rows + 9, rows + 9, rows + 9)
    page, text = check(write_report(flow, tmp_path / "r.html", splits, other=other, rows=50))
    assert "Likelihoods" in page.titles
    assert "elsewhere" in text
    assert "<td>train</td>" in text


@pytest.mark.filterwarnings("ignore:.*log-density of such rows")
def test_tables_with_angles_bounds_and_a_row_of_density_0(tmp_path):
    options = {"bounds": {0: (0, None)}, "circular": {2: (0, 360)}}
    flow = perturb(tfnvp.NeuralSplineFlow(3, 2, (8,), bins=3, **options), 0.1)
    rows = flow.sample(40, seed=0).numpy()
    rows[5, 0] = -1.0
    splits = Splits("table", rows[10:], rows[10:], rows[:10])
    _, text = check(write_report(flow, tmp_path / "r.html", splits, rows=50))
    assert "<dd>-inf nats</dd>" in text
    assert re.search(r"rows of density 0, left out</td>\s*<td>1</td>", text)


def test_colour_images(tmp_path):
    flow = tfnvp.RealNVP((4, 4, 3), couplings=2, hidden_units=(8,), levels=256)
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3)).astype("uint8")
    splits = Splits("noise", images[:10], images[10:20], images[20:], 256)
    page, _ = check(write_report(flow, tmp_path / "r.html", splits))
    assert "Interpolation" in page.titles
    splits = splits._replace(test=images[:3])
    page, _ = check(write_report(flow, tmp_path / "r.html", splits))
    assert "Interpolation" not in page.titles
    assert page.tags.count("img") == 3


def test_a_single_test_row_has_no_errors(tmp_path):
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    splits = Splits("short", rows, rows[:1], rows[:1])
    page, text = check(write_report(flow, tmp_path / "r.html", splits))
    assert page.titles == ["Samples", "Likelihoods", "Latents", "Reconstruction", "Model"]
    assert "1 of 1" in text
    assert "round-trip error</" not in text


def test_arrays_that_are_no_images_have_no_pictures(tmp_path):
    flow = tfnvp.RealNVP((4, 4, 2), couplings=2, hidden_units=(8,))
    rows = np.random.default_rng(0).normal(size=(20, 4, 4, 2)).astype("float32")
    page, text = check(write_report(flow, tmp_path / "r.html", Splits("x", rows, rows, rows)))
    assert page.titles == ["Likelihoods", "Latents", "Reconstruction", "Model"]
    assert "img" not in page.tags
    assert "columns shuffled" in text


def test_flows_and_data_that_do_not_fit(tmp_path):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=1)
    with pytest.raises(ValueError, match="`flow` must take no condition"):
        write_report(flow, tmp_path / "r.html")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    rows = np.zeros((10, 3), "float32")
    with pytest.raises(ValueError, match="must be of the flow's shape"):
        write_report(flow, tmp_path / "r.html", Splits("x", rows, rows, rows))
    assert not list(tmp_path.iterdir())
