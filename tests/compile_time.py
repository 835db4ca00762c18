#!/usr/bin/env python3
"""Compile-time budgets of the library (g++ -O2): the goal is a hello world (gradient descent through a matrix product)
under 3 s and the umbrella header under 6 s.

Times are judged by the compiler's processor time, the median of three, in units of a fixed piece of work on the same
machine in the same run: including xsimd alone, which takes 0.84 s where the goals were set. The hello world is above its
goal; its limit is what it has reached, so that it can only fall."""
import os
import resource
import statistics
import sys
import tempfile
import time

from toolchain import CXX, FLAGS, NATIVE, run

HELLO = """
#include "graft/autodiff/grad.hpp"
#include "graft/ops/matmul.hpp"
using namespace graft;

int main() {
  const Random random(1);
  const Tensor<> x = randn({64, 8}, random.stream("x")), y = randn({64, 1}, random.stream("y"));
  Tensor<> w = zeros({8, 1});
  const auto loss = [&](const Tensor<>& v) { return mean(square(tanh(matmul(x, v)) - y)); };
  for (int step = 0; step < 100; ++step) w = w - 0.1 * grad(loss, w);
  return loss(w).item() < loss(zeros({8, 1})).item() ? 0 : 1;
}
"""
UMBRELLA = '#include "graft/graft.hpp"\n'
REFERENCE, REFERENCE_SECONDS = "#include <xsimd/xsimd.hpp>\n", 0.84
# name, source, goal, limit (seconds)
BUDGETS = [("hello world", HELLO, 3.0, 5.2), ("graft/graft.hpp", UMBRELLA, 6.0, 6.0)]


def compile_seconds(source, folder):
    """(processor seconds, elapsed seconds) of compiling `source` to an object file."""
    path = os.path.join(folder, "unit.cpp")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run([CXX, *FLAGS, *NATIVE, "-O2", "-c", path, "-o", os.path.join(folder, "unit.o")])
    elapsed, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, elapsed


def median_seconds(source, folder):
    return (statistics.median(column) for column in zip(*[compile_seconds(source, folder) for _ in range(3)]))


def main():
    os.environ["CCACHE_DISABLE"] = "1"
    within = True
    with tempfile.TemporaryDirectory() as folder:
        reference, _ = median_seconds(REFERENCE, folder)
        speed = REFERENCE_SECONDS / reference
        print(f"xsimd alone: {reference:.2f} s; times below are times {speed:.2f}", flush=True)
        for name, source, goal, limit in BUDGETS:
            processor, elapsed = median_seconds(source, folder)
            judged = processor * speed
            within = within and judged < limit
            verdict = "met" if judged < goal else f"NOT MET, limit {limit:.1f} s"
            print(f"{name}: {judged:.2f} s (measured {processor:.2f} s, elapsed {elapsed:.2f} s), goal {goal:.0f} s {verdict}",
                  flush=True)
    sys.exit(0 if within else 1)


main()
