"""The model, data and first training step of tests/programs/maml.cpp with PyTorch."""
import math

import torch
from torch.func import functional_call, grad

WAVES, POINTS = 5, 10
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(1, 40), torch.nn.ReLU(), torch.nn.Linear(40, 40), torch.nn.ReLU(),
                          torch.nn.Linear(40, 1))
theta = {name: value.detach().clone() for name, value in net.named_parameters()}


def error(parameters, x, y):
    return ((functional_call(net, parameters, (x,)) - y) ** 2).mean()


def meta_loss(parameters, support, query):
    gradient = grad(error)(parameters, *support)
    return error({name: value - 0.01 * gradient[name] for name, value in parameters.items()}, *query)


def points(amplitude, phase):
    x = 10 * torch.rand(POINTS, 1) - 5
    return x, amplitude * torch.sin(x - phase)


total = None
for _ in range(WAVES):
    amplitude, phase = 0.1 + 4.9 * torch.rand(()), math.pi * torch.rand(())
    gradient = grad(meta_loss)(theta, points(amplitude, phase), points(amplitude, phase))
    total = gradient if total is None else {name: total[name] + gradient[name] for name in total}
for name, value in net.named_parameters():
    value.grad = total[name] / WAVES
torch.optim.Adam(net.parameters(), lr=1e-3).step()
print(f"first gradient {sum(float((g ** 2).sum()) for g in total.values()) ** 0.5:.3f}")
