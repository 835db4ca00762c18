#!/usr/bin/env python3
"""Writes tests/transfer_cases.inc: numbers of other implementations of transfer methods. Low-rank changes, decomposed
ones, learned scales and merged models by the Python package `peft` (0.21.2 when the file was made, with torch 2.15.0
and transformers 5.24.0), logistic regressions by `scikit-learn` (1.9.1), LogME by its authors' code, thuml/LogME at
commit 3a08950. Run it with a Python that has them, and the file of that code:

    python3 -m venv venv && venv/bin/pip install torch peft==0.21.2 scikit-learn==1.9.1
    curl -O https://raw.githubusercontent.com/thuml/LogME/3a0895084badc924dce3eb049580100bf7258f42/LogME.py
    venv/bin/python tests/make_transfer_cases.py LogME.py

All given numbers are exact in binary."""
import importlib.util
import pathlib
import sys
import types

import numpy as np
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from peft.utils.merge_utils import ties
from sklearn.linear_model import LogisticRegression

from case_numbers import nested

random = np.random.RandomState(5)


def exact(*shape):
    return np.round(16 * random.standard_normal(shape)) / 16


def tensor(x):
    return f"tensor<double>({nested(np.asarray(x, dtype=float))})"


class Net(torch.nn.Module):
    """tanh between two layers."""

    def __init__(self, w1, b1, w2, b2):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)
        for parameter, value in zip(self.parameters(), (w1, b1, w2, b2)):
            parameter.data = torch.tensor(value)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def of_layer(model, name):
    """The tuned layer of that name."""
    return getattr(model.base_model.model, name)


def set_parameter(module, value):
    module.weight.data = torch.tensor(value)
    return module.weight


def low_rank(weights, x, g, dora):
    """a, b (and m) of both layers, the answers, and the gradients of sum g y."""
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["first", "second"], use_dora=dora)
    model = get_peft_model(Net(*weights), config).double()
    numbers, parameters = [], []
    for name, (out, size) in (("first", (5, 4)), ("second", (3, 5))):
        layer = of_layer(model, name)
        parts = [(layer.lora_A["default"], exact(2, size)), (layer.lora_B["default"], exact(out, 2))]
        if dora:
            parts.append((layer.lora_magnitude_vector["default"], np.abs(exact(out)) + 0.5))
        for module, value in parts:
            numbers.append(value)
            parameters.append(set_parameter(module, value))
    y = model(torch.tensor(x))
    gradients = torch.autograd.grad((y * torch.tensor(g)).sum(), parameters)
    return numbers, y.detach().numpy(), [gradient.numpy() for gradient in gradients]


def scales(weights, x, g):
    """Scales of the first layer's outputs and the second one's inputs, the answers, and the gradients of sum g y."""
    config = IA3Config(target_modules=["first", "second"], feedforward_modules=["second"])
    model = get_peft_model(Net(*weights), config).double()
    numbers, parameters = [], []
    for name, shape in (("first", (5, 1)), ("second", (1, 5))):
        value = exact(*shape)
        parameter = of_layer(model, name).ia3_l["default"]
        parameter.data = torch.tensor(value)
        numbers.append(value.flatten())
        parameters.append(parameter)
    y = model(torch.tensor(x))
    gradients = torch.autograd.grad((y * torch.tensor(g)).sum(), parameters)
    return numbers, y.detach().numpy(), [gradient.numpy().flatten() for gradient in gradients]


def tuned_case(name, numbers, y, gradients):
    lists = [", ".join(map(tensor, part)) for part in (numbers, gradients)]
    return ["// Their numbers, the answers, and the gradients.",
            f"inline const TunedCase {name} = {{{{{lists[0]}}}, {tensor(y)}, {{{lists[1]}}}}};", ""]


def logistic_cases():
    lines = ["// Features, labels, ways, lambda; weights, biases, and class chances of the features.",
             "inline const std::vector<LogisticCase> kLogistic = {"]
    for labels, width, penalty in (([0, 1, 2] * 4, 3, 1), ([0, 0, 1, 2, 2, 3, 3, 3], 5, 0.1), ([0, 1, 2] * 5, 2, 10),
                                   ([0, 1] * 6, 4, 0.01)):
        x, y = exact(len(labels), width), np.array(labels)
        solver = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=100000)
        if y.max() == 1:  # of two classes it has one vector, and half the penalty for the two of the softmax
            solver = LogisticRegression(C=2 / penalty, tol=1e-12, max_iter=100000)
        solver.fit(x, y)
        w, b = solver.coef_, solver.intercept_
        if len(w) == 1:
            w, b = np.vstack([-w, w]) / 2, np.hstack([-b, b]) / 2
        lines.append(f"    {{{tensor(x)}, tensor<std::int64_t>({nested(y)}), {y.max() + 1}, {penalty}, {tensor(w)}, "
                     f"{tensor(b)}, {tensor(solver.predict_proba(x))}}},")
    return lines + ["};", ""]


def logme_cases(path):
    sys.modules["numba"] = types.SimpleNamespace(njit=lambda f: f)  # it makes the code faster, no more
    spec = importlib.util.spec_from_file_location("LogME", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines = ["// Features, labels, classes, and the authors' LogME.", "inline const std::vector<LogmeCase> kLogme = {"]
    for items, width, classes in ((12, 3, 3), (20, 6, 4), (9, 2, 2)):
        x, y = exact(items, width), np.arange(items) % classes
        x[:, 0] += y
        lines.append(f"    {{{tensor(x)}, tensor<std::int64_t>({nested(y)}), {classes}, "
                     f"{module.LogME().fit(x, y)!r}}},".replace("np.float64(", "").replace(")}", "}"))
    return lines + ["};", ""]


def ties_cases():
    lines = ["// Changes of the tasks [tasks, numbers], density, and what they are merged to.",
             "inline const std::vector<TiesCase> kTies = {"]
    for tasks, numbers, density in ((3, 20, 0.2), (2, 11, 0.5), (4, 15, 1.0)):
        changes = random.permutation(np.arange(1, tasks * numbers + 1)).reshape(tasks, numbers) / 16
        changes *= random.choice([-1, 1], changes.shape)
        merged = ties([torch.tensor(change) for change in changes], torch.ones(tasks), density)
        lines.append(f"    {{{tensor(changes)}, {density}, {tensor(merged.numpy())}}},")
    return lines + ["};"]


def main():
    weights = exact(5, 4), exact(5), exact(3, 5), exact(3)
    x, g = exact(3, 4), exact(3, 3)
    lines = ["// Made by make_transfer_cases.py.", "",
             "// Weights and biases of both layers; inputs, and weights of their answers.",
             f"inline const std::vector<Tensor<double>> kWeights = {{{', '.join(map(tensor, weights))}}};",
             f"inline const Tensor<double> kInputs = {tensor(x)};", f"inline const Tensor<double> kOf = {tensor(g)};", ""]
    lines += tuned_case("kLora", *low_rank(weights, x, g, False))
    lines += tuned_case("kDora", *low_rank(weights, x, g, True))
    lines += tuned_case("kIa3", *scales(weights, x, g))
    lines += logistic_cases() + logme_cases(sys.argv[1]) + ties_cases()
    path = pathlib.Path(__file__).with_name("transfer_cases.inc")
    path.write_text("\n".join(lines) + "\n")


main()
