"""PyTorch: eager and in other modes (compiled "compile", fused optimisers "fused", "channels_last", "vmap").
KINDS[kind](inputs, mode) makes a step, a function that runs one repetition and returns its results by name; or a step
and the results to compare."""
import torch
import torch.nn.functional as F

import torch_models
from torch_models import tensor, to_numpy


def forward_and_backward(names, function):
    """The gradients of <function(inputs), upstream> with respect to the named inputs."""

    def make(inputs, mode):
        leaves = [tensor(inputs[name]).requires_grad_() for name in names]
        upstream = tensor(inputs["upstream"])
        run = function(inputs)
        if mode == "compile":
            run = torch.compile(run)

        def step():
            y = run(*leaves)
            gradients = torch.autograd.grad(y, leaves, upstream)
            return {"y": y, **{"d_" + name: g for name, g in zip(names, gradients)}}

        return step

    return make


def cross_entropy(inputs):
    labels = tensor(inputs["labels"])
    return lambda x: F.cross_entropy(x, labels)


def attention(inputs):
    causal = bool(inputs["causal"])
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def small_ops(inputs):
    steps = int(inputs["steps"])

    def run(x, w, b):
        for _ in range(steps):
            x = torch.tanh(x * w + b)
        return x

    return run


def adam(inputs, mode):
    """Adam on one tensor with a given gradient."""
    x = tensor(inputs["x"]).requires_grad_()
    x.grad = tensor(inputs["gradient"])
    optimizer = torch.optim.Adam([x], lr=1e-3, fused=mode == "fused")

    def step():
        optimizer.step()
        return {"x": x}

    return step


KINDS = {
    "bias_gelu_residual": forward_and_backward(
        ["x", "bias", "residual"], lambda inputs: lambda x, bias, r: F.gelu(x + bias, approximate="tanh") + r),
    "softmax": forward_and_backward(["x"], lambda inputs: lambda x: torch.softmax(x, -1)),
    "cross_entropy": forward_and_backward(["x"], cross_entropy),
    "layer_norm": forward_and_backward(
        ["x", "scale", "shift"],
        lambda inputs: lambda x, scale, shift: F.layer_norm(x, x.shape[-1:], scale, shift)),
    "attention": forward_and_backward(["q", "k", "v"], attention),
    "small_ops": forward_and_backward(["x", "w", "b"], small_ops),
    "adam": adam,
    **torch_models.KINDS,
}
