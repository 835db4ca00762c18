#!/usr/bin/env python3
"""Times graft against other libraries on the same work, in the same minutes: both sides live in processes of their own,
compute the same numbers first, and then take turns (A B A B ...), the ones that wait being stopped. Prints ratios of
rates, graft's / peer's; above 1 graft is faster. bench/peers.sh sets up what this needs and calls it."""
import argparse
import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import works

HERE = pathlib.Path(__file__).resolve().parent


class Side:
    """One library at one piece of work, in a process that is stopped while it is not its turn."""

    def __init__(self, name, work, threads, folder, programs):
        self.name = name
        results = folder / f"{name}.npz"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
        for variable in "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS":
            environment[variable] = str(threads)
        if name == "graft":
            command = [programs / "peers_graft"]
        elif name in ("mkl", "openblas", "eigen"):
            command = [programs / "peers_blas"]
            environment.update(blas_environment(name))
        else:
            command = [sys.executable, HERE / "worker.py", name]
        self.process = subprocess.Popen([*command, work.kind, folder / "inputs.npz", results], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        word, _, resident = self.answer().partition(" ")
        if word != "ready":
            raise RuntimeError(f"{name} said '{word}' instead of 'ready'")
        self.added_bytes = self.peak() - int(resident)
        with np.load(results) as file:
            self.results = {array: file[array] for array in file.files}
        self.process.send_signal(signal.SIGSTOP)
        self.repetitions, self.seconds = 1, []

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped with exit code {self.process.wait()}")
        return line.strip()

    def peak(self):
        """The highest resident bytes so far."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def run(self, repetitions):
        """Seconds of one repetition."""
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{repetitions}\n")
        seconds = float(self.answer()) / repetitions
        self.process.send_signal(signal.SIGSTOP)
        return seconds

    def warm_up(self, turn):
        """Runs for at least two turns; sets how many repetitions make a turn."""
        spent = 0
        while spent < 2 * turn:
            seconds = self.run(self.repetitions)
            spent += seconds * self.repetitions
            self.repetitions = max(1, math.ceil(turn / max(seconds, 1e-9)))
            if seconds >= turn:
                break

    def take_turn(self):
        self.seconds.append(self.run(self.repetitions))

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def blas_environment(name):
    if name == "eigen":
        return {}
    if name == "openblas":
        import scipy_openblas32
        folder = pathlib.Path(scipy_openblas32.get_lib_dir())
        return {"PEERS_BLAS": next(folder.glob("libscipy_openblas*.so*")), "PEERS_BLAS_PREFIX": "scipy_"}
    folder = pathlib.Path(sys.prefix) / "lib"
    return {"PEERS_BLAS": next(folder.glob("libmkl_rt.so*")), "LD_LIBRARY_PATH": str(folder)}


def check_equal(work, ours, theirs):
    """Both sides must have computed the same numbers."""
    for name, value in ours.results.items():
        other = theirs.results[name].astype(np.float64)
        difference = np.linalg.norm((value.reshape(other.shape) - other).ravel())
        scale = np.linalg.norm(other.ravel())
        if not difference <= work.error * scale:
            raise RuntimeError(f"{work.name}: {theirs.name} gets another {name}: |difference| {difference:.3g}, "
                               f"|{name}| {scale:.3g}")


def measure(work, threads, rounds, turn, programs):
    """Results of one work: a dict for every goal."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = pathlib.Path(temporary)
        np.savez(folder / "inputs.npz", **work.inputs)
        sides = []
        for name in dict.fromkeys(["graft", *(peer for peers in work.goals for peer in peers)]):
            sides.append(Side(name, work, threads, folder, programs))
            stack.callback(sides[-1].close)
        for side in sides[1:]:
            check_equal(work, sides[0], side)
        for side in sides:
            side.warm_up(turn)
        for _ in range(rounds):
            for side in sides:
                side.take_turn()
        graft, by_name = sides[0], {side.name: side for side in sides}
        for peers, goal in work.goals.items():
            best = min((by_name[peer] for peer in peers), key=lambda side: statistics.median(side.seconds))
            ratios = [theirs / ours for theirs, ours in zip(best.seconds, graft.seconds)]
            yield {"name": f"{work.row}: {work.name}", "metric": "ratio",
                   "value": statistics.median(best.seconds) / statistics.median(graft.seconds),
                   "ci95": 1.96 * statistics.stdev(ratios) / math.sqrt(rounds), "n": rounds,
                   "seconds": statistics.median(graft.seconds), "row": work.row, "work": work.name,
                   "threads": threads, "peer": best.name, "peer_seconds": statistics.median(best.seconds),
                   "goal": goal[threads] if isinstance(goal, dict) else goal,
                   "added_bytes": graft.added_bytes, "peer_added_bytes": best.added_bytes}


def show_seconds(seconds):
    for unit, scale in ("s", 1), ("ms", 1e-3), ("us", 1e-6):
        if seconds >= scale:
            break
    else:
        unit, scale = "ns", 1e-9
    return f"{seconds / scale:.3g} {unit}"


def line(row):
    verdict = "" if row["value"] >= row["goal"] else "below"
    return (f"| {row['row']} | {row['work']} | {row['threads']} | {row['peer']} | {show_seconds(row['seconds'])} | "
            f"{show_seconds(row['peer_seconds'])} | {row['value']:.2f} | {row['goal']:.2f} | {verdict} | "
            f"{row['added_bytes'] / 2**20:.0f} / {row['peer_added_bytes'] / 2**20:.0f} |")


HEADER = ("| row | work | threads | peer | graft | peer's | ratio | goal | | MiB added, graft / peer |\n"
          "|---|---|---|---|---|---|---|---|---|---|")


def versions():
    names = "torch", "jax", "torch-geometric", "mkl", "scipy-openblas32"
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next(text.split(": ")[1].strip() for text in file if text.startswith("model name"))
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of peers_graft and peers_blas")
    parser.add_argument("--rows", default="", help="only works whose row and name contain this text")
    parser.add_argument("--threads", default="1,2", help="thread counts, separated by commas")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--turn", type=float, default=0.1, help="least seconds of a turn")
    parser.add_argument("--json", type=pathlib.Path, help="file for the record")
    parser.add_argument("--quiet", action="store_true", help="no table")
    options = parser.parse_args()

    start, results = time.monotonic(), []
    if not options.quiet:
        print(f"{machine()}; {versions()}; {datetime.date.today()}\n\n{HEADER}", flush=True)
    failed = False
    for work in works.all_works():
        if options.rows not in f"{work.row}: {work.name}":
            continue
        for threads in map(int, options.threads.split(",")):
            try:
                for row in measure(work, threads, options.rounds, options.turn, options.programs):
                    results.append(row)
                    if not options.quiet:
                        print(line(row), flush=True)
            except RuntimeError as error:
                failed = True
                print(f"{work.row}: {work.name}, {threads} threads: {error}", file=sys.stderr, flush=True)
    if options.json:
        record = {"program": "peers", "options": {key: str(value) for key, value in vars(options).items()}, "seeds": [],
                  "threads": options.threads, "machine": machine(), "versions": versions(),
                  "seconds": time.monotonic() - start, "peak_bytes": max((r["added_bytes"] for r in results), default=0),
                  "results": results}
        beside = options.json.with_name(options.json.name + ".new")
        beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        beside.replace(options.json)
    sys.exit(1 if failed else 0)


main()
