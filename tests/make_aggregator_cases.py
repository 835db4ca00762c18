#!/usr/bin/env python3
"""Writes tests/aggregator_cases.inc: directions of tasks' gradients, and weights of tasks' losses, by another
implementation, the Python package `torchjd` (0.18.0 when the file was made, with torch 2.15.0, cvxpy 1.9.3, clarabel
0.11.1, ecos 2.0.14, quadprog 0.1.14 and scipy 1.17.1). Run it with a Python that has them:

    python3 -m venv venv && venv/bin/pip install torchjd[full]==0.18.0 && venv/bin/python tests/make_aggregator_cases.py

Each direction has a tolerance, found without graft: rounding errors, and
  reordered  of formulas and quadratic programmes: ten times what the answer moves when tasks and numbers change places
  coarser    of quadratic programmes with regularisation: twice what the answer moves with ten times more of it
  newton     of solvers that stop early: twice the way to where a step of Newton's method, on the conditions that define
             the answer, leads from theirs"""
import pathlib
import warnings

import numpy as np
import torch
from torchjd import aggregation as jd
from torchjd import scalarization
from torchjd.linalg import QuadprogProjector

from case_numbers import nested

torch.set_default_dtype(torch.float64)
warnings.filterwarnings("ignore", module="torchjd")
LOOSEST = 1e-3  # of the direction's length: no case is held to less


def jacobians():
    """By name; all numbers are exact in binary."""
    numbers = np.random.RandomState(5)

    def rows(tasks, n):
        return np.round(numbers.standard_normal((tasks, n)) * 16) / 16

    camps = np.array([1, -1, 1, -1, 1])[:, None] * np.array([2, 1, 0, -1, 2, 1, 0, 1])  # that pull apart
    ahead = np.array([0, 0, 1, 0, 0, 0, 0.5, 0])  # what all want
    pairs = np.zeros((4, 6))
    pairs[[0, 2], :3] = [[-4, 1, 1], [6, 1, 1]]
    pairs[[1, 3], 3:] = [[1, 2, -1], [-2, 0.5, 1.5]]
    return {
        "golden": np.array([[-4, 1, 1], [6, 1, 1]]),
        "random": rows(3, 5),
        "two of four are free": np.array([[1, 0], [2, -1], [-0.5, 1.5], [1, 1]]) @ np.array([[1, 2, -1], [0.5, -1, 2]]),
        "strong conflict": camps + ahead + 0.5 * rows(5, 8),
        "scales 2^-10 to 2^10": rows(4, 6) * np.array([2.0**-10, 1, 2.0**10, 0.125])[:, None],
        "no conflict": np.array([[1, 2, 0, 0.5], [0.5, 0, 3, 1]]),
        "dependent, of one length": np.array([[1, 2, 2], [2, 1, -2], [2, -2, 1], [2, 2, 1]]),
        "two pairs": pairs,
    }


class Rows:
    def __init__(self, name, j):
        self.name, self.j = name, np.asarray(j, float)
        self.tensor, self.tasks, self.gramian = torch.tensor(self.j), len(j), self.j @ self.j.T
        self.lengths = np.sqrt(np.diag(self.gramian))
        self.independent = np.linalg.matrix_rank(self.j / self.lengths[:, None]) == self.tasks
        self.rounding = 1e-14 * self.lengths.sum()


def direct(make):
    return lambda rows: (make()(rows.tensor).numpy(), rows.rounding)


def reordered(make):
    def answer(rows):
        order = np.random.RandomState(7)
        d, moved = make()(rows.tensor).numpy(), 0
        for _ in range(16):
            tasks, places = order.permutation(rows.tasks), order.permutation(len(d))
            other = make()(torch.tensor(rows.j[tasks][:, places])).numpy()
            moved = max(moved, np.linalg.norm(other - d[places]))
        return d, rows.rounding + 10 * moved
    return answer


def projected(aggregator):
    """Regularised only where quadprog would refuse the Gramian."""
    def by(regularisation):
        return aggregator(projector=QuadprogProjector(norm_eps=0, reg_eps=regularisation))

    def answer(rows):
        if rows.independent:
            return reordered(lambda: by(0))(rows)
        fine, coarse = (by(regularisation)(rows.tensor).numpy() for regularisation in (1e-10, 1e-9))
        return fine, rows.rounding + 2 * np.linalg.norm(fine - coarse)
    return answer


