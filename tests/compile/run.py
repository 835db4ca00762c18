#!/usr/bin/env python3
"""What compilers say to mistakes: under fifteen lines, and the first error says what to do. With the compiler of the
build: CI builds with g++ and with clang."""
import concurrent.futures
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from toolchain import CXX, FLAGS, NATIVE, precompiled

MOST_LINES = 14

START = """#include "graft/ops/map.hpp"
#include "graft/ops/matmul.hpp"
using namespace graft;
int main() {
  const Tensor<float> x = ones<float>({2, 2}), y = x;
  const Tensor<double> d = ones<double>({2, 2});
  const Tensor<std::int64_t> n = ones<std::int64_t>({2, 2});
"""
END = "\n  return z.rank() + y.rank() + d.rank() + n.rank();\n}\n"

# A mistake, and what the first error must contain.
MISTAKES = {
    "auto z = x + d;": "cast<float>(y)",
    "auto z = d * n;": "cast<float>(y)",
    "auto z = x < d;": "cast<float>(y)",
    "auto z = maximum(x, d);": "cast<float>(y)",
    "auto z = pow(x, d);": "cast<float>(y)",
    "auto z = where(x > 0, x, d);": "cast<float>(y)",
    "auto z = map([](auto a, auto b) { return a * b; }, x, d);": "cast<float>(y)",
    "auto z = map([](auto a) { return a * a; }, n);": "cast<float>(x)",
    "auto z = map([y](auto a) { return a * y; }, x);": "pass those to map as further inputs",
    "auto z = map([&y](auto a) { return exp(a) * y; }, x);": "pass those to map as further inputs",
    "auto z = map([](auto a) { return a / (1 + std::exp(-a)); }, x);": "exp(x) instead of std::exp(x)",
    "auto z = map([](auto a, auto b) { return b + std::sqrt(a); }, x, y);": "exp(x) instead of std::exp(x)",
    "auto z = map([](auto a) { return a > 0; }, x);": "where(x > 0, x, 0)",
    "auto z = matmul(n, n);": "cast<float>(x)",
    "auto z = matmul(x, n);": "cast<float>(y)",
    "auto z = exp(n);": "cast<float>(x)",
    "auto z = n / n;": "floor_divide(x, y)",
    "auto z = n / 2;": "floor_divide(x, y)",
    "auto z = n * 0.5;": "cast<float>(x)",
}
# Models that are none, and what the first error must contain.
OPENING = """#include "graft/graft.hpp"
using namespace graft;
"""
USED = """  Tensor<> operator()(const Tensor<>& x) const { return sum(inner(x)); }
};
Net gradient(const Net& net) { return grad([](const Net& n) { return n(ones({1, 2})); }, net); }
"""
MODELS = {
    "struct Net {\n  Linear<> inner;\n": "GRAFT_FIELDS",
    "struct Net {\n  Linear<> inner;\n  Tensor<> scale;\n  GRAFT_FIELDS(inner)\n": "neither in GRAFT_FIELDS",
}
# What is done with a struct that does not name its fields, and what the first error must contain.
UNNAMED = """#include "graft/graft.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/io/weights.hpp"
using namespace graft;
struct Net {
  Linear<> inner;
};
void use(Net& net) {
"""
UNNAMED_USES = {
    "Sgd optimizer(net, {.momentum = 0.9});\n  optimizer.step(net, net, 0.1);": "GRAFT_FIELDS(a, b)",
    "Adam optimizer(net);\n  optimizer.step(net, net, 0.1);": "GRAFT_FIELDS(a, b)",
    "AdamW<Net> optimizer(net);\n  optimizer.step(net, net, 0.1);": "GRAFT_FIELDS(a, b)",
    'save_checkpoint("net.npz", net);': "GRAFT_FIELDS(a, b)",
    'load_checkpoint("net.npz", net);': "GRAFT_FIELDS(a, b)",
    'load_weights("net.npz", net, {.prefix = "net"});': "GRAFT_FIELDS(a, b)",
}
# Flags that graft does not build with, and what the first error must contain.
REFUSED = {
    "-fno-exceptions": "-fno-exceptions",
    "-ffast-math": "-ffast-math",
    "-std=c++17": "C++20",
    "-D__ARM_FEATURE_SVE_BITS=512": "-msve-vector-bits",
}
RIGHT = """auto z = map([](auto a, auto b) { return where(a > 0, exp(a), 0) * b; }, x, cast<float>(d)) + cast<float>(n);
  z = matmul(z, x) + maximum(x, 0) + cast<float>(floor_divide(n * 2, 2));"""


def complaints(source, flags):
    """What the compiler says to a program."""
    command = [CXX, *flags, "-x", "c++", "-fsyntax-only", "-"]
    return subprocess.run(command, input=source, text=True, capture_output=True).stderr.splitlines()


def check(flags, what, wanted, source, more_flags=()):
    """What is wrong with the complaints about a mistake ("" if nothing is). Flags may lead to more after the first."""
    lines = complaints(source, [*flags, *more_flags])
    first = next((line for line in lines if "error:" in line), "no error")
    if wanted not in first:
        return f"{what}\n  the first error does not say '{wanted}': {first}"
    if len(lines) > MOST_LINES and not more_flags:
        return "\n    ".join([f"{what}\n  {len(lines)} lines:", *lines])
    return ""


def failures_of(mistakes, flags):
    failures = []
    if lines := complaints(START + "  " + RIGHT + END, flags):
        failures.append("what is right is refused:\n" + "\n".join(lines[:20]))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures += [text for text in pool.map(lambda mistake: check(flags, *mistake), mistakes) if text]
    return failures


def main():
    mistakes = [(body, wanted, START + "  " + body + END) for body, wanted in MISTAKES.items()]
    mistakes += [(body, wanted, OPENING + body + USED) for body, wanted in MODELS.items()]
    mistakes += [(body, wanted, UNNAMED + "  " + body + "\n}\n") for body, wanted in UNNAMED_USES.items()]
    mistakes += [(flag, wanted, OPENING, [flag]) for flag, wanted in REFUSED.items()]
    flags = [*FLAGS, *NATIVE]
    with tempfile.TemporaryDirectory() as folder:  # what all programs here begin with, read once
        faster = precompiled(["graft/ops/map.hpp", "graft/graft.hpp"], folder, flags)
        failures = failures_of(mistakes, [*faster, *flags])
    print(*failures, sep="\n")
    print(f"{len(failures)} failures; {len(mistakes)} mistakes")
    return 1 if failures else 0


main()
