#!/usr/bin/env python3
"""Seconds from an edit to the first training step of the programs in tests/programs: graft's are compiled, linked and run
to their end (header-only, and with the library graft::compiled, which stands built); those of PyTorch and JAX, with the
same model, data and step, are started and end after the first step. The median of some rounds, all sides in turn.
Needs what bench/peers.sh installs; run with its Python, nothing else running."""
import argparse
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = f"g++ -std=c++20 -O2 -DNDEBUG -march=native -mprefer-vector-width=512 -fopenmp -I{ROOT}/include -isystem /usr/include/eigen3"


def seconds(*commands):
    """Wall time of the commands, one after another."""
    environment = {**os.environ, "CCACHE_DISABLE": "1"}
    start = time.monotonic()
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True, help="libgraft_compiled.a of a release build")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "program")
        for source in sorted((ROOT / "tests/programs").glob("*.cpp")):
            build = [*shlex.split(BUILD), str(source), "-o", program]
            sides = {"graft, headers alone": [build, [program]],
                     "graft, with the library": [[*build, "-DGRAFT_COMPILED", options.library], [program]]}
            for script in sorted((HERE / "first_step").glob(f"*_{source.stem}.py")):
                sides[script.stem.partition("_")[0]] = [[sys.executable, str(script)]]
            times = {name: [] for name in sides}
            for _ in range(options.rounds):
                for name, commands in sides.items():
                    times[name].append(seconds(*commands))
            print(source.stem + ":", ", ".join(f"{name} {statistics.median(t):.1f} s" for name, t in times.items()),
                  flush=True)


main()