def on_simplex(rows, w, slope, hessian):
    """Where a step of Newton's method leads from w on the simplex, over the tasks whose weights are not 0 but for what
    the solver left; None if other tasks ought to have weights."""
    parts = w * rows.lengths
    some = (w > 1e-4) | (parts > 1e-3 * parts.max())
    while True:
        count = some.sum()
        system = np.zeros((count + 1, count + 1))
        system[:count, :count] = hessian[np.ix_(some, some)]
        system[:count, count] = system[count, :count] = 1
        right = np.append((hessian @ w - slope)[some], 1)  # equal slopes, weights of sum 1
        better = np.zeros_like(w)
        better[some] = np.linalg.lstsq(system, right, rcond=1e-15)[0][:count]
        if (better >= 0).all():
            break
        some[better.argmin()] = False
    new_slope = slope + hessian @ (better - w)
    unit = rows.lengths * np.linalg.norm(w @ rows.j)
    return better if (new_slope >= new_slope[some].mean() - 1e-6 * unit).all() else None


def mgda(rows):
    """Least |sum_i w_i g_i| on the simplex."""
    w = jd.MGDAWeighting(1e-15, 100000)(torch.tensor(rows.gramian)).numpy()
    better = on_simplex(rows, w, rows.gramian @ w, rows.gramian)
    if better is None:
        return None, "their solver has not settled which weights are 0"
    return w @ rows.j, rows.rounding + 2 * np.linalg.norm((better - w) @ rows.j)


def cagrad(c):
    """d = g_0 + r g_w / |g_w| with w on the simplex where <g_w, g_0> + r |g_w| is least; r = c |g_0|, g_0 the mean."""
    def answer(rows):
        weights = jd.CAGradWeighting(c, norm_eps=0)(torch.tensor(rows.gramian)).numpy()
        mean = rows.j.mean(0)
        radius = c * np.linalg.norm(mean)

        def direction(w):
            return mean + radius * (w @ rows.j) / np.linalg.norm(w @ rows.j)

        d, w = weights @ rows.j, np.maximum(weights - 1 / rows.tasks, 0)
        w /= w.sum()
        length, along = np.linalg.norm(w @ rows.j), rows.gramian @ w
        hessian = radius * (rows.gramian / length - np.outer(along, along) / length**3)
        better = on_simplex(rows, w, rows.j @ direction(w), hessian)
        if better is None:
            return None, "their solver has not settled which weights are 0"
        return d, rows.rounding + 2 * np.linalg.norm(direction(better) - d)
    return answer


def bargain(rows, a, alpha):
    """How far the direction of the weights a is from that with M a = a^(-1 / alpha)."""
    p = 1 / alpha
    step = np.linalg.solve(rows.gramian + np.diag(p * a**(-p - 1)), rows.gramian @ a - a**-p)
    return rows.rounding + 2 * np.linalg.norm(step @ rows.j)


def nash(max_norm):
    """Their solver gets M over its norm and multiplies that in again: the weights are those with M a = 1 / a."""
    def answer(rows):
        aggregator = jd.NashMTL(rows.tasks, max_norm=max_norm)
        d = aggregator(rows.tensor).numpy()
        away = bargain(rows, aggregator.weighting.prvs_alpha, 1)  # of a direction of length tasks^(1/2)
        return d, away if max_norm == 0 else 2 * away
    return answer


def fairgrad(alpha):
    def answer(rows):
        a = jd.FairGradWeighting(alpha)(torch.tensor(rows.gramian)).numpy()
        return a @ rows.j, bargain(rows, a, alpha)
    return answer


def pcgrad(rows):
    directions = []
    for seed in range(64):
        torch.manual_seed(seed)
        directions.append(jd.PCGrad()(rows.tensor).numpy())
    if max(np.linalg.norm(d - directions[0]) for d in directions) > rows.rounding:
        return None, "depends on the order in which tasks are projected"
    return directions[0] / rows.tasks, rows.rounding  # theirs is the sum, the aggregator here the mean


