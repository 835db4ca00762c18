"""The Python half of the comparison: one piece of work by one library, under the protocol of worker.cpp.
Usage: worker.py SIDE KIND INPUTS.npz RESULTS.npz, where SIDE is a module here and a mode of it: torch, torch.compile,
pyg, jax."""
import gc
import importlib
import os
import sys
import time

import numpy as np


def restart_peak():
    """Bytes in memory now; forgets the highest number so far."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    side, kind, source, target = sys.argv[1:]
    module = importlib.import_module(side.partition(".")[0] + "_side")
    with np.load(source) as file:
        inputs = {name: file[name] for name in file.files}
    resident = restart_peak()
    made = module.KINDS[kind](inputs, side.partition(".")[2])
    step, results = made if isinstance(made, tuple) else (made, made())
    np.savez(target, **{name: np.asarray(value) for name, value in module.to_numpy(results).items()})
    step()
    gc.collect()
    gc.disable()
    print("ready", resident, file=answers, flush=True)
    for line in sys.stdin:
        repetitions = range(int(line))
        start = time.perf_counter()
        for _ in repetitions:
            step()
        print(time.perf_counter() - start, file=answers, flush=True)


main()
