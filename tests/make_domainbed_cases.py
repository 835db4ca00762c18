#!/usr/bin/env python3
"""Writes tests/domainbed_cases.inc: what the algorithms of DomainBed (facebookresearch/DomainBed, commit b93c22a, with
torch 2.15.0, when the file was made) make of small batches with a linear body, head and discriminator: the objective
that they print, and the gradients that their optimisers are given. Run it with a Python that has torch, and a clone;
of the packages that DomainBed imports for its backbones a stand-in is enough:

    git clone https://github.com/facebookresearch/DomainBed && python tests/make_domainbed_cases.py DomainBed

All numbers are the package's own, in double."""
import pathlib
import sys
import textwrap
from unittest import mock

import numpy as np
import torch

from case_numbers import nested

sys.path.insert(0, sys.argv[1])
for name in ("torchvision", "torchvision.models", "timm", "domainbed.networks", "domainbed.lib.wide_resnet"):
    sys.modules[name] = mock.MagicMock()
from domainbed import algorithms  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
NUMBERS = "std::vector<double>"
INPUTS, WIDTH, CLASSES, DOMAINS = 4, 3, 3, 3


def listed(x):
    return nested(x.detach().flatten().numpy())


def constant(kind, name, braces):
    return "\n".join(textwrap.wrap("const %s %s = %s;" % (kind, name, braces), 120, subsequent_indent="    ")) + "\n"


def drawn(*shape):
    """Normal numbers of two decimals: the file has them exactly."""
    return torch.randn(*shape).round(decimals=2)


def linear(out, inputs):
    layer = torch.nn.Linear(inputs, out, bias=False)
    layer.weight.data = drawn(out, inputs)
    return layer


BODY, HEAD, DISCRIMINATOR = linear(WIDTH, INPUTS), linear(CLASSES, WIDTH), linear(DOMAINS, WIDTH)
EMBEDDING = drawn(CLASSES, WIDTH)
BATCHES = [(drawn(6, INPUTS), torch.tensor(labels))
           for labels in ([0, 1, 2, 0, 0, 1], [2, 2, 1, 0, 1, 2], [1, 1, 0, 2, 1, 1])]
PAIRS = []


def run(name, hparams, steps=1, count=0):
    """The named algorithm after `steps` updates by plain descent with rate 1 or, for what is no gradient, 0."""
    algorithm = getattr(algorithms, name).__new__(getattr(algorithms, name))
    torch.nn.Module.__init__(algorithm)
    algorithm.hparams = hparams
    algorithm.featurizer, algorithm.classifier = linear(WIDTH, INPUTS), linear(CLASSES, WIDTH)
    algorithm.discriminator = linear(DOMAINS, WIDTH)
    algorithm.class_embeddings = torch.nn.Embedding(CLASSES, WIDTH)
    algorithm.featurizer.weight.data = BODY.weight.data.clone()
    algorithm.classifier.weight.data = HEAD.weight.data.clone()
    algorithm.discriminator.weight.data = DISCRIMINATOR.weight.data.clone()
    algorithm.class_embeddings.weight.data = EMBEDDING.clone()
    algorithm.network = torch.nn.Sequential(algorithm.featurizer, algorithm.classifier)
    algorithm.register_buffer("update_count", torch.tensor([count]))
    algorithm.register_buffer("q", torch.Tensor())
    algorithm.kernel_type = "gaussian" if name == "MMD" else "mean_cov"
    algorithm.conditional = algorithm.class_balance = name == "CDANN"
    rate = hparams.get("rate", 1.0)
    algorithm.optimizer = torch.optim.SGD(algorithm.network.parameters(), lr=rate)
    algorithm.gen_opt = torch.optim.SGD(algorithm.network.parameters(), lr=rate)
    algorithm.disc_opt = torch.optim.SGD(
        list(algorithm.discriminator.parameters()) + list(algorithm.class_embeddings.parameters()), lr=rate)
    printed = [algorithm.update(BATCHES) for _ in range(steps)]
    moved = [(a - b).detach() for a, b in (
        (BODY.weight, algorithm.featurizer.weight), (HEAD.weight, algorithm.classifier.weight),
        (DISCRIMINATOR.weight, algorithm.discriminator.weight), (EMBEDDING, algorithm.class_embeddings.weight))]
    return printed, moved, algorithm


