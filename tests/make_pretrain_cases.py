#!/usr/bin/env python3
"""Writes tests/pretrain_cases.inc: losses of pre-training, and their gradients, by other implementations, the Python
packages `lightly` (1.6.0: NT-Xent, and MoCo's loss with a bank of keys), `open_clip_torch` (3.3.0: SigLIP) and
`transformers` (5.24.0: the masked autoencoder), with torch 2.15.0 when the file was made. Run it with a Python that has
them; of what the packages import besides, stand-ins are enough:

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.24.0
    venv/bin/pip install --no-deps lightly==1.6.0 open_clip_torch==3.3.0 && venv/bin/python tests/make_pretrain_cases.py
"""
import importlib.util
import pathlib
import sys
from unittest import mock

import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from case_numbers import nested


FOLDERS = {name: pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])
           for name in ("lightly", "open_clip")}


def module_of(package, path):
    """A file of a package without the package's own imports."""
    base = FOLDERS[package]
    spec = importlib.util.spec_from_file_location(f"{package}_{pathlib.Path(path).stem}", base / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lightly_loss():
    """NTXentLoss, which needs of its package a bank and nothing that the bank imports for several processes."""
    names = ("lightly", "lightly.models", "lightly.models.modules", "lightly.utils", "lightly.utils.dist")
    with mock.patch.dict(sys.modules, {name: mock.MagicMock() for name in names}):
        bank = module_of("lightly", "models/modules/memory_bank.py")
        sys.modules["lightly.models.modules.memory_bank"] = bank
        return module_of("lightly", "loss/ntx_ent_loss.py").NTXentLoss


def drawn(*shape):
    """Normal numbers of two decimals: the file has them exactly."""
    return torch.randn(*shape, dtype=torch.float64).round(decimals=2)


def case(inputs, loss):
    """Inputs, the loss and its gradients, each as a tensor in C++."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    value = loss(*inputs)
    gradients = torch.autograd.grad(value, inputs)
    parts = [nested(x.detach().numpy()) for x in (*inputs, value, *gradients)]
    return ", ".join(part if part[0] != "{" else f"tensor<double>({part})" for part in parts)


def main():
    torch.manual_seed(7)
    nt_xent = lightly_loss()
    lines = ["// Made by make_pretrain_cases.py.", ""]

    lines += ["// Temperature, two views, the loss and its gradients.", "const std::vector<PairCase> kNtXent = {"]
    for temperature, items in ((0.5, 4), (0.1, 3), (1.0, 1), (2.0, 6)):
        loss = nt_xent(temperature=temperature).double()
        lines.append(f"    {{{temperature}, {case([drawn(items, 5), drawn(items, 5)], loss)}}},")
    lines += ["};", ""]

    lines += ["// Temperature, keys of the queue, queries, their keys, the loss and the gradients of both.",
              "const std::vector<QueueCase> kQueue = {"]
    for temperature, items, size in ((0.07, 3, 5), (0.5, 4, 2)):
        loss = nt_xent(temperature=temperature, memory_bank_size=(size, 5)).double()
        stored = drawn(size, 5)
        loss.memory_bank.bank = torch.nn.functional.normalize(stored, dim=1)

        def with_bank(query, key):  # its bank changes when the query has a gradient
            bank = loss.memory_bank.bank.clone()
            value = loss(query, key)
            loss.memory_bank.bank = bank
            return value

        inputs = case([drawn(items, 5), drawn(items, 5)], with_bank)
        lines.append(f"    {{{temperature}, tensor<double>({nested(stored.numpy())}), {inputs}}},")
    lines += ["};", ""]

    lines += ["// Both sides, scale and bias, the loss and its gradients.", "const std::vector<SiglipCase> kSiglip = {"]
    siglip = module_of("open_clip", "loss.py").SigLipLoss()
    for items, scale, bias in ((4, 10.0, -10.0), (3, 2.5, 0.5), (1, 3.0, -1.0)):

        def unit(a, b, s, c):
            rows = [torch.nn.functional.normalize(x, dim=1) for x in (a, b)]
            return siglip(*rows, s, c)

        numbers = [torch.tensor(x, dtype=torch.float64) for x in (scale, bias)]
        lines.append(f"    {{{case([drawn(items, 5), drawn(items, 5), *numbers], unit)}}},")
    lines += ["};", ""]

    lines += ["// Whether targets are normalised, images, what is hidden, drawn patches, the loss and its gradient.",
              "const std::vector<MaskedCase> kMasked = {"]
    for normalise in (False, True):
        config = ViTMAEConfig(image_size=6, patch_size=2, num_channels=2, hidden_size=8, num_hidden_layers=1,
                              num_attention_heads=2, intermediate_size=8, decoder_hidden_size=8,
                              decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=8,
                              norm_pix_loss=normalise)
        model = ViTMAEForPreTraining(config).double()
        images = drawn(2, 6, 6, 2)
        answer = model(images.permute(0, 3, 1, 2))
        drawing, hidden, value = answer.logits, answer.mask, answer.loss
        gradient = torch.autograd.grad(value, drawing)[0]
        marks = nested(hidden.numpy())
        parts = [f"tensor<double>({nested(x.detach().numpy().reshape(x.shape[0], -1))})"
                 for x in (images, drawing, gradient)]
        lines.append(f"    {{{str(normalise).lower()}, {parts[0]}, tensor<double>({marks}), {parts[1]}, "
                     f"{nested(value.detach().numpy())}, {parts[2]}}},")
    lines += ["};", ""]
    path = pathlib.Path(__file__).with_name("pretrain_cases.inc")
    path.write_text("\n".join(lines))
    print(path, len(lines), "lines")


if __name__ == "__main__":
    main()
