#!/usr/bin/env python3
"""What the programs over few-shot data say about options and data that do not fit, before any training (one line that
names the option or file), and what a mixture of tasks that goes on does. Usage: few_shot_cli.py FEWSHOT MIXED_TASKS"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

FEWSHOT, MIXED_TASKS = (sys.argv[1:3] + [""] * 2)[:2]
sys.argv[1:] = []
from collaborate_cli import arrays, npy, write_npz  # noqa: E402: it reads sys.argv


class FewShot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name)
        cls.small, cls.large = cls.folder / "small.npz", cls.folder / "large.npz"
        write_npz(cls.small, arrays(alphabets=7))
        write_npz(cls.large, arrays(alphabets=7, size=20, first=40))
        cls.texts, cls.vectors = cls.folder / "texts.tsv", cls.folder / "vectors.npz"
        cls.texts.write_text("".join(f"{i % 7}\tword{i % 7} more\n" for i in range(70)))
        write_npz(cls.vectors, {"x": npy([float(i % 7 + i) for i in range(140)], "<f4", (70, 2)),
                                "y": npy([i % 7 for i in range(70)], "<i8", (70,))})
        cls.runs = cls.folder / "runs.npz"
        write_npz(cls.runs, {"support": npy([0] * 511 + [255], "|u1", (1, 2, 16, 16)),
                             "query": npy([0] * 511 + [255], "|u1", (1, 2, 16, 16)),
                             "answers": npy([0, 1], "<i8", (1, 2))})

    def refuse(self, *options, says, program=FEWSHOT, code=2):
        done = subprocess.run([program, *map(str, options)], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.strip().split("\n")), 1, done.stderr)
        self.assertNotIn("graft: ", done.stderr)
        for text in says:
            self.assertIn(str(text), done.stderr)

    def test_what_is_for_characters_alone(self):
        for data in self.texts, self.vectors:
            for options in ["--eval", self.small], ["--protocol", "within"], ["--protocol", "lake"], [
                    "--train-alphabets", "Greek"]:
                self.refuse("--data", data, "--ways", 2, *options, says=[data, "holds no characters"])

    def test_what_is_for_runs_alone(self):
        for options in ["--own-runs", 7], ["--runs", self.runs]:
            self.refuse(*options, says=[options[0], "--protocol lake"])

    def test_alphabets_are_listed(self):
        self.refuse("--train-alphabets", "Klingon", says=["'Klingon'", "glyphs_0, glyphs_1"])
        self.refuse("--protocol", "lake", "--train-alphabets", "Klingon", says=["'Klingon'", "glyphs_0, glyphs_1"])

    def test_images_of_another_size(self):
        for options in [], ["--train-alphabets", "alphabet_0,alphabet_1"]:
            self.refuse("--data", self.small, "--eval", self.large, *options, says=[self.large, "20 pixels", "16"])
        self.refuse("--protocol", "lake", "--runs", self.runs, says=[self.runs, "16 pixels", "28"])

    def test_characters_of_the_test_are_not_trained_on(self):
        for options in [], ["--train-alphabets", "alphabet_0,alphabet_1"]:
            self.refuse("--data", self.small, "--eval", self.small, *options, says=[self.small, "are trained on too"])

    def test_no_result_is_no_success(self):
        learner = self.folder / "learner.npz"
        self.refuse("--data", self.vectors, "--ways", 2, "--shots", 1, "--queries", 2, "--episodes", 2, "--method",
                    "hausdorff", "--save", learner, says=["no method gave a result"], code=1)
        self.assertFalse(learner.exists())

    def test_a_mixture_of_tasks(self):
        def refuse(*options, says):
            self.refuse("--rounds", 1, *options, says=says, program=MIXED_TASKS)

        refuse("--tasks", "bank,jurney", says=["--tasks", "'jurney'", "communities_0", "glyphs_3"])
        refuse("--tasks", "bank,bank", says=["--tasks", "bank"])
        refuse("--tasks", "bank,journey", "--episodes", 2, "--aggregate", "mean,krum",
               says=["--episodes", "Krum", "at least 3"])
        records = self.folder / "records"
        records.mkdir()
        refuse("--tasks", "bank", "--records", records, "--json", records / "all.json",
               says=["--json", "all.json", "--records"])
        self.assertEqual(list(records.iterdir()), [])

    def test_a_mixture_that_goes_on_takes_the_rounds_of_what_is_done(self):
        """Joint arms get equal rounds, also where one of them was trained at another time and speed."""
        records = self.folder / "units"
        command = [MIXED_TASKS, "--quiet", "--tasks", "communities_0", "--aggregate", "mean,pcgrad", "--seconds", 0.1,
                   "--episodes", 1, "--shots", 1, "--queries", 1, "--train-queries", 1, "--tests", 2, "--validations", 2,
                   "--records", records]
        mean, other, separate = [records / f"{arm}-fold0-seed0.json"
                                 for arm in ("joint-mean", "joint-pcgrad", "separate-1")]

        def rounds(file):
            return json.loads(file.read_text())["rounds"]

        def go_on():
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

        go_on()
        self.assertEqual(rounds(mean), rounds(other))
        for file, changed, removed in (mean, 7, other), (separate, 5, records / "separate-2-fold0-seed0.json"):
            file.write_text(file.read_text().replace(f'"rounds": {rounds(file)}', f'"rounds": {changed}'))
            removed.unlink()
            go_on()
            self.assertEqual(rounds(removed), changed)


if __name__ == "__main__":
    unittest.main(verbosity=2)
