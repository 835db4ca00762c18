#!/usr/bin/env python3
"""graft alone at the works of the comparison: times, and what they are of the least time that the machine's measured
peaks allow (multiply-adds out of registers, numbers copied through memory). Marks what became 20 % slower relative to
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
STEPS, COUNT = 100_000, 1 << 25


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


def peaks(threads, options):
    """FLOPs and bytes a second."""
    took, results = seconds(works.Work("peak", "multiply-adds", "peak_multiply_adds", {"steps": STEPS}, {}), threads,
                            options)
    flops = float(results["flops"]) * STEPS * threads / took
    took, _ = seconds(works.Work("peak", "copy", "peak_copy", {"count": COUNT}, {}), threads, options)
    return flops, 8 * COUNT / took


def fractions_of_peak(threads, baseline, options):
    """(work, name, seconds, fraction of the peak) of every work asked for. What looks slower than the baseline is
    measured again after the others, when whatever disturbed it may have passed, and counts at its best."""
    flops, bandwidth = peaks(threads, options)
    print(f"\n{threads} thread{'s' * (threads > 1)}: multiply-adds {flops / 1e9:.0f} GFLOP/s, "
          f"copy {bandwidth / 1e9:.1f} GB/s\n")
    asked = {f"{title(work)}, {threads}": work for work in works.all_works(options.data)
             if isinstance(work, works.Work) and options.rows in title(work)}
    took = dict.fromkeys(asked, math.inf)

    def fraction(name):
        needs_flops, needs_bytes = works.cost(asked[name])
        return max(needs_flops / flops, needs_bytes / bandwidth) / took[name]

    for _ in range(ATTEMPTS):
        for name, work in asked.items():
            if took[name] == math.inf or is_slower(fraction(name), baseline.get(name)):
                took[name] = min(took[name], seconds(work, threads, options)[0])
    return [(work, name, took[name], fraction(name)) for name, work in asked.items()]


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
    for threads in 1, 2:
        rows = fractions_of_peak(threads, baseline, options)
        print("| row | work | time | of the peak | baseline | |\n|---|---|---|---|---|---|")
        for work, name, took, fraction in rows:
            fractions[name] = round(fraction, 4)
            before = baseline.get(name)
            verdict = "slower" if is_slower(fraction, before) else ""
            slower += [name] if verdict else []
            print(f"| {work.row} | {work.name} | {show_seconds(took)} | {fraction:.3f} | "
                  f"{'' if before is None else f'{before:.3f}'} | {verdict} |", flush=True)
    percent = round(100 * (1 - SLOWER))
    print(f"\n{len(slower)} of {len(fractions)} more than {percent} % slower than the baseline", *slower, sep="\n  ")
    if options.update:
        baselines[machine()] = {**baseline, **fractions}
        BASELINE.write_text(json.dumps(baselines, indent=1, sort_keys=True) + "\n", encoding="utf-8")


main()
