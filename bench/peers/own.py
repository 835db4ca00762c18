#!/usr/bin/env python3
"""graft alone at the works of the comparison: times, and what they are of the least time that the machine's measured
peaks allow (multiply-adds out of registers, as many numbers copied). Marks what became 20 % slower relative to
the peaks than the baseline of this CPU. bench/run.sh sets up what this needs and calls it."""
import json
import math
import pathlib
import tempfile

import works
from compare import HERE, Side, common_options, machine, show_seconds, title

BASELINE = HERE.parent / "baseline.json"
SLOWER = 0.8  # of the baseline's fraction
ATTEMPTS = 3  # at a work that looks slower, each in a process of its own
STEPS = 100_000  # of multiply-adds between two looks at the clock
COPIED = 1 << 12, 1 << 25  # numbers: the least and the most that are copied to measure the rate of copies


def seconds(work, threads, options):
    """Median seconds of one repetition, and the side's results."""
    with tempfile.TemporaryDirectory() as folder:
        side = Side("graft", work, threads, pathlib.Path(folder), options.programs)
        try:
            side.warm_up(options.turn)
            for _ in range(options.rounds):
                side.take_turn()
            return side.median(), side.results
        finally:
            side.close()


class Peaks:
    """What the machine can do at most on some threads."""

    def __init__(self, threads, options):
        self.threads, self.options, self.rates = threads, options, {}
        took, results = self.measured("peak_multiply_adds", steps=STEPS)
        self.flops = float(results["flops"]) * STEPS * threads / took

    def measured(self, kind, **inputs):
        return seconds(works.Work("peak", kind, kind, inputs, {}), self.threads, self.options)

    def bandwidth(self, needs_bytes):
        """Bytes a second of a copy that moves about as many bytes: in the same cache, or through memory."""
        count = 2 ** math.ceil(math.log2(min(max(needs_bytes / 8, COPIED[0]), COPIED[1])))
        if count not in self.rates:
            self.rates[count] = 8 * count / self.measured("peak_copy", count=count)[0]
        return self.rates[count]

    def limit(self, work):
        """(Least seconds that the peaks allow, which of them.)"""
        needs_flops, needs_bytes = works.cost(work)
        return max((needs_flops / self.flops, "multiply-adds"), (needs_bytes / self.bandwidth(needs_bytes), "copy"))


def measure(threads, baseline, options):
    """(work, name, (fraction of the peak, seconds, least seconds, what limits)) of every work asked for. What looks
    slower than the baseline is measured again after the others, when whatever disturbed it may have passed, and counts
    at its best. A new baseline is the median of as many measurements."""
    asked = {f"{title(work)}, {threads}": work for work in works.all_works(options.data)
             if isinstance(work, works.Work) and options.rows in title(work)}
    found = {name: [] for name in asked}
    for _ in range(ATTEMPTS):
        doubtful = [name for name, all_found in found.items()
                    if not all_found or options.update or is_slower(max(all_found)[0], baseline.get(name))]
        if not doubtful:
            break
        peaks = Peaks(threads, options)
        print(f"\n{threads} thread{'s' * (threads > 1)}: multiply-adds {peaks.flops / 1e9:.0f} GFLOP/s, "
              f"copy through memory {peaks.bandwidth(8 * COPIED[1]) / 1e9:.1f} GB/s", flush=True)
        for name in doubtful:
            took, _ = seconds(asked[name], threads, options)
            least, limiter = peaks.limit(asked[name])
            found[name].append((least / took, took, least, limiter))
    return [(asked[name], name, sorted(all_found)[len(all_found) // 2] if options.update else max(all_found))
            for name, all_found in found.items()]


def is_slower(fraction, before):
    return before is not None and fraction < SLOWER * before


def main():
    parser = common_options(__doc__, rounds=5, turn=0.03)
    parser.add_argument("--update", action="store_true", help="make what is measured the baseline of this CPU")
    options = parser.parse_args()

    baselines = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    baseline = baselines.get(machine(), {})
    print(machine(), "" if baseline else "(no baseline of this CPU)")
    fractions, slower = {}, []
    for threads in map(int, options.threads.split(",")):
        rows = measure(threads, baseline, options)
        print("\n| row | work | limit | time | of the peak | baseline | |\n|---|---|---|---|---|---|---|")
        for work, name, (fraction, took, least, limiter) in rows:
            fractions[name] = round(fraction, 4)
            before = baseline.get(name)
            verdict = "slower" if is_slower(fraction, before) else ""
            slower += [name] if verdict else []
            print(f"| {work.row} | {work.name} | {show_seconds(least)}, {limiter} | {show_seconds(took)} | "
                  f"{fraction:.3f} | {'' if before is None else f'{before:.3f}'} | {verdict} |", flush=True)
    percent = round(100 * (1 - SLOWER))
    print(f"\n{len(slower)} of {len(fractions)} more than {percent} % slower than the baseline", *slower, sep="\n  ")
    if options.update:
        baselines[machine()] = {**baseline, **fractions}
        BASELINE.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n", encoding="utf-8")


main()