def config(rows):
    d, tolerance = reordered(jd.ConFIG)(rows)
    return d / rows.tasks, tolerance  # as for PCGrad


def imtl_g(rows):
    if not rows.independent and np.ptp(rows.lengths) > 1e-12:
        return None, "no direction has equal projections: theirs in least squares, here over gradients of length 1"
    return reordered(jd.IMTLG)(rows)


def krum(byzantine, selected):
    def answer(rows):
        if rows.tasks <= 2 * byzantine + 2:
            return None, None
        differences = rows.j[:, None] - rows.j
        distances = np.sort(np.linalg.norm(differences, axis=2), 1)[:, 1:rows.tasks - byzantine - 1]
        best = [set(np.argsort(scores.sum(1))[:selected]) for scores in (distances, distances**2)]
        if best[0] != best[1]:
            return None, "theirs sums distances, the paper and this library squares: other rows are selected"
        return direct(lambda: jd.Krum(byzantine, selected))(rows)
    return answer


def trimmed_mean(trimmed):
    def answer(rows):
        if rows.tasks <= 2 * trimmed:
            return None, None
        return direct(lambda: jd.TrimmedMean(trimmed))(rows)
    return answer


def constant(rows):
    return jd.Constant(torch.tensor([0.5, 2, 0, 1.25, 3][:rows.tasks]))(rows.tensor).numpy(), rows.rounding


def graddrop(rows):
    """The sign of the sum decides, not chance; theirs is the sum, the aggregator here the mean."""
    assert (np.abs(rows.j.sum(0)) > 0).all()
    leak = torch.tensor([0.5, 0, 1, 0.25, 0.125][:rows.tasks])
    d = jd.GradDrop(f=lambda purity: (purity > 0.5).to(purity.dtype), leak=leak)(rows.tensor).numpy()
    return d / rows.tasks, rows.rounding


METHODS = {
    "Sum": direct(jd.Sum),
    "Mean": direct(jd.Mean),
    "Constant": constant,
    "MGDA": mgda,
    "PCGrad": pcgrad,
    "UPGrad": projected(jd.UPGrad),
    "DualProj": projected(jd.DualProj),
    "CAGrad, c = 0.2": cagrad(0.2),
    "CAGrad, c = 0.5": cagrad(0.5),
    "CAGrad, c = 1.5": cagrad(1.5),
    "NashMTL": nash(0),
    "NashMTL, cut to length 1": nash(1),
    "FairGrad, alpha = 0.5": fairgrad(0.5),
    "FairGrad, alpha = 1": fairgrad(1),
    "FairGrad, alpha = 2": fairgrad(2),
    "IMTLG": imtl_g,
    "AlignedMTL, min": reordered(jd.AlignedMTL),
    "AlignedMTL, median": reordered(lambda: jd.AlignedMTL(scale_mode="median")),
    "AlignedMTL, rmse": reordered(lambda: jd.AlignedMTL(scale_mode="rmse")),
    "ConFIG": config,
    "Krum, 0, 1": krum(0, 1),
    "Krum, 1, 2": krum(1, 2),
    "TrimmedMean, 1": trimmed_mean(1),
    "TrimmedMean, 2": trimmed_mean(2),
    "GradDrop": graddrop,
}


def directions():
    lines, left_out = [], []
    all_rows = [Rows(name, j) for name, j in jacobians().items()]
    lines += ["const std::vector<std::pair<std::string, Numbers>> kJacobians = {"]
    lines += [f'    {{"{rows.name}", tensor<double>({nested(rows.j)})}},' for rows in all_rows]
    lines += ["};", "", "// A method, the number of a Jacobian, the direction, and how far from it one may be.",
              "const std::vector<DirectionCase> kDirections = {"]
    for method, answer in METHODS.items():
        for number, rows in enumerate(all_rows):
            d, tolerance = answer(rows)
            if d is not None and not tolerance <= LOOSEST * np.linalg.norm(d):
                d, tolerance = None, f"theirs may be {tolerance / np.linalg.norm(d):.0e} of its length away"
            if d is None and tolerance:
                left_out.append(f"// {method}, {rows.name}: {tolerance}.")
            elif d is not None:
                lines.append(f'    {{"{method}", {number}, {nested(d)}, {tolerance:.1e}}},')
    return lines + ["};", "", "// Left out:"] + left_out


