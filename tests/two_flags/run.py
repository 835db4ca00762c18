#!/usr/bin/env python3
"""One program of units that were compiled with different flags: they link, run and share no code of graft.

The shared code would be what breaks: the linker keeps one of several equal inline functions, so a unit could run code
for instructions or layouts of another. Units hold graft in differently named inline namespaces instead."""
import concurrent.futures
import itertools
import os
import platform
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from toolchain import CXX, FLAGS, run, skip  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# Name: flags, and what /proc/cpuinfo calls the instructions a CPU needs to run the unit.
UNITS = {
    "baseline": ([], set()),
    "avx2": (["-mavx2"], {"avx2"}),
    "avx2_fma": (["-mavx2", "-mfma"], {"avx2", "fma"}),
    "avx512": (["-march=x86-64-v4"], {"avx512f", "avx512dq", "avx512bw", "avx512cd", "avx512vl"}),
}


def graft_symbols(path):
    """Mangled names of graft's functions and objects that this object file defines."""
    names = (line.split()[-1] for line in run(["nm", "--defined-only", path]).splitlines() if line.strip())
    return {name for name in names if name.startswith("_Z") and "5graft" in name}


def main():
    if platform.machine() != "x86_64":
        skip("two-flags", f"the flags are for x86-64, this is {platform.machine()}")
        sys.exit(77)
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        instructions = set(next(line for line in file if line.startswith("flags")).split())
    flags = [*FLAGS, "-O1", "-DGRAFT_NO_SLOW_BUILD_NOTE"]
    with tempfile.TemporaryDirectory() as folder:
        objects = {name: os.path.join(folder, name + ".o") for name in UNITS}
        compiles = [[CXX, *flags, *extra, f"-DUNIT={name}", "-c", os.path.join(HERE, "unit.cpp"), "-o", objects[name]]
                    for name, (extra, _) in UNITS.items()]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(run, compiles))
        symbols = {name: graft_symbols(path) for name, path in objects.items()}
        if not all(symbols.values()):
            sys.exit("a unit defines no symbol of graft: the check sees nothing")
        shared = {(a, b): symbols[a] & symbols[b] for a, b in itertools.combinations(UNITS, 2)}
        for (a, b), names in shared.items():
            if names:
                print(f"units {a} and {b} share {len(names)} symbols, for example {min(names)}")
        if any(shared.values()):
            sys.exit(1)
        runnable = [name for name, (_, needs) in UNITS.items() if needs <= instructions]
        program = os.path.join(folder, "program")
        run([CXX, *flags, f"-DUNITS={' '.join(f'X({name})' for name in runnable)}", os.path.join(HERE, "main.cpp"),
             *(objects[name] for name in runnable), "-o", program])
        print(run([program]), end="")


main()
