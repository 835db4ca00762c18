#!/usr/bin/env python3
"""Every arm of the planned comparisons runs, and their negative control is chance: a learner whose support has its
labels exchanged answers no better than one that guesses. Usage: controls_cli.py UNLABELLED_ITEMS NOTIONS FEW_SHOT_NODES"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

UNLABELLED_ITEMS, NOTIONS, FEW_SHOT_NODES = (sys.argv[1:4] + [""] * 3)[:3]
sys.argv[1:] = []


class Controls(unittest.TestCase):
    def arms(self, program):
        """All that --arms takes, as its error lists them."""
        said = subprocess.run([program, "--arms", "none"], capture_output=True, text=True).stderr
        return re.search("none is none of (.*)", said)[1].split(", ")

    def accuracies(self, program, *options):
        with tempfile.TemporaryDirectory() as folder:
            record = pathlib.Path(folder) / "record.json"
            done = subprocess.run([program, "--quiet", "--folds", "1", "--seeds", "1", "--rounds", "1", "--json", record,
                                   *map(str, options)], capture_output=True, text=True, timeout=240)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            rows = json.loads(record.read_text())["results"]
        return {(row["name"], row["metric"]): row["value"] for row in rows if row["metric"].startswith("accuracy, ")}

    def check(self, program, tests, chances):
        """`chances`: of the columns in which the untrained learner is well above chance."""
        arms = self.arms(program)
        self.assertIn("permuted_labels", arms)
        all_arms = self.accuracies(program, "--tests", 1, "--arms", ",".join(arms))
        self.assertEqual({arm for arm, _ in all_arms}, set(arms))
        few = self.accuracies(program, "--tests", tests, "--arms", "learner,permuted_labels")
        for column, chance in chances.items():
            learner, permuted = (few[arm, "accuracy, " + column] for arm in ("learner", "permuted_labels"))
            self.assertAlmostEqual(permuted, chance, delta=chance / 2)
            self.assertGreater(learner, permuted + 0.4 * chance)

    def test_unlabelled_items(self):
        self.check(UNLABELLED_ITEMS, 40, {"5-way 1-shot": 0.2, "20-way within an alphabet": 0.05})

    def test_notions(self):
        self.check(NOTIONS, 20, {"turn": 0.25})

    def test_few_shot_nodes(self):
        self.check(FEW_SHOT_NODES, 40, {"communities-1, 5-shot": 0.5})


if __name__ == "__main__":
    unittest.main(verbosity=2)
