#!/usr/bin/env python3
"""Writes tests/easyfsl_cases.inc: the scores that the Python package `easyfsl` (1.5.0, with torch 2.15.0, when the file
was made) gives the queries of small episodes of embeddings. Run it with a Python that has both; of torchvision, which
the package imports for its backbones, a stand-in is enough:

    python3 -m venv venv && venv/bin/pip install torch==2.15.0
    venv/bin/pip install --no-deps easyfsl==1.5.0 && venv/bin/python tests/make_easyfsl_cases.py

The scores are the package's own. Where it computes something else than the paper whose name the method bears, a class
here puts the paper's formula in the place of that one step and says so; all other steps stay the package's."""
import importlib.util
import pathlib
import sys
from unittest import mock

import torch
from torch.nn.functional import normalize

from case_numbers import listed

if importlib.util.find_spec("torchvision") is None:
    for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
        sys.modules[name] = mock.MagicMock()

import easyfsl  # noqa: E402
from easyfsl import methods  # noqa: E402
from easyfsl.modules.attention_modules import MultiHeadAttention  # noqa: E402

WIDTH = 6


def drawn(*shape):
    """Normal numbers of two decimals: the file has them exactly."""
    return torch.randn(*shape).round(decimals=2)


class Episode:
    def __init__(self, labels, queries):
        self.labels = torch.tensor(labels)
        self.ways = max(labels) + 1
        centres = drawn(self.ways, WIDTH)
        self.support = centres[self.labels] + drawn(len(labels), WIDTH)
        self.query = centres[torch.arange(queries) % self.ways] + drawn(queries, WIDTH)

    def scores(self, method, change=lambda x: x):
        method.eval()
        method.process_support_set(change(self.support), self.labels)
        if hasattr(method, "one_hot_support_labels"):  # the package has them in float
            method.one_hot_support_labels = method.one_hot_support_labels.to(self.support.dtype)
        return method(change(self.query)).detach()


class Matching(methods.MatchingNetworks):
    """Without full-context embeddings: both encoders answer 0, and what the package adds them to remains. It leaves the
    queries' lengths alone, which so are the scales of the paper's cosines."""

    def __init__(self, scale):
        super().__init__(feature_dimension=WIDTH,
                         support_encoder=lambda x: (torch.zeros(1, x.shape[1], 2 * WIDTH), None),
                         query_encoder=lambda x, state: (torch.zeros_like(state[0]), state[1]))
        self.scale = scale

    def encode_query_features(self, features):
        return self.scale * normalize(super().encode_query_features(features), dim=1)


class ShiftedBdCspn(methods.BDCSPN):
    """Queries are answered where the shift has put them. The package shifts them for the prototypes only."""

    def forward(self, query):
        features = self.compute_features(query)
        self.rectify_prototypes(query_features=features)
        return self.cosine_distance_to_prototypes(features - features.mean(0) + self.support_features.mean(0))


class Laplacian(methods.LaplacianShot):
    """With plain prototypes and symmetric affinities, for which alone the updates bound the energy. Few steps, so that
    the package does not stop before the last."""

    def rectify_prototypes(self, query_features):
        pass

    def compute_pairwise_affinities(self, features):
        one_sided = super().compute_pairwise_affinities(features)
        return (one_sided + one_sided.T) / 2


class EuclideanTim(methods.TIM):
    """With the paper's logits, minus half the squared distances, where the package has cosines."""

    def cosine_distance_to_prototypes(self, samples):
        return -0.5 * torch.cdist(samples, self.prototypes) ** 2


class CentredPtMap(methods.PTMAP):
    """With features that are, after the power, of length 1, less their set's mean and of length 1 again, as the
    authors'."""

    def compute_features(self, images):
        features = normalize(super().compute_features(images), dim=1)
        return normalize(features - features.mean(0), dim=1)


def feat(weights, heads):
    depth = WIDTH // heads
    attention = MultiHeadAttention(heads, WIDTH, depth, depth)
    parts = [attention.w_qs.weight, attention.w_ks.weight, attention.w_vs.weight, attention.fc.weight,
             attention.fc.bias, attention.layer_norm.weight, attention.layer_norm.bias]
    torch.nn.utils.vector_to_parameters(weights, parts)
    return methods.FEAT(attention_module=attention)


