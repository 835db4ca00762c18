#!/usr/bin/env python3
"""Writes tests/generalise_cases.inc: losses and gradients of methods of domain generalisation by DomainBed's classes
(commit b93c22a1cfc3b2428398272c1a116c8de1f4139e when the file was made, with torch 2.15.0). Run it with a Python that
has torch and torchvision, and a copy of DomainBed:

    git clone https://github.com/facebookresearch/DomainBed
    venv/bin/pip install torch==2.15.0 torchvision==0.29.2 tqdm
    venv/bin/python tests/make_generalise_cases.py DomainBed

The optimisers are replaced by plain gradient steps of rate 1, so that the change of the weights is the gradient; the
inner steps of Fish by plain ones as in its paper; the gradients of single items, which Fishr asks of the package
backpack, by one call of autograd an item. What DomainBed has otherwise is written as its definition: MLDG by
Algorithm 1 of its paper, TENT by torch's BatchNorm1d and Adam."""
import importlib.metadata
import pathlib
import subprocess
import sys
import types

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from case_numbers import listed

sys.modules["timm"] = types.ModuleType("timm")  # DomainBed asks for it, but not for what is run here
sys.path.insert(0, sys.argv[1])
from domainbed import algorithms  # noqa: E402

algorithms.backpack = algorithms.extend = lambda module: module

torch.set_default_dtype(torch.float64)
torch.manual_seed(5)
IN, WIDTH, CLASSES = 3, 6, 2
HPARAMS = {"lr": 1.0, "weight_decay": 0, "nonlinear_classifier": False, "mlp_width": 4, "mlp_depth": 3,
           "mlp_dropout": 0.0, "sd_reg": 0.1, "rsc_f_drop_factor": 1 / 3, "rsc_b_drop_factor": 1 / 3, "lambda": 30.0,
           "penalty_anneal_iters": 0, "ema": 0.95, "meta_lr": 0.5}
FISH_RATE = 0.2


def drawn(*shape):
    """Normal numbers of two decimals: the file has them exactly."""
    return torch.randn(*shape).round(decimals=2)


def body_and_head(weights):
    body, head = nn.Sequential(nn.Linear(IN, WIDTH), nn.Tanh()), nn.Linear(WIDTH, CLASSES)
    vector_to_parameters(weights.clone(), [*body.parameters(), *head.parameters()])
    return body, head


def plain_steps(parameters, lr, weight_decay):
    return torch.optim.SGD(parameters, lr=lr)


def gradients_of_items(method, logits, labels):
    """What Fishr's `_get_grads` returns."""
    losses = cross_entropy(logits, labels, reduction="none")
    names, parameters = zip(*method.classifier.named_parameters())
    rows = [torch.autograd.grad(loss, parameters, create_graph=True) for loss in losses]
    return {name: torch.stack([row[i].flatten() for row in rows]) for i, name in enumerate(names)}


def of_domainbed(name, weights, batches):
    """The loss and its gradient of a method's update on each of some batches of domains, at the same weights."""
    method = getattr(algorithms, name)((IN,), CLASSES, len(batches[0]), HPARAMS)
    for domains in batches:
        body, head = body_and_head(weights)
        method.featurizer, method.classifier, method.network = body, head, nn.Sequential(body, head)
        parameters = list(method.network.parameters())
        method._get_grads = types.MethodType(gradients_of_items, method)
        method.optimizer = torch.optim.SGD(parameters, lr=1)
        before = parameters_to_vector(parameters).detach().clone()
        said = method.update(domains)
        loss = said["loss"]
        if name == "SD":  # says the risk and the penalty apart
            loss += HPARAMS["sd_reg"] * said["penalty"]
        yield torch.cat([torch.tensor([loss]), before - parameters_to_vector(parameters).detach()])


class WholeNet(nn.Module):
    """What Fish trains, here the net of all cases."""

    def __init__(self, *_, weights=None):
        super().__init__()
        self.net = nn.Sequential(*body_and_head(WholeNet.start))
        if weights is not None:
            self.reset_weights(weights)

    def reset_weights(self, weights):
        self.load_state_dict({name: value.clone() for name, value in weights.items()})

    def forward(self, x):
        return self.net(x)


