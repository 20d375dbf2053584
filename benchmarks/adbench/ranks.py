"""Ranks of methods over sets, and which differences are significant."""

import itertools

import numpy as np
from scipy import stats

#: Probability of a wrong finding among all pairs.
LEVEL = 0.05


def mean_ranks(values):
    """Mean ranks of methods over sets: 1 for the largest value, means for equal ones.

    Args:
      values: `[sets, methods]`.

    Returns:
      `[methods]`.
    """
    return stats.rankdata(-np.asarray(values), axis=1).mean(axis=0)


def p_values(values):
    """Wilcoxon's signed-rank test of each pair of methods, with Holm's correction.

    Source: Demsar 2006 (Statistical comparisons of classifiers over multiple data sets); Benavoli
    et al. 2016 (Should we really use post-hoc tests based on mean-ranks?).

    Args:
      values: `[sets, methods]`.

    Returns:
      `[methods, methods]`, symmetric, with ones on the diagonal.
    """
    values = np.asarray(values)
    count = values.shape[1]
    pairs = list(itertools.combinations(range(count), 2))
    raw = [
        stats.wilcoxon(values[:, i], values[:, j], zero_method="zsplit").pvalue for i, j in pairs
    ]
    adjusted = np.ones((count, count))
    least = 0.0
    for done, place in enumerate(np.argsort(raw, kind="stable")):
        least = max(least, min(1.0, (len(pairs) - done) * raw[place]))
        i, j = pairs[place]
        adjusted[i, j] = adjusted[j, i] = least
    return adjusted


def groups(values):
    """Largest groups of methods, adjacent in mean rank, in which no pair differs.

    Args:
      values: `[sets, methods]`.

    Returns:
      Lists of places of methods, best first, of two methods or more.
    """
    equal = p_values(values) >= LEVEL
    order = np.argsort(mean_ranks(values), kind="stable")
    found, covered = [], 0
    for first in range(len(order)):
        last = first + 1
        while last < len(order) and equal[order[last], order[first:last]].all():
            last += 1
        if last > covered and last - first > 1:
            found.append([int(place) for place in order[first:last]])
        covered = max(covered, last)
    return found
