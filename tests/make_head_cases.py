#!/usr/bin/env python3
"""Writes tests/head_cases.inc: support vector machines and ridge regressions of few-shot tasks by another
implementation, the Python package `scikit-learn` (1.9.1 when the file was made, with numpy 2.4.6). Run it with a Python
that has it:

    python3 -m venv venv && venv/bin/pip install scikit-learn==1.9.1 && venv/bin/python tests/make_head_cases.py

The solver of the machines stops early: their tolerance is ten times its own, 1e-11, and what they move with one a
hundred times as large."""
import pathlib

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from case_numbers import nested


def episodes():
    """Embeddings and labels of support sets, and queries; all numbers are exact in binary."""
    random = np.random.RandomState(3)

    def episode(labels, width, apart):
        labels = np.array(labels)
        centres = apart * random.standard_normal((labels.max() + 1, width))
        near = [centres[labels] + random.standard_normal((len(labels), width)),
                centres[random.randint(0, labels.max() + 1, 4)] + random.standard_normal((4, width))]
        return [np.round(16 * x) / 16 for x in near] + [labels]

    return [
        episode([0, 1, 2] * 3, 4, 1),
        episode([0, 1, 2, 2, 2, 1, 2, 2, 2, 1], 3, 0.5),  # classes of unequal size that overlap
        episode(range(5), 8, 1),
        episode([0, 1] * 5, 2, 0.75),
    ]


def machine(support, query, labels, c, ridge, hinge, tolerance=1e-11):
    """Duals and answers. LinearSVC has no kernel: the ridge on its diagonal is one more number of each item,
    root(ridge), that no query has; the weights of these are the duals times root(ridge). `hinge`: of two classes, the
    binary machine on signs, which has twice the price of a violation and the difference of the two weights."""
    items, width = support.shape
    form = {"loss": "hinge", "C": 2 * c} if hinge else {"multi_class": "crammer_singer", "C": c}
    solver = LinearSVC(fit_intercept=False, tol=tolerance, max_iter=10**7, random_state=0, **form)
    w = solver.fit(np.hstack([support, np.sqrt(ridge) * np.eye(items)]), labels).coef_
    if len(w) == 1:
        w = np.vstack([-w, w]) / 2  # of two classes it gives the difference alone; the sum is 0
    return w[:, width:].T / np.sqrt(ridge), query @ w[:, :width].T


def regression(support, query, labels, intercept, penalty):
    if intercept == "column":
        support, query = (np.hstack([x, np.ones((len(x), 1))]) for x in (support, query))
    solver = Ridge(alpha=penalty, fit_intercept=intercept == "centre", solver="svd")
    return solver.fit(support, np.eye(labels.max() + 1)[labels]).predict(query)


def main():
    all_episodes = episodes()
    lines = ["// Made by make_head_cases.py.", "", "// Support, labels and queries.",
             "const std::vector<Episode<double>> kEpisodes = {"]
    for support, query, labels in all_episodes:
        lines.append(f"    {{{{tensor<double>({nested(support)}), tensor<std::int64_t>({nested(labels)})}}, "
                     f"{{tensor<double>({nested(query)}), {{}}}}, {labels.max() + 1}}},")
    lines += ["};", "", "// An episode, c, ridge, duals and answers, and how far one may be from a number of either.",
              "const std::vector<MachineCase> kMachines = {"]
    for number, (support, query, labels) in enumerate(all_episodes):
        for c, ridge in ((0.1, 1), (1, 0.25), (10, 0.0625)):
            for hinge in (False, True)[:1 + (labels.max() == 1)]:
                given = support, query, labels, c, ridge, hinge
                fine, coarse = machine(*given), machine(*given, tolerance=1e-9)
                away = 1e-10 + max(abs(x - y).max() for x, y in zip(fine, coarse))
                duals, answers = (f"tensor<double>({nested(x)})" for x in fine)
                lines.append(f"    {{{number}, {c}, {ridge}, {duals}, {answers}, {away:.1e}}},")
    lines += ["};", "", "// An episode, the intercept, lambda, and the answers.",
              "const std::vector<RegressionCase> kRegressions = {"]
    for number, (support, query, labels) in enumerate(all_episodes):
        for intercept in ("column", "centre", "none"):
            for penalty in (0.01, 1, 50):
                answers = regression(support, query, labels, intercept, penalty)
                lines.append(f"    {{{number}, RidgeIntercept::{intercept}, {penalty}, "
                             f"tensor<double>({nested(answers)})}},")
    path = pathlib.Path(__file__).with_name("head_cases.inc")
    path.write_text("\n".join(lines + ["};"]) + "\n")


main()
