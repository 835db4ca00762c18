#!/usr/bin/env python3
"""Ranks that are processes: what every transport promises, the main job by 1, 2 and 4 of them with the bits of one
process, ranks that disagree, fail, are told to end or are killed, and the resumed run; the few-shot harness. More ranks
than cores, and as root. Usage: mpi_cli.py --mpirun MPIRUN --ranks PROGRAM --collaborate PROGRAM --fewshot PROGRAM;
without these it is skipped."""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

from toolchain import skip

QUICK = ["--train-ways", 4, "--train-queries", 2, "--ways", 3, "--queries", 2, "--tasks-per-round", 3,
         "--test-episodes", 6, "--validation-episodes", 3]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "2"}


def places(mpirun):
    """Options of this launcher: more ranks than cores, none bound to a core."""
    version = subprocess.run([mpirun, "--version"], text=True, capture_output=True, env=ENVIRONMENT).stdout
    return ["--oversubscribe", "--bind-to", "none"] if "Open MPI" in version or "OpenRTE" in version else []


class Launcher(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def command(self, ranks, *words):
        return [OPTIONS.mpirun, *PLACES, "-n", str(ranks), *map(str, words)]

    def run_ranks(self, ranks, *words):
        return subprocess.run(self.command(ranks, *words), capture_output=True, text=True, timeout=120,
                              env=ENVIRONMENT)

    def said(self, done, program):
        """The lines of stderr that are of the program, not of the launcher."""
        return [line for line in done.stderr.split("\n") if line.startswith((f"{program}: ", "rank "))]


class Ranks(Launcher):
    def test_what_every_transport_promises(self):
        for ranks in 1, 2, 4:
            done = self.run_ranks(ranks, OPTIONS.ranks, "checks")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout, f"checks: as promised by {ranks} ranks\n")

    def test_a_training_has_the_same_bits(self):
        alone = subprocess.run([OPTIONS.ranks, "bits"], capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        for ranks in 1, 2, 4:
            self.assertEqual(self.run_ranks(ranks, OPTIONS.ranks, "bits").stdout.split("\n")[0],
                             alone.stdout.split("\n")[0])

    def test_a_difference_is_named_by_rank_0_alone(self):
        for _ in range(5):
            done = self.run_ranks(4, OPTIONS.ranks, "differ", 2)
            self.assertEqual(self.said(done, "ranks"), [
                'rank 0: graft: Transport: options differ: rank 2 has "rounds: 9", rank 0 has "rounds: 8"'])
            self.assertEqual(done.returncode, 1)

    def test_a_rank_that_fails_ends_all(self):
        for what, of in ("fail", 2), ("fail", 0), ("early", 1):
            start = time.monotonic()
            done = self.run_ranks(3, OPTIONS.ranks, what, of)
            self.assertEqual(done.returncode, 1)
            reason = "the disk is gone" if what == "fail" else "done too early"
            said = self.said(done, "ranks")
            self.assertIn(f"rank {of}: graft: work: {reason}", said)
            self.assertTrue(any(f"rank {of} left: " in line and reason in line for line in said), said)
            self.assertLess(time.monotonic() - start, 20)


class Collaborate(Launcher):
    """The main job; it is the same program with and without mpirun."""

    def job(self, *words, ranks=0):
        words = [OPTIONS.collaborate, *QUICK, *words]
        return self.command(ranks, *words) if ranks else [*map(str, words)]

    def finish(self, *words, ranks=0):
        done = subprocess.run(self.job(*words, ranks=ranks), capture_output=True, text=True, timeout=300,
                              env=ENVIRONMENT)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    @staticmethod
    def bits(folder):
        """All that the checkpoints hold but the seconds."""
        held = {}
        for path in sorted(folder.glob("*.npz")):
            with zipfile.ZipFile(path) as file:
                held.update({(path.name, name): file.read(name) for name in file.namelist() if "seconds" not in name})
        return held

    @staticmethod
    def results(path):
        return [(row["name"], row["metric"], row["value"], row["ci95"], row["n"])
                for row in json.loads(path.read_text())["results"]]

    def test_bits_of_one_process(self):
        expected = None
        for ranks in 0, 1, 2, 4:
            record, kept = self.folder / f"{ranks}.json", self.folder / f"kept{ranks}"
            words = ["--rounds", 12, "--exchange", "prototypes", "--json", record, "--checkpoint", kept]
            said = self.finish(*words, ranks=ranks)
            # Rank 0 alone prints: one line a validation, and one table.
            self.assertEqual(len(re.findall(r"collaborative +round 12 of 12 ", said)), 1)
            self.assertEqual(len(re.findall("95 % interval", said)), 1)
            found = self.results(record), self.bits(kept)
            self.assertGreater(len(found[1]), 100)
            expected = expected or found
            self.assertEqual(found[0], expected[0])
            self.assertTrue(found[1] == expected[1], f"{ranks} ranks have other bits")
            self.assertEqual([path.name for path in kept.iterdir() if path.suffix != ".npz"], [])

    def test_options_that_differ(self):
        def both(*words):
            one = [OPTIONS.collaborate, *QUICK, "--rounds", 5]
            return [str(word) for word in [OPTIONS.mpirun, *PLACES, "-n", 2, *one, ":", "-n", 1, *one, *words]]

        def refused(*words):
            done = subprocess.run(both(*words), capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            return self.said(done, "collaborate")

        self.assertEqual(refused("--seed", 2),
                         ['collaborate: options differ: rank 2 has "seed: 2", rank 0 has "seed: 1"'])
        self.assertEqual(refused("--aggregate", "pcgrad"),
                         ['collaborate: options differ: rank 2 has "aggregate: \"pcgrad\"", rank 0 has "aggregate: '
                          '\"mean\""'])

    def test_data_that_differ(self):
        sys.argv[1:] = []
        from collaborate_cli import arrays, write_npz
        files = [self.folder / "one.npz", self.folder / "two.npz"]
        for file, first in zip(files, (0, 40)):
            write_npz(file, arrays(first=first))
        one = [OPTIONS.collaborate, *QUICK, "--rounds", 5, "--data"]
        words = [OPTIONS.mpirun, *PLACES, "-n", 2, *one, files[0], ":", "-n", 1, *one, files[1]]
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        said = self.said(done, "collaborate")
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], 'options or data differ: rank 2 has "training images: [0-9a-f ]*')

    def test_bad_options_are_said_once(self):
        done = subprocess.run(self.job("--rounds", "many", ranks=4), capture_output=True, text=True, timeout=120,
                              env=ENVIRONMENT)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(self.said(done, "collaborate")), 1)
        done = subprocess.run(self.job("--help", ranks=3), capture_output=True, text=True, timeout=120,
                              env=ENVIRONMENT)
        self.assertEqual((done.returncode, done.stderr, done.stdout.count("Usage: ")), (0, "", 1))

    def interrupted(self, kept, ranks, interrupt):
        """A run to which `interrupt(launcher, {rank: process})` is done after its first checkpoint."""
        with subprocess.Popen(self.job("--rounds", 60, "--quiet", "--checkpoint", kept, ranks=ranks), text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as run:
            deadline = time.monotonic() + 60
            while not (kept / "collaborative.npz").exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            of = {}
            for process in pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
                found = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", pathlib.Path(f"/proc/{process}/environ").read_bytes())
                if found:
                    of[int(found[1])] = int(process)
            interrupt(run, of)
            start = time.monotonic()
            said = run.communicate(timeout=60)[1]
            self.assertLess(time.monotonic() - start, 30)
            return run.returncode, said

    def test_killed_ranks_and_resuming(self):
        whole = self.folder / "whole"
        self.finish("--rounds", 60, "--quiet", "--checkpoint", whole)
        expected = self.bits(whole)
        cases = [(3, lambda run, of: os.kill(of[2], signal.SIGKILL), 2),
                 (4, lambda run, of: os.kill(of[0], signal.SIGKILL), 1),
                 (2, lambda run, of: os.kill(of[1], signal.SIGINT), 4),
                 (2, lambda run, of: run.send_signal(signal.SIGTERM), 0)]
        for number, (ranks, interrupt, then) in enumerate(cases):
            for attempt in range(10):  # a run may come to its end before it is interrupted
                kept = self.folder / f"{number}-{attempt}"
                code, said = self.interrupted(kept, ranks, interrupt)
                if code != 0:
                    break
            self.assertNotEqual(code, 0, f"case {number} was never interrupted")
            lines = [line for line in said.split("\n") if line.startswith("collaborate: ")]
            if number == 0:  # in the others rank 0 was killed, or the launcher, which then passes nothing on
                self.assertTrue(any("continue with --resume" in line for line in lines), said)
            if number < 2:
                self.assertIn("signal 9 (Killed)", said)
            if number == 2:
                self.assertRegex("\n".join(lines), "rank 1 left: .*continue with --resume")
            self.finish("--rounds", 60, "--quiet", "--checkpoint", kept, "--resume", ranks=then)
            self.assertTrue(self.bits(kept) == expected, f"case {number}: other bits after it was resumed")


class FewShot(Launcher):
    def test_seconds_become_rounds_once(self):
        record, kept, learner = (self.folder / name for name in ("record.json", "kept", "learner.npz"))
        done = self.run_ranks(3, OPTIONS.fewshot, "--method", "protonet,fomaml", "--budget", 1, "--ways", 3, "--shots",
                              1, "--queries", 2, "--episodes", 4, "--validation-episodes", 2, "--json", record,
                              "--checkpoint", kept)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = {(row["name"], row["metric"]): row["value"] for row in json.loads(record.read_text())["results"]}
        for method in "protonet", "fomaml":
            rounds = [int(path.read_text()) for path in kept.glob(f"{method}-*.rounds")]
            self.assertEqual([rows[method, "rounds"]], rounds)
        done = self.run_ranks(2, OPTIONS.fewshot, "--rounds", 2, "--ways", 3, "--shots", 1, "--queries", 2, "--episodes",
                              4, "--validation-episodes", 2, "--save", learner)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(zipfile.is_zipfile(learner))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in "--mpirun", "--ranks", "--collaborate", "--fewshot":
        parser.add_argument(name)
    OPTIONS, rest = parser.parse_known_args()
    if not OPTIONS.mpirun or not OPTIONS.ranks:
        skip("mpi", "graft was configured without MPI")
        sys.exit(77)
    PLACES = places(OPTIONS.mpirun)
    if not OPTIONS.collaborate:
        del Collaborate, FewShot
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
