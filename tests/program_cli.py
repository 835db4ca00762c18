#!/usr/bin/env python3
"""What every program of examples/ promises: its help, its record, same bits on any number of threads, resuming, its
picture, and exit codes. Usage: program_cli.py PROGRAM OPTIONS..., the options making it quick. What is said of
--checkpoint, --model and --picture is checked of programs that take it."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM, QUICK = sys.argv[1], sys.argv[2:]
del sys.argv[1:]


class Program(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def start(self, *options):
        return subprocess.run([PROGRAM, *map(str, options)], capture_output=True, text=True, timeout=120)

    def record(self, *options):
        path = self.folder / "record.json"
        done = self.start(*QUICK, "--quiet", "--json", path, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(path.read_text())

    @staticmethod
    def results(record):
        return [(row["name"], row["metric"], row["value"], row["ci95"], row["n"]) for row in record["results"]]

    def takes(self, option):
        return f"  {option} " in self.start("--help").stdout

    def test_help(self):
        done = self.start("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in "--seed", "--threads", "--json", "--quiet", "--profile", "--help":
            self.assertIn(option, done.stdout)

    def test_record(self):
        record = self.record("--seed", 3)
        self.assertEqual(set(record), {"program", "options", "seeds", "threads", "machine", "seconds", "peak_bytes",
                                       "results"})
        self.assertEqual((record["program"], record["seeds"]), (pathlib.Path(PROGRAM).name, [3]))
        self.assertTrue(record["results"])
        for row in record["results"]:
            self.assertEqual(set(row), {"name", "metric", "value", "ci95", "n", "seconds"})
        self.assertTrue(self.start(*QUICK).stdout.strip())

    def test_same_bits(self):
        one = self.record("--threads", 1)
        self.assertEqual(self.results(self.record("--threads", 3)), self.results(one))
        self.assertNotEqual(self.results(self.record("--seed", 2)), self.results(one))
        if not self.takes("--checkpoint"):
            return
        kept = ["--checkpoint", self.folder / "kept"]
        self.assertEqual(self.results(self.record(*kept)), self.results(one))
        self.assertEqual(self.results(self.record(*kept, "--resume")), self.results(one))

    def test_picture(self):
        if "--picture" not in self.start("--help").stdout:
            self.skipTest("draws no picture")
        path = self.folder / "picture.svg"
        self.record("--picture", path)
        first = path.read_bytes()
        self.assertTrue(xml.etree.ElementTree.fromstring(first).tag.endswith("svg"))
        self.assertNotIn("picture", self.record("--picture", path, "--threads", 3)["options"])
        self.assertEqual(path.read_bytes(), first)
        nowhere, other = self.folder / "nowhere" / "p.svg", self.folder / "p.png"
        for options in [nowhere], [other], [path, "--json", path]:
            done = self.start(*QUICK, "--picture", *options)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn(str(options[0]), done.stderr)
        self.assertEqual(path.read_bytes(), first)

    def test_exit_codes(self):
        wrong = [["--frobnicate"], ["--seed", "-1"], ["--threads", ""], ["--profile", "slow"], ["--resume"]]
        if self.takes("--model"):
            wrong += [["--model", "none"]]
        if self.takes("--label"):
            wrong += [["--label", "1000"]]
        for options in wrong:
            done = self.start(*QUICK, *options)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), done.stderr)
            self.assertIn(options[0], done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