def gradvac():
    """Rounds of two tasks, whose order does not matter; half of their sum, as for PCGrad."""
    rounds = [[[-4, 1, 1], [6, 1, 1]], [[1, 2, 0], [0.5, 0, 3]], [[1, 0, 1], [-0.5, 2, -1]], [[1, 2, 0], [1, 2, 0.5]],
              [[1, 0, 1], [-0.5, 1, 0.5]]]
    aggregator = jd.GradVac(beta=0.25, eps=0)
    lines = ["const std::vector<std::pair<Numbers, std::vector<double>>> kGradVac = {  // rounds, beta = 0.25"]
    for j in rounds:
        d = aggregator(torch.tensor(np.array(j, float))).numpy() / 2
        lines.append(f"    {{tensor<double>({nested(j)}), {nested(d)}}},")
    return lines + ["};"]


def gradients(scalarizer, losses, parameter=None):
    """Value, gradient with respect to the losses, and with respect to a parameter."""
    x = torch.tensor(losses, requires_grad=True)
    inputs = [x] if parameter is None else [x, parameter]
    value = scalarizer(x)
    return [value.item()] + [g.numpy() for g in torch.autograd.grad(value, inputs)]


def weightings():
    losses = [[0.5, 2.0, 3.25], [1e-3, 1.0, 400.0]]
    state = [0.75, -1.5, 0.25]
    lines = ["// A method, losses, its state, the value, and the gradient with respect to losses and state.",
             "const std::vector<LossCase> kLosses = {"]
    for x in losses:
        for name, scalarizer, parameter in (("UW", scalarization.UW(3), "log_var"),
                                            ("IMTLL", scalarization.IMTLL(3), "log_scale")):
            getattr(scalarizer, parameter).data = torch.tensor(state)
            value, by_losses, by_state = gradients(scalarizer, x, getattr(scalarizer, parameter))
            lines.append(f'    {{"{name}", {nested(x)}, {nested(state)}, {nested(value)}, {nested(by_losses)}, '
                         f"{nested(by_state)}}},")
        stch = scalarization.STCH(0.3, torch.tensor([0.5, 1.25, 0.25]), torch.tensor([0.0, -0.5, 1.0]))
        for name, scalarizer in (("GeometricMean", scalarization.GeometricMean()), ("STCH", stch)):
            value, by_losses = gradients(scalarizer, x)
            lines.append(f'    {{"{name}", {nested(x)}, {{}}, {nested(value)}, {nested(by_losses)}, {{}}}},')
    rounds = np.array([[4, 1, 2], [2, 1, 3], [3, 1.5, 1], [1, 0.5, 1], [0.5, 0.25, 1], [0.5, 1, 1], [1, 1, 1]])
    after = rounds * np.array([0.75, 1.25, 0.5]) + np.array([0.125, 0, 0.25])
    dwa, famo = scalarization.DWA(1.5), scalarization.FAMO(3, torch.tensor([0, -0.5, 0.25]), 0.1, 0.01).double()
    lines += ["};", "", "// Losses of a round, and the weights of it. DWA: temperature 1.5, periods of two rounds.",
              "const std::vector<RoundCase> kDwa = {"]
    for number, x in enumerate(rounds):
        lines.append(f"    {{{nested(x)}, {{}}, {nested(gradients(dwa, x)[1])}}},")
        if number % 2 == 1:
            dwa.step()
    lines += ["};", "", "// And the losses after it. FAMO: lower bounds 0, -0.5, 0.25, rate 0.1, decay 0.01.",
              "const std::vector<RoundCase> kFamo = {"]
    for x, y in zip(rounds, after):
        lines.append(f"    {{{nested(x)}, {nested(y)}, {nested(gradients(famo, x)[1])}}},")
        famo.update(torch.tensor(y))
    return lines + ["};"]


def main():
    lines = ["// Made by make_aggregator_cases.py."] + [""] + directions() + [""] + gradvac() + [""] + weightings()
    path = pathlib.Path(__file__).with_name("aggregator_cases.inc")
    path.write_text("\n".join(lines) + "\n")


main()
