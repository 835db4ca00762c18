#!/usr/bin/env python3
"""Writes tests/torch_meta_cases.inc: losses and gradients of methods that learn to adapt, by the Python packages
`higher`, whose inner loops torch differentiates through, and `torch` itself (0.2.1 and 2.15.0 when the file was made).
Run it with a Python that has both:

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 higher==0.2.1
    venv/bin/python tests/make_torch_meta_cases.py

What `higher` does not have is written as its definition: iMAML with the exact minimum of the inner problem and a dense
solve, ridge regression as least squares."""
import importlib.metadata
import pathlib

import higher
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from case_numbers import listed

WAYS = 3


def drawn(*shape):
    """Normal numbers of two decimals: the file has them exactly."""
    return torch.randn(*shape).round(decimals=2)


class Net(nn.Sequential):
    """3 -> 4 -> 3 with tanh between."""

    def __init__(self, weights):
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, WAYS))
        vector_to_parameters(weights, self.parameters())

    @property
    def body(self):
        return list(self[0].parameters())

    @property
    def head(self):
        return list(self[2].parameters())


class Task:
    def __init__(self):
        self.support, self.query = drawn(6, 3), drawn(5, 3)
        self.labels, self.answers = torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([0, 2, 1, 1, 0])

    def support_loss(self, net):
        return cross_entropy(net(self.support), self.labels)

    def query_loss(self, net):
        return cross_entropy(net(self.query), self.answers)


def loss_and_gradient(loss, parameters):
    return torch.cat([loss.reshape(1), parameters_to_vector(torch.autograd.grad(loss, parameters))]).detach()


def adapted_loss(net, task, optimizer, steps, first_order=False, override=None):
    """The query loss after steps of `optimizer`, which says what they change."""
    def constant(gradients):
        return [gradient.detach() for gradient in gradients]

    with higher.innerloop_ctx(net, optimizer, copy_initial_weights=False, override=override) as (inner, steps_of):
        for _ in range(steps):
            steps_of.step(task.support_loss(inner), grad_callback=constant if first_order else None)
        return task.query_loss(inner)


def by_higher(weights, rates, task):
    """Pairs of a name and the loss with its gradient."""
    for name, part, first_order in (("Maml", None, False), ("Maml, first order", None, True), ("Anil", "head", False),
                                    ("Boil", "body", False)):
        net = Net(weights)
        changed = getattr(net, part) if part else net.parameters()
        loss = adapted_loss(net, task, torch.optim.SGD(changed, lr=0.4), 2, first_order)
        yield name, loss_and_gradient(loss, list(net.parameters()))
    for first_order in (False, True):
        net = Net(weights)
        parameters, alpha = list(net.parameters()), Net(rates)
        optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in parameters], lr=1.0)
        loss = adapted_loss(net, task, optimizer, 2, first_order, {"lr": list(alpha.parameters())})
        name = "MetaSgd, first order" if first_order else "MetaSgd"
        yield name, loss_and_gradient(loss, parameters + list(alpha.parameters()))


def implicit(weights, task, strength):
    """phi minimises L_S(phi) + strength / 2 |phi - theta|^2, and (I + H / strength) v = grad L_Q(phi)."""
    net = Net(weights)
    shapes = {name: parameter.shape for name, parameter in net.named_parameters()}

    def of_vector(loss, vector):
        parts = vector.split([shape.numel() for shape in shapes.values()])
        values = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts)}
        return loss(lambda x: torch.func.functional_call(net, values, x))

    def inner(phi):
        return of_vector(task.support_loss, phi) + strength / 2 * (phi - weights).square().sum()

    phi = weights
    for _ in range(30):
        phi = phi - torch.linalg.solve(torch.func.hessian(inner)(phi), torch.func.grad(inner)(phi))
    assert torch.func.grad(inner)(phi).abs().max() < 1e-14
    hessian = torch.func.hessian(lambda at: of_vector(task.support_loss, at))(phi)
    slope, loss = torch.func.grad_and_value(lambda at: of_vector(task.query_loss, at))(phi)
    v = torch.linalg.solve(torch.eye(len(phi)) + hessian / strength, slope)
    return torch.cat([loss.reshape(1), v]).detach()