def fish(weights, domains):
    """The last domain's loss is not compared: the mean of all is taken here. theta - theta~ from the outer step."""
    WholeNet.start = weights
    algorithms.networks.WholeFish = WholeNet
    adam, torch.optim.Adam = torch.optim.Adam, plain_steps
    method = algorithms.Fish((IN,), CLASSES, len(domains), HPARAMS | {"lr": FISH_RATE})
    losses = []
    plain_loss = algorithms.F.cross_entropy

    def noted(*arguments):
        losses.append(plain_loss(*arguments))
        return losses[-1]

    algorithms.F.cross_entropy = noted
    method.update(domains)
    algorithms.F.cross_entropy, torch.optim.Adam = plain_loss, adam
    after = parameters_to_vector(method.network.parameters()).detach()
    return torch.cat([torch.stack(losses).mean().detach().reshape(1), (weights - after) / HPARAMS["meta_lr"]])


def mldg(weights, train, test, alpha, beta, first_order):
    theta = weights.clone().requires_grad_()

    def risk(at, domains):
        w, b, v, c = torch.split(at, [WIDTH * IN, WIDTH, CLASSES * WIDTH, CLASSES])
        return sum(cross_entropy(torch.tanh(x @ w.view(WIDTH, IN).T + b) @ v.view(CLASSES, WIDTH).T + c, y)
                   for x, y in domains) / len(domains)

    f = risk(theta, train)
    slope, = torch.autograd.grad(f, theta, create_graph=True)
    total = f + beta * risk(theta - alpha * (slope.detach() if first_order else slope), test)
    return torch.cat([total.detach().reshape(1), torch.autograd.grad(total, theta)[0]])


def tent(weights, batches, rate):
    """Logits of each batch, and the scale and shift at last."""
    body, head = body_and_head(weights)
    norm = nn.BatchNorm1d(WIDTH)
    optimizer = torch.optim.Adam(norm.parameters(), lr=rate)
    answers = []
    for x in batches:
        logits = head(torch.tanh(norm(body[0](x))))
        answers.append(logits.detach().flatten())
        optimizer.zero_grad()
        torch.distributions.Categorical(logits=logits).entropy().mean().backward()
        optimizer.step()
    return torch.cat([*answers, norm.weight.detach(), norm.bias.detach()])


def main():
    weights = drawn(WIDTH * IN + WIDTH + CLASSES * WIDTH + CLASSES)
    domains = [(drawn(6, IN) + e, torch.tensor([0, 1, 1, 0, 1, 0])) for e in range(3)]
    others = [(x.flip(0), y) for x, y in domains]  # other pairs of items and labels
    cases = []
    for name, case in (("Rsc", "RSC"), ("SpectralDecoupling", "SD")):
        cases.append((name, next(of_domainbed(case, weights, [domains]))))
    for step, numbers in enumerate(of_domainbed("Fishr", weights, [domains, others])):
        cases.append((f"Fishr, step {step}", numbers))
    for order in ((0, 1), (1, 0)):
        cases.append((f"Fish, {order[0]} before {order[1]}", fish(weights, [domains[e] for e in order])))
    for first_order in (False, True):
        for test in range(3):
            train = [domains[e] for e in range(3) if e != test]
            cases.append((f"Mldg, {'first' if first_order else 'second'} order, {test}",
                          mldg(weights, train, [domains[test]], 0.3, 0.7, first_order)))
    cases.append(("Tent", tent(weights, [x for x, _ in domains], 0.05)))

    commit = subprocess.run(["git", "-C", sys.argv[1], "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    lines = [f"// Made by make_generalise_cases.py with DomainBed {commit.stdout.strip()}",
             f"// and torch {importlib.metadata.version('torch')}.", "",
             "// Weights of a net 3 -> 6 -> 2 (body: weight, bias; head: weight, bias), items of three domains.",
             "const std::vector<double> kWeights =", listed(weights, "    ") + ";",
             "const std::vector<std::vector<double>> kItems = {",
             ",\n".join(listed(x, "    ") for x, _ in domains) + "};",
             "const std::vector<std::int64_t> kLabels = {0, 1, 1, 0, 1, 0};", "",
             "/// Method, its loss and the gradient of all weights; of TENT the logits of each batch, scale and shift.",
             "const std::vector<Expected> kExpected = {"]
    lines.append(",\n".join(f'    {{"{name}",\n{listed(numbers, "     ")}}}' for name, numbers in cases) + "};")
    pathlib.Path(__file__).with_name("generalise_cases.inc").write_text("\n".join(lines) + "\n")


main()
