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
        self.name, self.work = name, work
        inputs, results = folder / "inputs.npz", folder / f"{name}.npz"
        if not inputs.exists():
            np.savez(inputs, **work.inputs)
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
        self.process = subprocess.Popen([*command, work.kind, inputs, results], env=environment,
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
        """Runs at least twice and for two turns; sets how many repetitions make a turn. The first run after a stop may
        be disturbed: threads that wake up on one core take turns on it."""
        spent = runs = 0
        while runs < 2 or spent < 2 * turn:
            seconds = self.run(self.repetitions)
            spent, runs = spent + seconds * self.repetitions, runs + 1
            self.repetitions = max(1, math.ceil(turn / max(seconds, 1e-9)))

    def take_turn(self):
        self.seconds.append(self.run(self.repetitions))

    def median(self):
        return statistics.median(self.seconds)

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
    """Both sides must have computed the same numbers. Results that are next to nothing beside the others, gradients
    that cancel, are held to a thousandth of the largest."""
    largest = max(np.linalg.norm(value.ravel()) for value in theirs.results.values())
    for name, value in ours.results.items():
        other = theirs.results[name].astype(np.float64)
        difference = np.linalg.norm((value.reshape(other.shape) - other).ravel())
        scale = np.linalg.norm(other.ravel())
        if not difference <= work.error * max(scale, 1e-3 * largest):
            raise RuntimeError(f"{work.name}: {theirs.name} gets another {name}: |difference| {difference:.3g}, "
                               f"|{name}| {scale:.3g}")


@contextlib.contextmanager
def ready_sides(asked, programs, turn):
    """Processes for (name, work, threads, folder), warm and stopped."""
    with contextlib.ExitStack() as stack:
        sides = []
        for name, work, threads, folder in asked:
            sides.append(Side(name, work, threads, folder, programs))
            stack.callback(sides[-1].close)
        for side in sides[1:]:
            if side.work is sides[0].work:
                check_equal(side.work, sides[0], side)
        for side in sides:
            side.warm_up(turn)
        yield sides


def take_turns(sides, rounds):
    for _ in range(rounds):
        for side in sides:
            side.take_turn()


def ratio_row(ours, theirs, goal, rounds, **names):
    """Rate of `ours` as a multiple of that of `theirs`."""
    ratios = [b / a for a, b in zip(ours.seconds, theirs.seconds)]
    return {"metric": "ratio", "value": theirs.median() / ours.median(),
            "ci95": 1.96 * statistics.stdev(ratios) / math.sqrt(rounds) if rounds > 1 else 0, "n": rounds,
            "seconds": ours.median(), "peer_seconds": theirs.median(), "goal": goal,
            "added_bytes": ours.added_bytes, "peer_added_bytes": theirs.added_bytes, **names}


def measure_work(work, threads, folder, options):
    """A row for every goal of the work."""
    names = ["graft", *(peer for peers in work.goals for peer in peers)]
    asked = [(name, work, threads, folder) for name in dict.fromkeys(names)]
    with ready_sides(asked, options.programs, options.turn) as sides:
        take_turns(sides, options.rounds)
        graft, by_name = sides[0], {side.name: side for side in sides}
        about = {"row": work.row, "work": work.name, "threads": threads}
        for peers, goal in work.goals.items():
            best = min((by_name[peer] for peer in peers), key=Side.median)
            yield ratio_row(graft, best, goal[threads] if isinstance(goal, dict) else goal, options.rounds,
                            peer=best.name, **about)
        if work.memory_goal:
            least = min(sides[1:], key=lambda side: side.added_bytes)
            row = ratio_row(graft, least, 1 / work.memory_goal, options.rounds, peer=least.name, **about)
            yield {**row, "work": work.name + ", memory", "value": least.added_bytes / graft.added_bytes, "ci95": 0}


def measure_growth(growth, threads, folder, options):
    """One row: the worst step from one size to the next, as growth expected over growth seen, and one of bytes."""
    asked = []
    for name, make in ("work", growth.make), ("limit", growth.limit):
        for size in growth.sizes if make else []:
            place = folder / name / str(size)
            place.mkdir(parents=True)
            asked.append(("graft", make(size), threads, place))

    def paces(sides):
        """For each step, growth of the work over growth of the time."""
        return [(b / a) ** growth.power * small.median() / large.median()
                for a, b, small, large in zip(growth.sizes, growth.sizes[1:], sides, sides[1:])]

    with ready_sides(asked, options.programs, options.turn) as sides:
        take_turns(sides, options.rounds)
        sides, limits = sides[:len(growth.sizes)], sides[len(growth.sizes):]
        allowed = [min(pace, 1) for pace in paces(limits)] if limits else [1] * len(sides)
        pace = [seen / most for seen, most in zip(paces(sides), allowed)]
        worst = pace.index(min(pace))
        a, b = growth.sizes[worst:worst + 2]
        small, large = sides[worst:worst + 2]
        row = ratio_row(large, small, growth.goal, options.rounds, row=growth.row, threads=threads,
                        work=f"{growth.name}, {growth.sizes[0]} to {growth.sizes[-1]}: worst from {a} to {b}",
                        peer="itself, smaller" + (", as a copy grows" if limits else ""))
        yield {**row, "value": pace[worst], "ci95": row["ci95"] * (b / a) ** growth.power / allowed[worst]}
        # The smallest work may fit into what the program had taken before it, so bytes are compared between the
        # larger ones.
        (a, b), (small, large) = growth.sizes[-2:], sides[-2:]
        bytes_pace = b / a * small.added_bytes / large.added_bytes
        yield {**row, "work": f"{growth.name}: bytes, {a} to {b}", "value": bytes_pace, "ci95": 0,
               "seconds": large.median(), "peer_seconds": small.median(), "added_bytes": large.added_bytes,
               "peer_added_bytes": small.added_bytes}


def measure_threads(scaling, folder, options):
    """One row: rate on two threads over the rate on one."""
    work = scaling.work
    with ready_sides([("graft", work, threads, folder) for threads in (2, 1)], options.programs, options.turn) as sides:
        take_turns(sides, options.rounds)
        yield ratio_row(*sides, scaling.goal, options.rounds, row=work.row, work=work.name, threads=2,
                        peer="itself, 1 thread")


def measure(work, threads, options):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        if isinstance(work, works.Growth):
            yield from measure_growth(work, threads, folder, options)
        elif isinstance(work, works.Threads):
            yield from measure_threads(work, folder, options)
        else:
            yield from measure_work(work, threads, folder, options)


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


def title(work):
    inner = work.work if isinstance(work, works.Threads) else work
    return f"{inner.row}: {inner.name}"


def medians(runs):
    """The rows of several runs as one, each with the middle one's numbers."""
    by_line = {}
    for row in (row for run in runs for row in run):
        key = row["row"], row["work"].partition(": worst")[0], row["threads"], row["goal"]
        by_line.setdefault(key, []).append(row)
    return [sorted(rows, key=lambda row: row["value"])[(len(rows) - 1) // 2] for rows in by_line.values()]


def verdicts(results):
    """Which rows of the table meet their goals."""
    rows = {}
    for result in results:
        rows.setdefault(result["row"], []).append(result["value"] >= result["goal"])
    lines = [f"{row}: " + ("met" if all(met) else f"{met.count(False)} of {len(met)} lines below their goal")
             for row, met in rows.items()]
    return "\n".join(lines)


def versions():
    names = "torch", "jax", "torch-geometric", "mkl", "scipy-openblas32"
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def machine():
    """The CPU with its family and model, which tell apart what clouds call by one name, its cores and the system."""
    with open("/proc/cpuinfo", encoding="ascii") as file:
        fields = dict(map(str.strip, text.split(":", 1)) for text in file if ":" in text)
    cpu = [fields.get("model name", platform.machine())]
    cpu += [f"{name.split()[-1]} {fields[name]}" for name in ("cpu family", "model") if name in fields]
    return ", ".join([*cpu, f"{os.cpu_count()} cores", platform.system()])


def common_options(description, rounds, turn):
    """A parser with what this program and own.py are asked alike."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of peers_graft and peers_blas")
    parser.add_argument("--rows", default="", help="only works whose row and name contain this text")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each side")
    parser.add_argument("--turn", type=float, default=turn, help="least seconds of a turn")
    parser.add_argument("--threads", default="1,2", help="thread counts, separated by commas")
    parser.add_argument("--data", type=pathlib.Path, default=HERE.parents[2] / "shared" / "data",
                        help="folder with cora/cora.npz; without it a random graph of the same size")
    return parser


def main():
    parser = common_options(__doc__, rounds=9, turn=0.1)
    parser.add_argument("--runs", type=int, default=1, help="whole runs; of more than one the medians are shown too")
    parser.add_argument("--json", type=pathlib.Path, help="file for the record")
    parser.add_argument("--quiet", action="store_true", help="no table")
    options = parser.parse_args()

    start, runs, failed = time.monotonic(), [], False
    chosen = [work for work in works.all_works(options.data) if options.rows in title(work)]
    if not options.quiet:
        print(f"{machine()}; {versions()}; {datetime.date.today()}\n\n{HEADER}", flush=True)
    for _ in range(options.runs):
        runs.append([])
        for work in chosen:
            for threads in [2] if isinstance(work, works.Threads) else map(int, options.threads.split(",")):
                try:
                    for row in measure(work, threads, options):
                        runs[-1].append({"name": f"{row['row']}: {row['work']}", **row})
                        if not options.quiet:
                            print(line(row), flush=True)
                except RuntimeError as error:
                    failed = True
                    print(f"{title(work)}, {threads} threads: {error}", file=sys.stderr, flush=True)
    results = runs[0] if options.runs == 1 else medians(runs)
    if not options.quiet:
        if options.runs > 1:
            print(f"\nMedians of {options.runs} runs\n\n{HEADER}", *map(line, results), sep="\n")
        print("\n" + verdicts(results))
    if options.json:
        peak_bytes = max((row["added_bytes"] for row in results), default=0)
        record = {"program": "peers", "options": {key: str(value) for key, value in vars(options).items()}, "seeds": [],
                  "threads": options.threads, "machine": machine(), "versions": versions(),
                  "seconds": time.monotonic() - start, "peak_bytes": peak_bytes, "results": results}
        beside = options.json.with_name(options.json.name + ".new")
        beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        beside.replace(options.json)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
