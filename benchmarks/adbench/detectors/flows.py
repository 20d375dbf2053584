"""Normalizing flows: the score is minus the log-density."""

from tfnvp.sklearn import FlowOutlierDetector

PACKAGES = ("tfnvp", "tensorflow", "keras")


def tfnvp(train, seed, novelty):
    """`FlowOutlierDetector` with its defaults."""
    detector = FlowOutlierDetector(random_state=seed, novelty=novelty).fit(train)
    chosen = {"noise": detector.noise_, "steps": detector.steps_}
    return lambda test: -detector.score_samples(test), chosen
