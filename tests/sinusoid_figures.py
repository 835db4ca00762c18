#!/usr/bin/env python3
"""Sinusoids after a whole meta-training by MAML, ten shots: no model that does not adapt is below 3 in expectation
(catalogue 3.5), one step is worth half of that and more, ten lead below 0.6. Usage: sinusoid_figures.py SINUSOID"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SINUSOID = sys.argv.pop(1) if len(sys.argv) > 1 else ""


class Figures(unittest.TestCase):
    def test_maml(self):
        with tempfile.TemporaryDirectory() as folder:
            record = pathlib.Path(folder) / "record.json"
            subprocess.run([SINUSOID, "--quiet", "--profile", "full", "--model", "maml", "--seeds", "1", "--json", record],
                           check=True, capture_output=True, timeout=180)
            rows = json.loads(record.read_text())["results"]
        errors = [row["value"] for row in rows if row["metric"].startswith("mse-after-")]
        self.assertEqual(len(errors), 11, rows)
        self.assertGreater(errors[0], 2.9)
        self.assertLess(errors[1], 1.5)
        self.assertLess(errors[10], 0.6)
        self.assertEqual(errors, sorted(errors, reverse=True))


if __name__ == "__main__":
    unittest.main(verbosity=2)