def remembered_mixup():
    """Mixup, whose pairs and shares are noted down."""
    pairs_of, beta = algorithms.random_pairs_of_minibatches, np.random.beta

    def pairs(minibatches):
        found = pairs_of(minibatches)
        for (x, _), (other, _) in found:
            place = [next(i for i, (b, _) in enumerate(BATCHES) if torch.equal(b, y)) for y in (x, other)]
            PAIRS.append(place)
        return found

    np.random.seed(1)
    shares = []
    with mock.patch.object(algorithms, "random_pairs_of_minibatches", pairs), mock.patch.object(
            np.random, "beta", lambda a, b: shares.append(beta(a, b)) or shares[-1]):
        printed, moved, _ = run("Mixup", {"mixup_alpha": 0.2})
    return printed, moved, [(a, b, share) for (a, b), share in zip(PAIRS, shares)]


def case(name, value, gradients):
    words = "{\"%s\", %r, {%s}}," % (name, float(value), ", ".join(listed(g) for g in gradients))
    return textwrap.fill(words, 120, initial_indent="    ", subsequent_indent="     ") + "\n"


def main():
    text = "// Made by make_domainbed_cases.py with DomainBed b93c22a.\n\n"
    text += "/// Weights of body, head and discriminator, embeddings of the classes, and three batches.\n"
    text += constant(NUMBERS, "kBody", listed(BODY.weight))
    text += constant(NUMBERS, "kHead", listed(HEAD.weight))
    text += constant(NUMBERS, "kDiscriminator", listed(DISCRIMINATOR.weight))
    text += constant(NUMBERS, "kEmbedding", listed(EMBEDDING))
    for e, (x, y) in enumerate(BATCHES):
        text += constant(NUMBERS, "kItems%d" % e, listed(x))
        text += constant("std::vector<std::int64_t>", "kLabels%d" % e, "{%s}" % ", ".join(str(int(v)) for v in y))
    cases = ""
    for name, hparams, count, value in (
            ("ERM", {}, 0, "loss"),
            ("VREx", {"vrex_lambda": 10, "vrex_penalty_anneal_iters": 5}, 0, "loss"),
            ("VREx", {"vrex_lambda": 10, "vrex_penalty_anneal_iters": 5}, 7, "loss"),
            ("GroupDRO", {"groupdro_eta": 0.5}, 0, "loss"),
            ("CORAL", {"mmd_gamma": 0.5}, 0, None),
            ("MMD", {"mmd_gamma": 0.5}, 0, None)):
        printed, moved, algorithm = run(name, dict(hparams, lr=1e-9, weight_decay=0), count=count)
        first = printed[0]
        number = first[value] if value else first["loss"] + 0.5 * first["penalty"]
        cases += case(name, number, moved[:2])
        if name == "GroupDRO":
            text += constant(NUMBERS, "kGroupWeights", listed(algorithm.q))
    printed, moved, pairs = remembered_mixup()
    text += "/// Pairs of domains that Mixup drew, and the share of the first.\n"
    text += constant("std::vector<MixedPair>", "kPairs", "{%s}" % ", ".join("{%d, %d, %.17g}" % pair for pair in pairs))
    cases += case("Mixup", printed[0]["loss"], moved[:2])
    # The update number 1 is the generator's, number 2 the discriminator's; the first has no rate in a second run.
    for name in ("DANN", "CDANN"):
        hparams = {"lambda": 0.7, "grad_penalty": 0.3, "d_steps_per_g_step": 1}
        printed, moved, _ = run(name, hparams)
        other, disc, _ = run(name, hparams, count=1)
        cases += case(name, printed[0]["gen_loss"] + 0.7 * other[0]["disc_loss"], moved[:2] + disc[2:])
        text += "const double k%sAdversary = %.17g;\n" % (name, other[0]["disc_loss"])
    text += ("\n/// Objective, and its gradients in body and head, and of the discriminator's loss in it and the "
             "embeddings.\n")
    text += "const std::vector<DomainBedCase> kCases = {\n%s};\n" % cases
    pathlib.Path(__file__).with_name("domainbed_cases.inc").write_text(text)


main()
