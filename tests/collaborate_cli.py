#!/usr/bin/env python3
"""The main job as its users meet it: the record, same bits on any number of threads, stopping and resuming, and what it
says about bad input. Usage: collaborate_cli.py PROGRAM"""
import json
import os
import pathlib
import pty
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else ""
QUICK = {"--train-ways": 4, "--train-queries": 2, "--ways": 3, "--queries": 2, "--tasks-per-round": 2,
         "--test-episodes": 6, "--validation-episodes": 3}


def npy(values, kind, shape):
    code = {"<i8": "q", "|u1": "B", "<f4": "f"}[kind]
    header = str({"descr": kind, "fortran_order": False, "shape": tuple(shape)})
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    return start + struct.pack(f"<{len(values)}{code}", *values)


def arrays(alphabets=5, characters=4, drawers=5, size=16):
    """Every character is a bar of its own place and direction; every drawing is shifted by its drawer's number."""
    images, character_id, alphabet_id, drawer_id, of, split = [], [], [], [], [], []
    for c in range(alphabets * characters):
        of.append(c // characters)
        split.append(1 if of[-1] == alphabets - 1 else 0)
        for d in range(drawers):
            place, across = (3 * c + d % 2) % size, c % 2
            for y in range(size):
                images += [255 if ((y if across else x) == place and abs((x if across else y) - c % 7 - 4) < 5) else 0
                           for x in range(size)]
            character_id.append(c)
            alphabet_id.append(of[-1])
            drawer_id.append(d)
    n = len(character_id)
    return {"images": npy(images, "|u1", (n, size, size)), "character_id": npy(character_id, "<i8", (n,)),
            "alphabet_id": npy(alphabet_id, "<i8", (n,)), "drawer_id": npy(drawer_id, "<i8", (n,)),
            "character_alphabet": npy(of, "<i8", (len(of),)), "vinyals_split": npy(split, "<i8", (len(of),))}


def write_npz(path, members, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, body in members.items():
            file.writestr(name + ".npy", body)


class Collaborate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.data = cls.folder / "data.npz"
        write_npz(cls.data, arrays())

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def command(self, *options, data=True):
        defaults = {**({"--data": self.data} if data else {}), **QUICK}
        quick = [text for name, value in defaults.items() if name not in options for text in (name, str(value))]
        return [PROGRAM, *quick, *map(str, options)]

    def launch(self, *options):
        """A run in the background that says nothing of its progress."""
        return subprocess.Popen(self.command(*options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def start(self, *options, **keywords):
        return subprocess.run(self.command(*options, **keywords), capture_output=True, text=True, timeout=120)

    def succeed(self, *options, **keywords):
        done = self.start(*options, **keywords)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def refuse(self, *options, says, **keywords):
        """Exit code 2 and one line on stderr that holds every text of `says`."""
        done = self.start(*options, **keywords)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(len(done.stderr.strip().split("\n")), 1, done.stderr)
        self.assertNotIn("graft: ", done.stderr)
        for text in says:
            self.assertIn(str(text), done.stderr)

    def record(self, *options, **keywords):
        path = self.folder / "record.json"
        self.succeed("--json", path, "--quiet", *options, **keywords)
        return json.loads(path.read_text())

    @staticmethod
    def results(record):
        return [(row["name"], row["metric"], row["value"], row["ci95"], row["n"]) for row in record["results"]]

    def test_record_and_table(self):
        path = self.folder / "table.json"
        table = self.succeed("--rounds", 3, "--ablate", "--json", path, "--seed", 7)
        record = json.loads(path.read_text())
        self.assertEqual(set(record), {"program", "options", "seeds", "threads", "machine", "seconds", "peak_bytes",
                                       "results"})
        self.assertEqual((record["program"], record["seeds"], record["options"]["rounds"]), ("collaborate", [7], 3))
        methods = ["nearest-pixel", "protonet", "collaborative", "no-graph", "no-transformer", "no-collaboration"]
        rows = {(row["name"], row["metric"]): row for row in record["results"]}
        for method in methods:
            self.assertIn(method, table)
            for metric in "accuracy", "accuracy-within-alphabet":
                row = rows[method, metric]
                self.assertEqual(set(row), {"name", "metric", "value", "ci95", "n", "seconds"})
                self.assertTrue(0 <= row["value"] <= 1 and row["ci95"] >= 0 and row["n"] == 6)
            if method != "protonet":
                row = rows[method, "accuracy-minus-protonet"]
                gap = rows[method, "accuracy"]["value"] - rows["protonet", "accuracy"]["value"]
                self.assertAlmostEqual(row["value"], gap)
        self.assertIn("inductive", table)

    def test_embedded_characters(self):
        record = self.record("--rounds", 1, data=False)
        self.assertEqual(record["options"]["data"], "glyphs")

    def test_other_choices_run(self):
        self.succeed("--rounds", 2, "--aggregate", "pcgrad", "--validation", "alphabet_0,alphabet_2", "--shots", 2)
        self.succeed("--rounds", 2, "--embedding", "patch", "--eval", self.data)
        help_text = self.succeed("--help")
        for option in "--ways", "--checkpoint", "--aggregate", "--quiet":
            self.assertIn(option, help_text)

    def test_threads_do_not_change_results(self):
        one = self.record("--rounds", 3, "--threads", 1)
        self.assertEqual(one["threads"], 1)
        self.assertEqual(self.results(self.record("--rounds", 3, "--threads", 3)), self.results(one))
        self.assertNotEqual(self.results(self.record("--rounds", 3, "--seed", 2)), self.results(one))

    @staticmethod
    def tensors(path):
        with zipfile.ZipFile(path) as file:
            return {name: file.read(name) for name in file.namelist() if not name.startswith("@meta/seconds")}

    def test_stopped_and_resumed_equals_uninterrupted(self):
        options = ["--rounds", 100, "--test-episodes", 60]
        whole = self.folder / "whole"
        expected = self.results(self.record(*options, "--checkpoint", whole))
        for how in signal.SIGINT, signal.SIGKILL:
            parts = self.folder / how.name
            running = self.launch(*options, "--checkpoint", parts)
            deadline = time.monotonic() + 60
            while not (parts / "protonet.npz").exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.02)
            running.send_signal(how)
            said = running.communicate(timeout=60)[1]
            if how == signal.SIGINT:
                self.assertEqual(running.returncode, 130)
                self.assertIn("continue with --resume", said)
            else:
                self.assertEqual(running.returncode, -signal.SIGKILL)
            self.assertNotEqual(self.tensors(parts / "protonet.npz"), self.tensors(whole / "protonet.npz"))
            self.assertEqual(self.results(self.record(*options, "--checkpoint", parts, "--resume")), expected)
            for name in "protonet.npz", "collaborative.npz":
                self.assertEqual(self.tensors(parts / name), self.tensors(whole / name))
        # A finished run that is resumed has nothing left to train.
        self.assertEqual(self.results(self.record(*options, "--checkpoint", whole, "--resume")), expected)

    def test_killed_again_and_again_equals_uninterrupted(self):
        """GRAFT_KILLS says how often; kills fall anywhere: into starting, training, writing, evaluating."""
        options = ["--rounds", 60, "--test-episodes", 30]
        expected = self.results(self.record(*options))
        parts = self.folder / "killed"
        draw = random.Random(1)

        def so_far():
            return ["--checkpoint", parts, *(["--resume"] if any(parts.glob("*.npz")) else [])]

        for _ in range(int(os.environ.get("GRAFT_KILLS", "4"))):
            running = self.launch(*options, *so_far())
            time.sleep(draw.uniform(0, 0.4))
            running.kill()
            said = running.communicate(timeout=60)[1]
            self.assertEqual((running.returncode in (0, -signal.SIGKILL), said), (True, ""))
        self.assertEqual(self.results(self.record(*options, *so_far())), expected)
        # A kill in the middle of a write leaves the unfinished file, under a name of its own.
        kept = sorted(file.name for file in parts.iterdir() if ".tmp-" not in file.name)
        self.assertEqual(kept, ["collaborative.npz", "protonet.npz"])

    def test_progress_bar_on_a_terminal(self):
        ours, theirs = pty.openpty()
        with subprocess.Popen(self.command("--rounds", 200), stdout=theirs, stderr=theirs) as running:
            os.close(theirs)
            shown = b""
            try:
                while chunk := os.read(ours, 65536):
                    shown += chunk
            except OSError:  # what Linux reports when the other side is closed
                pass
        os.close(ours)
        self.assertEqual(running.returncode, 0)
        for text in b"\r", b"[#", b"episodes/s", b"left", b"loss", b"accuracy":
            self.assertIn(text, shown)
        self.assertNotIn("left", self.succeed("--rounds", 2))

    def test_bad_data_files(self):
        good = self.data.read_bytes()
        bad = self.folder / "bad.npz"

        def refused(*says, **keywords):
            self.refuse("--data", bad, *keywords.get("options", []), says=[bad, *says], data=False)

        refused("No such file")
        for size in 0, 10, len(good) // 2, len(good) - 1:
            bad.write_bytes(good[:size])
            refused()
        bad.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
        refused()
        bad.write_text("not a zip file at all\n")
        refused()
        write_npz(bad, arrays(), zipfile.ZIP_DEFLATED)
        refused("compressed")
        for name in arrays():
            if name == "vinyals_split":
                continue
            members = arrays()
            del members[name]
            write_npz(bad, members)
            refused(name)
        changes = {"images": npy([0.0] * 100, "<f4", (1, 10, 10)), "character_id": npy([0], "<i8", (1,)),
                   "alphabet_id": npy([9] * 100, "<i8", (100,)), "character_alphabet": npy([-1] * 20, "<i8", (20,)),
                   "vinyals_split": npy([7] * 20, "<i8", (20,))}
        for name, body in changes.items():
            write_npz(bad, {**arrays(), name: body})
            refused(name)
        write_npz(bad, arrays(size=8))
        refused("8 x 8")
        members = arrays()
        del members["vinyals_split"]
        write_npz(bad, members)
        refused("vinyals_split", "--eval")
        bad.unlink()
        bad.mkdir()
        refused("is a directory")
        self.refuse("--eval", bad, says=[bad])

    def test_impossible_episodes(self):
        data = self.data
        self.refuse("--ways", 5, says=[data, "impossible", "5 ways"])
        self.refuse("--ways", 50, says=[data, "impossible", "50 ways"])
        self.refuse("--shots", 4, says=[data, "impossible", "4 shots", "5 images"])
        self.refuse("--train-ways", 17, says=[data, "impossible training", "17 ways"])
        self.refuse("--validation", "Klingon", says=[data, "Klingon"])
        self.refuse("--validation", "alphabet_0,alphabet_1,alphabet_2,alphabet_3", says=[data, "no alphabet is left"])

    def test_bad_options(self):
        self.refuse("--rounds", 0, says=["--rounds"])
        self.refuse("--rounds", "many", says=["--rounds"])
        self.refuse("--aggregate", "median", says=["median"])
        self.refuse("--learning-rate", "nan", says=["--learning-rate"])
        self.refuse("--frobnicate", says=["--frobnicate"])
        self.refuse("--resume", says=["--checkpoint"])
        self.refuse("--eval", self.data, data=False, says=["--data"])
        self.refuse("--json", self.folder / "nowhere" / "r.json", says=["nowhere"])
        self.refuse("--json", self.folder, says=[self.folder])

    def test_bad_checkpoints_are_refused_and_stay_as_they_are(self):
        folder = self.folder / "kept"
        options = ["--rounds", 2, "--checkpoint", folder]
        self.succeed(*options)
        file = folder / "protonet.npz"
        good = file.read_bytes()
        self.refuse(*options, says=[file, "--resume"])
        self.refuse("--rounds", 3, "--checkpoint", folder, "--resume", says=[file, "rounds 2, now 3"])
        self.refuse(*options, "--resume", "--seed", 2, says=[file, "seed 1, now 2"])
        self.assertEqual(file.read_bytes(), good)
        middle = len(good) // 2
        damaged = [good[:40], good[:100], good[:middle], good[:-1],
                   good[:middle] + bytes([good[middle] ^ 8]) + good[middle + 1:],
                   self.data.read_bytes(), b""]
        for body in damaged:
            with self.subTest(length=len(body)):
                file.write_bytes(body)
                self.refuse(*options, "--resume", says=[file])
                self.assertEqual(file.read_bytes(), body)
        file.write_bytes(good)
        self.succeed(*options, "--resume")
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["collaborative.npz", "protonet.npz"])

    def test_unwritable_checkpoint_folders(self):
        in_the_way = self.folder / "file"
        in_the_way.write_text("")
        self.refuse("--checkpoint", in_the_way, says=[in_the_way])
        self.refuse("--checkpoint", in_the_way / "below", says=[in_the_way])
        if os.geteuid() != 0:  # root may write anywhere
            closed = self.folder / "closed"
            closed.mkdir(mode=0o500)
            self.refuse("--checkpoint", closed, says=[closed, "denied"])
        self.refuse("--checkpoint", "/proc/nowhere", says=["/proc/nowhere"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
