#!/usr/bin/env python3
"""What compilers say to mistakes: under fifteen lines, and the first error says what to do. With the compiler of the
build, and with g++ and clang++ where they are installed."""
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from toolchain import CXX, FLAGS, NATIVE

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
RIGHT = """auto z = map([](auto a, auto b) { return where(a > 0, exp(a), 0) * b; }, x, cast<float>(d)) + cast<float>(n);
  z = matmul(z, x) + maximum(x, 0) + cast<float>(floor_divide(n * 2, 2));"""


def complaints(compiler, body):
    """What `compiler` says to a program with this body."""
    command = [compiler, *FLAGS, *NATIVE, "-x", "c++", "-fsyntax-only", "-"]
    done = subprocess.run(command, input=START + "  " + body + END, text=True, capture_output=True)
    return done.stderr.splitlines()


def check(compiler, body, wanted):
    """What is wrong with the complaints about a mistake ("" if nothing is)."""
    lines = complaints(compiler, body)
    first = next((line for line in lines if "error:" in line), "no error")
    if wanted not in first:
        return f"{compiler}: {body}\n  the first error does not say '{wanted}': {first}"
    if len(lines) > MOST_LINES:
        return "\n    ".join([f"{compiler}: {body}\n  {len(lines)} lines:", *lines])
    return ""


def main():
    compilers = [CXX, *(name for name in ("g++", "clang++") if shutil.which(name) and name != pathlib.Path(CXX).name)]
    failures = [f"{compiler} refuses what is right:\n" + "\n".join(lines[:20])
                for compiler in compilers if (lines := complaints(compiler, RIGHT))]
    cases = [(compiler, *mistake) for compiler in compilers for mistake in MISTAKES.items()]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures += [text for text in pool.map(lambda case: check(*case), cases) if text]
    print(*failures, sep="\n")
    print(f"{len(failures)} failures; {len(cases)} mistakes, {', '.join(compilers)}")
    sys.exit(1 if failures else 0)


main()
