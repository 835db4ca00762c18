#!/usr/bin/env python3
"""Writes tests/zero_shot_cases.inc: figures of the generalised zero-shot protocol and of semantic spaces that
scikit-learn (1.9.1), SciPy (1.17.1) and NumPy (2.4.6 when the file was made) give. Run it with a Python that has them:

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1 && venv/bin/python tests/make_zero_shot_cases.py

Accuracies are scikit-learn's balanced accuracies of the answers by argmax of scores less gamma; the area is its `auc`
over a fine sweep of gamma; ranks are its label ranking average precision; neighbours its NearestNeighbors, whose counts
SciPy's `skew` judges."""
import pathlib
import textwrap
import warnings

import numpy as np
import scipy
import sklearn
from scipy.stats import skew
from sklearn.metrics import auc, balanced_accuracy_score, label_ranking_average_precision_score
from sklearn.neighbors import NearestNeighbors

from case_numbers import nested

random = np.random.default_rng(7)
warnings.simplefilter("ignore", UserWarning)  # answers of classes without items here: they are wrong


def whole(x):
    return "{" + ", ".join(str(int(v)) for v in x) + "}"


def accuracies(scores, labels, seen, gamma):
    answers = np.argmax(scores - gamma * seen, axis=1)
    of_seen = seen[labels]
    return [balanced_accuracy_score(labels[part], answers[part]) if part.any() else 0 for part in (of_seen, ~of_seen)]


def protocol(items, classes, lead):
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, items - classes)])
    seen = np.arange(classes) % 3 != 1
    scores = np.round(random.normal(size=(items, classes)) + 1.5 * np.eye(classes)[labels] + lead * seen, 2)
    gammas = [-0.505, 0, 1.005]
    figures = [accuracies(scores, labels, seen, gamma) for gamma in gammas]
    sweep = np.arange(-20.005, 20, 0.01)  # scores have two decimals: never a tie
    curve = np.array([accuracies(scores, labels, seen, gamma) for gamma in sweep])
    order = np.argsort(sweep)
    area = auc(curve[order, 1], curve[order, 0])
    best = max(2 * s * u / (s + u) if s + u > 0 else 0 for s, u in curve)
    return (f"    {{{nested(scores)},\n     {whole(labels)},\n     {whole(seen)},\n     {nested(gammas)},\n"
            f"     {nested(np.array(figures))},\n     {float(area)!r},\n     {float(best)!r}}}")


def space(queries, items, k):
    points, asked = np.round(random.normal(size=(items, 5)), 2), np.round(random.normal(size=(queries, 5)), 2)
    scores = -((asked[:, None] - points[None]) ** 2).sum(2)
    right = random.integers(0, items, queries)
    rank = label_ranking_average_precision_score(np.eye(items)[right], scores)
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors(asked, return_distance=False)
    counts = np.bincount(near.ravel(), minlength=items)
    return (f"    {{{nested(points)},\n     {nested(asked)},\n     {whole(right)},\n     {k},\n     {float(rank)!r},\n"
            f"     {whole(counts)},\n     {float(skew(counts))!r}}}")


def main():
    texts = [f"// Made by make_zero_shot_cases.py with scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}, NumPy "
             f"{np.__version__}.\n",
             "/// Scores, labels, seen classes, gammas, S and U at each of them, AUSUC, the best H.",
             "const std::vector<ProtocolCase> kProtocol = {",
             ",\n".join([protocol(14, 5, 0.8), protocol(12, 4, 0), protocol(20, 7, -0.5)]) + "};\n",
             "/// Points, queries, the right point of each, k, the mean reciprocal rank, counts of neighbours, their skewness.",
             "const std::vector<SpaceCase> kSpace = {",
             ",\n".join([space(9, 6, 1), space(12, 10, 3), space(8, 5, 2)]) + "};"]
    path = pathlib.Path(__file__).with_name("zero_shot_cases.inc")
    lines = []
    for line in "\n".join(texts).split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(line, 120, subsequent_indent=indent + " ", break_long_words=False) or [""]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