def ridge(support, query, labels, answers, intercept, strength, scale, bias):
    """Logits, and the gradient of their mean squared error to the answers in the embeddings, log lambda, the scale and
    the bias. Weights are the least squares of X W = Y and sqrt(lambda) W = 0, the latter without a free intercept."""
    log_lambda, scale, bias = (torch.tensor(number, requires_grad=True) for number in (strength, scale, bias))
    support, query = support.clone().requires_grad_(), query.clone().requires_grad_()

    def rows(x):
        return x if intercept == "none" else torch.cat([x, torch.ones(len(x), 1)], 1)

    x = rows(support)
    penalised = torch.ones(x.shape[1])
    if intercept == "centre":
        penalised[-1] = 0
    system = torch.cat([x, torch.exp(log_lambda / 2) * torch.diag(penalised)])
    targets = torch.cat([one_hot(labels, WAYS).to(x.dtype), torch.zeros(x.shape[1], WAYS)])
    logits = scale * rows(query) @ torch.linalg.lstsq(system, targets, driver="gels").solution + bias
    loss = (logits - one_hot(answers, WAYS)).square().mean()
    gradient = torch.autograd.grad(loss, [support, query, log_lambda, scale, bias])
    return torch.cat([logits.flatten(), *(part.flatten() for part in gradient)]).detach()


def main():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    task, weights, rates = Task(), drawn(31), (drawn(31).abs() / 2 + 0.05).round(decimals=2)
    embedded = {width: (drawn(5, width), drawn(4, width)) for width in (6, 2)}  # more columns than items, and fewer
    labels, answers = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 0, 1, 0])

    results = list(by_higher(weights, rates, task)) + [("Imaml", implicit(weights, task, 2.0))]
    regressions = [(width, intercept, ridge(*embedded[width], labels, answers, intercept, -0.7, 3.0, 0.25))
                   for width in embedded for intercept in ("column", "centre", "none")]

    lines = [f"// Made by make_torch_meta_cases.py with torch {torch.__version__.split('+')[0]} and higher "
             f"{importlib.metadata.version('higher')}.", "",
             "// Weights of a net 3 -> 4 -> 3 (body: weight, bias; head: weight, bias), rates of Meta-SGD, a task."]
    for name, numbers in (("kWeights", weights), ("kRates", rates), ("kSupport", task.support),
                          ("kQuery", task.query)):
        lines += [f"const std::vector<double> {name} =", listed(numbers, "    ") + ";"]
    for name, numbers in (("kLabels", task.labels), ("kAnswers", task.answers), ("kRidgeLabels", labels),
                          ("kRidgeAnswers", answers)):
        lines += [f"const std::vector<std::int64_t> {name} = {listed(numbers, '')};"]
    lines += ["", "/// Method, the query loss after adaptation and its gradient: of the weights, and of the rates.",
              "const std::vector<Expected> kExpected = {"]
    for name, numbers in results:
        lines += [f'    {{"{name}",', listed(numbers, "     ") + "},"]
    lines[-1] = lines[-1][:-1] + "};"
    lines += ["", "/// Width, support and query.", "const std::vector<Embeddings> kEmbeddings = {"]
    for width, (support, query) in embedded.items():
        lines += [f"    {{{width},", listed(support, "     ") + ",", listed(query, "     ") + "},"]
    lines[-1] = lines[-1][:-1] + "};"
    lines += ["", "/// Width, intercept, logits, and the gradient of their mean squared error to the answers",
              "/// in support, query, log lambda, scale and bias.", "const std::vector<Regression> kRegressions = {"]
    for width, intercept, numbers in regressions:
        lines += [f"    {{{width}, RidgeIntercept::{intercept},", listed(numbers, "     ") + "},"]
    lines[-1] = lines[-1][:-1] + "};"
    pathlib.Path(__file__).with_name("torch_meta_cases.inc").write_text("\n".join(lines) + "\n")


main()