def relation(weights):
    """The package pairs queries and classes; it has a relation module of convolutions, this one is of vectors."""
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * WIDTH, 5), torch.nn.ReLU(),
                                 torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1), torch.nn.Sigmoid())
    torch.nn.utils.vector_to_parameters(weights, module.parameters())
    return methods.RelationNetworks(feature_dimension=WIDTH, relation_module=module)


def tim(episode, optimizer, length, **options):
    with mock.patch("torch.optim.Adam", optimizer):
        return episode.scores(EuclideanTim(feature_normalization=length, **options))


def cases(episode, base_mean, feat_weights, relation_weights):
    """Pairs of a name and scores."""
    unit = {"feature_normalization": 2.0}
    yield "PrototypicalNetworks", episode.scores(methods.PrototypicalNetworks())
    yield "PrototypicalNetworks, length 1", episode.scores(methods.PrototypicalNetworks(**unit))
    centred = {"feature_centering": base_mean, **unit}
    yield "PrototypicalNetworks, centred, length 1", episode.scores(methods.PrototypicalNetworks(**centred))
    if len(episode.labels) == episode.ways:  # of more shots the package takes cosines, the paper distances
        yield "SimpleShot, length 1", episode.scores(methods.SimpleShot(**unit))
        yield "SimpleShot, centred, length 1", episode.scores(methods.SimpleShot(**centred))
    for scale in (1, 4):
        yield f"MatchingNetworks, scale {scale}", episode.scores(Matching(scale))
    yield "BDCSPN", episode.scores(ShiftedBdCspn())
    for length in (2.0, None):
        name = "LaplacianShot, length 1" if length else "LaplacianShot"
        yield name, episode.scores(Laplacian(inference_steps=3, knn=3, lambda_regularization=0.7,
                                             feature_normalization=length))
        name = "TIM, length 1" if length else "TIM"
        if length:  # the others' probabilities reach the 1e-12 that the package adds to them, which Adam makes large
            yield name + ", Adam", tim(episode, torch.optim.Adam, length, fine_tuning_steps=10, fine_tuning_lr=0.05)
        yield name + ", SGD", tim(episode, torch.optim.SGD, length, fine_tuning_steps=10, fine_tuning_lr=0.1)
    yield "PTMAP", episode.scores(CentredPtMap(lambda_regularization=3.0), torch.abs)
    for heads in (1, 2):
        yield f"FEAT, {heads} heads", episode.scores(feat(feat_weights, heads))
    yield "RelationNetworks", episode.scores(relation(relation_weights), lambda x: x[:, :, None, None])


def main():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    episodes = [Episode([2, 0, 1, 2, 0, 2], 6), Episode([3, 1, 0, 4, 2], 5)]
    base_mean = drawn(WIDTH)
    feat_weights = torch.cat([0.5 * drawn(3 * WIDTH * WIDTH), 0.5 * drawn(WIDTH * WIDTH), drawn(WIDTH),
                              1 + 0.5 * drawn(WIDTH), drawn(WIDTH)])
    relation_weights = drawn(2 * WIDTH * 5 + 5 + 5 * 4 + 4 + 4 + 1)
    lines = [f"// Made by make_easyfsl_cases.py with easyfsl {easyfsl.__version__}.", "",
             "/// Ways, labels of the support items, these items and the queries.",
             "const std::vector<Given> kGiven = {"]
    for episode in episodes:
        lines.append(f"    {{{episode.ways},")
        lines += [listed(part, "     ") + "," for part in (episode.labels, episode.support, episode.query)]
        lines[-1] = lines[-1][:-1] + "},"
    lines[-1] = lines[-1][:-1] + "};"
    for name, numbers in (("kBaseMean", base_mean), ("kFeatWeights", feat_weights),
                          ("kRelationWeights", relation_weights)):
        lines += [f"const std::vector<double> {name} =", listed(numbers, "    ") + ";"]
    lines += ["", "/// Method, place of the episode in kGiven, scores [queries, ways].",
              "const std::vector<Expected> kExpected = {"]
    for place, episode in enumerate(episodes):
        for name, scores in cases(episode, base_mean, feat_weights, relation_weights):
            assert scores.shape == (len(episode.query), episode.ways)
            lines += [f'    {{"{name}", {place},', listed(scores, "     ") + "},"]
    lines[-1] = lines[-1][:-1] + "};"
    pathlib.Path(__file__).with_name("easyfsl_cases.inc").write_text("\n".join(lines) + "\n")


main()
