#!/usr/bin/env python3
"""The main job as its users meet it: the record, same bits on any number of threads, stopping and resuming, and what it
says about bad input. Usage: collaborate_cli.py PROGRAM"""
import json
import os
import pathlib
import pty
import random
import re
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


def arrays(alphabets=5, characters=4, drawers=5, size=16, first=0):
    """Every character is a bar of its own place and direction; every drawing is shifted by its drawer's number. The
    bars of characters less than 112 apart differ."""
    images, character_id, alphabet_id, drawer_id, of, split = [], [], [], [], [], []
    for number in range(alphabets * characters):
        c = number + first
        of.append(number // characters)
        split.append(1 if of[-1] == alphabets - 1 else 0)
        for d in range(drawers):
            place, across = (3 * c + d % 2) % size, c % 2
            for y in range(size):
                images += [255 if ((y if across else x) == place and abs((x if across else y) - c % 7 - 4) < 5) else 0
                           for x in range(size)]
            character_id.append(number)
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
        cls.data, cls.others = cls.folder / "data.npz", cls.folder / "others.npz"
        write_npz(cls.data, arrays())
        write_npz(cls.others, arrays(first=40))

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def command(self, *options, data=True):
        defaults = {**({"--data": self.data} if data else {}), **QUICK}
        quick = [text for name, value in defaults.items() if name not in options for text in (name, str(value))]
        return [PROGRAM, *quick, *map(str, options)]

    def launch(self, *options, stdout=subprocess.DEVNULL):
        """A run in the background."""
        return subprocess.Popen(self.command(*options), stdout=stdout, stderr=subprocess.PIPE, text=True)

    def wait_for(self, file):
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.001)

    def start(self, *options, **keywords):
        return subprocess.run(self.command(*options, **keywords), capture_output=True, text=True, timeout=120)

    def succeed(self, *options, **keywords):
        done = self.start(*options, **keywords)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def refuse(self, *options, says, code=2, **keywords):
        """Exit code 2 and one line on stderr that holds every text of `says`."""
        done = self.start(*options, **keywords)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
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
            if method != "nearest-pixel":
                self.assertEqual((rows[method, "dropped"]["value"], rows[method, "dropped"]["n"]), (0, 6))
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
        self.succeed("--rounds", 2, "--aggregate", "krum", "--tasks-per-round", 3, "--scheduler", "self_paced")
        self.succeed("--rounds", 2, "--embedding", "patch", "--eval", self.others)
        help_text = self.succeed("--help")
        for option in "--ways", "--checkpoint", "--aggregate", "--quiet", "--profile", "[0.004]", "conv|patch", "pcgrad,":
            self.assertIn(option, help_text)

    def test_exchange(self):
        """The tasks of one learner hear one another: it has other results, its ablation those of a run without."""
        def of(learner, record):
            return [row[1:] for row in self.results(record) if row[0] == learner]

        several = ["--rounds", 8, "--validation", "alphabet_0"]  # three are trained on
        plain = self.record(*several)
        for message in "prototypes", "summary":
            heard = self.record(*several, "--exchange", message, "--ablate")
            self.assertEqual(of("protonet", heard), of("protonet", plain))
            self.assertEqual(of("no-exchange", heard), of("collaborative", plain))
            self.assertNotEqual(of("collaborative", heard), of("collaborative", plain))
            self.assertNotEqual(of("no-graph", heard), of("no-transformer", heard))

    def test_threads_do_not_change_results(self):
        for options in [], ["--exchange", "prototypes", "--validation", "alphabet_0"]:
            one = self.record("--rounds", 3, "--threads", 1, *options)
            self.assertEqual(one["threads"], 1)
            self.assertEqual(self.results(self.record("--rounds", 3, "--threads", 3, *options)), self.results(one))
            self.assertNotEqual(self.results(self.record("--rounds", 3, "--seed", 2, *options)), self.results(one))

    @staticmethod
    def tensors(path):
        with zipfile.ZipFile(path) as file:
            return {name: file.read(name) for name in file.namelist() if not name.startswith("@meta/seconds")}

    def test_stopped_and_resumed_equals_uninterrupted(self):
        options = ["--rounds", 100, "--test-episodes", 60, "--validation", "alphabet_0", "--exchange",
                   "prototypes"]
        whole = self.folder / "whole"
        expected = self.results(self.record(*options, "--checkpoint", whole))
        for how in signal.SIGINT, signal.SIGKILL:
            parts = self.folder / how.name
            running = self.launch(*options, "--checkpoint", parts)
            self.wait_for(parts / "protonet.npz")
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
        self.refuse("--shots", 4, says=[data, "impossible", "4 shots", "5 items"])
        self.refuse("--train-ways", 17, says=[data, "impossible training", "17 ways"])
        self.refuse("--validation", "Klingon", says=[data, "Klingon", "alphabet_0, alphabet_1"])
        self.refuse("--validation", "alphabet_0,alphabet_1,alphabet_2,alphabet_3", says=[data, "no alphabet is left"])

    def test_bad_options(self):
        self.refuse("--rounds", 0, says=["--rounds"])
        self.refuse("--rounds", "many", says=["--rounds"])
        self.refuse("--rounds", "0x10", says=["--rounds", "0x10"])
        self.refuse("--rounds", "1e2", says=["--rounds", "1e2"])
        self.refuse("--rounds", says=["--rounds", "needs a value"])
        self.refuse("--rounds", 2, "--rounds", 3, says=["--rounds", "twice"])
        self.refuse("--quiet=1", says=["--quiet", "no value"])
        self.refuse("--seed", -1, says=["--seed", "-1"])
        self.refuse("--seed", 2**64, says=["--seed", 2**64])
        self.refuse("--validation", "alphabet_0,,alphabet_1", says=["--validation", "empty"])
        self.refuse("--profile", "slow", says=["--profile", "quick, full"])
        for option in "--data", "--eval", "--json", "--checkpoint", "--validation", "--ways":
            self.refuse(option, "", says=[option, "empty"])
        record = self.record("--rounds=010", "--seed", 2**64 - 1)  # decimal: ten
        self.assertEqual((record["options"]["rounds"], record["seeds"]), (10, [2**64 - 1]))
        self.refuse("--aggregate", "median", says=["median"])
        self.refuse("--aggregate", "krum", says=["--tasks-per-round", "2 tasks", "at least 3"])
        self.refuse("--scheduler", "greedy", says=["greedy", "uniform, round_robin"])
        self.refuse("--exchange", "on", says=["on is none of off, prototypes, summary, soft_labels"])
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
        self.refuse("--rounds", 2, "--checkpoint", self.folder / "kpet", "--resume", says=["kpet", "no such folder"])
        self.assertFalse((self.folder / "kpet").exists())
        (self.folder / "empty").mkdir()
        self.refuse("--rounds", 2, "--checkpoint", self.folder / "empty", "--resume", says=["empty", "no checkpoint"])
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

    def test_a_checkpoint_belongs_to_the_content_of_its_data(self):
        folder, data, other = self.folder / "content", self.folder / "changing.npz", self.folder / "changing-eval.npz"
        names = self.folder / "changing_alphabets.txt"
        options = ["--rounds", 2, "--checkpoint", folder, "--data", data]
        members, one_more = arrays(), arrays(first=60)
        write_npz(data, members)
        self.succeed(*options)
        relabelled, split = [c // 4 for c in range(20)], [int(c >= 15) for c in range(20)]
        relabelled[0], relabelled[4] = 1, 0
        alphabets = [relabelled[i // 5] for i in range(100)]
        for what, changes in {"images": {"images": one_more["images"]},
                              "labels": {"character_alphabet": npy(relabelled, "<i8", (20,)),
                                         "alphabet_id": npy(alphabets, "<i8", (100,))},
                              "split": {"vinyals_split": npy(split, "<i8", (20,))}}.items():
            write_npz(data, {**members, **changes})
            self.refuse(*options, "--validation", "alphabet_1,alphabet_2,alphabet_3", "--resume",
                        says=["protonet.npz", f"training {what} "])
        write_npz(data, members)
        names.write_text("".join(f"name {i}\n" for i in range(5)))
        self.refuse(*options, "--resume", says=["protonet.npz", "name 1"])
        names.unlink()
        self.refuse(*options, "--eval", self.others, "--resume", says=["protonet.npz"])
        data.rename(other)  # a file may move
        self.succeed("--rounds", 2, "--checkpoint", folder, "--data", other, "--resume")

        folder, options = self.folder / "content-eval", ["--rounds", 2, "--eval", other]
        write_npz(other, arrays(first=40))
        self.succeed(*options, "--checkpoint", folder)
        write_npz(other, one_more)
        self.refuse(*options, "--checkpoint", folder, "--resume", says=["protonet.npz", "evaluation images"])
        self.refuse("--rounds", 2, "--checkpoint", folder, "--resume", says=["protonet.npz"])

    def test_characters_of_the_test_are_not_trained_on(self):
        copy = self.folder / "copy.npz"
        self.refuse("--eval", self.data, says=[self.data, "20 of the 20 characters", "trained on"])
        copy.write_bytes(self.data.read_bytes())
        self.refuse("--eval", copy, says=[copy, "20 of the 20 characters"])
        # The same characters in another order, and drawings that are their own for two of five people.
        members, fresh, at = arrays(), arrays(first=40), 128
        images, theirs = members["images"][at:], fresh["images"][at:]
        each = [images[256 * i:256 * (i + 1)] for i in range(100)]
        mixed = [theirs[256 * i:256 * (i + 1)] if i % 5 < 2 else each[99 - i] for i in range(100)]
        write_npz(copy, {**members, "images": members["images"][:at] + b"".join(mixed)})
        self.refuse("--eval", copy, says=[copy, "20 of the 20 characters"])
        # One character of split 1 in the images of one of split 0, turned file or not.
        double = each[:95] + each[:5]
        write_npz(copy, {**members, "images": members["images"][:at] + b"".join(double)})
        self.refuse("--data", copy, says=[copy, "1 of the 4 characters"])

    def test_two_runs_in_one_folder(self):
        folder = self.folder / "shared"
        first = self.launch("--rounds", 100000, "--checkpoint", folder)
        self.wait_for(folder / "in-use")
        time.sleep(0.05)
        self.refuse("--rounds", 2, "--checkpoint", folder, says=[folder, f"in use by process {first.pid}"])
        first.kill()
        first.communicate()
        self.assertTrue((folder / "in-use").exists())  # what a killed run leaves is no claim
        for file in folder.glob("*.npz"):
            file.unlink()
        self.succeed("--rounds", 2, "--checkpoint", folder)
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["collaborative.npz", "protonet.npz"])

    def test_interrupted_while_the_test_is_answered(self):
        for signals in 1, 2:
            running = self.launch("--rounds", 1, "--test-episodes", 30000, stdout=subprocess.PIPE)
            for line in running.stdout:
                if line.startswith("collaborative "):
                    break
            for _ in range(signals):
                time.sleep(0.2)
                running.send_signal(signal.SIGINT)
            start = time.monotonic()
            out, said = running.communicate(timeout=60)
            self.assertLess(time.monotonic() - start, 10)
            self.assertNotIn("nearest-pixel", out)
            self.assertIn((running.returncode, said[:20]), [(130, "collaborate: stopped")] +
                          ([(-signal.SIGINT, "")] if signals == 2 else []))

    def test_standard_output_that_cannot_be_written(self):
        for options in [], ["--quiet"], ["--help"]:
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run(self.command("--rounds", 2, *options), stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=120)
            self.assertEqual((done.returncode, done.stderr),
                             (2, "collaborate: standard output: cannot write it: No space left on device\n"))
            closed = subprocess.run(self.command("--rounds", 2, *options), stderr=subprocess.PIPE, text=True,
                                    timeout=120, preexec_fn=lambda: os.close(1))
            self.assertEqual((closed.returncode, closed.stderr), (2, "collaborate: standard output is closed\n"))
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run(self.command("--rounds", 2), stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=120)
        os.close(theirs)
        self.assertEqual(done.returncode, 2)
        self.assertIn("Broken pipe", done.stderr)

    def test_where_records_go(self):
        quick = ["--rounds", 2, "--quiet"]
        table, _, record = self.succeed(*quick, "--json", "/dev/stdout").partition("{")
        self.assertIn("collaborative", table)
        self.assertEqual(json.loads("{" + record)["program"], "collaborate")
        self.succeed(*quick, "--json", "/dev/null")
        self.assertTrue(pathlib.Path("/dev/null").is_char_device())
        self.refuse(*quick, "--json", "/dev/full", says=["/dev/full", "No space"])
        self.assertTrue(pathlib.Path("/dev/full").is_char_device())
        target, link, stranger = (self.folder / name for name in ("target.json", "link.json", "link.json.new"))
        target.write_text("old")
        link.symlink_to("target.json")
        stranger.write_text("a stranger's")
        self.succeed(*quick, "--json", link)
        self.assertTrue(link.is_symlink())
        self.assertEqual(json.loads(target.read_text())["program"], "collaborate")
        self.assertEqual(stranger.read_text(), "a stranger's")
        before, data_link = self.data.read_bytes(), self.folder / "link-to-data"
        data_link.symlink_to(self.data)
        self.refuse(*quick, "--json", self.data, says=["--json", "--data"])
        self.refuse(*quick, "--json", data_link, says=["--json", "--data"])
        self.refuse(*quick, "--eval", self.others, "--json", self.others, says=["--json", "--eval"])
        folder = self.folder / "with-record"
        for name in "protonet.npz", "collaborative.npz", "in-use":
            self.refuse(*quick, "--checkpoint", folder, "--json", folder / name, says=["--json", name])
        self.assertEqual((self.data.read_bytes(), list(folder.iterdir())), (before, []))
        self.succeed(*quick, "--checkpoint", self.folder / "fresh", "--json", self.folder / "fresh" / "record.json")
        names = self.folder / "data_alphabets.txt"
        self.refuse(*quick, "--json", names, says=["--json", names])
        self.assertFalse(names.exists())

    def test_names_that_are_not_utf8(self):
        folder = os.fsencode(self.folder) + b"/caf\xe9"
        os.mkdir(folder)
        data, record = folder + b"/d\xff.npz", folder + b"/r.json"
        write_npz(os.fsdecode(data), arrays())
        with open(folder + b"/d\xff_alphabets.txt", "wb") as file:
            file.write(b"".join(b"\xe9 %d\n" % i for i in range(5)))
        for resume in [], ["--resume"]:
            done = subprocess.run([os.fsencode(word) for word in
                                   self.command("--rounds", 2, "--data", os.fsdecode(data), "--json",
                                                os.fsdecode(record), "--checkpoint", os.fsdecode(folder), *resume)],
                                  capture_output=True, timeout=120)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            with open(record, "rb") as file:
                options = json.loads(file.read().decode("utf-8"))["options"]
            self.assertEqual(options["validation"], ["\ufffd 1", "\ufffd 2", "\ufffd 3"])
            self.assertTrue(options["data"].endswith("caf\ufffd/d\ufffd.npz"))

    def test_other_arrays_in_a_data_file(self):
        data = self.folder / "more.npz"
        text = {"descr": "<U2", "fortran_order": False, "shape": (1,)}
        strings = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(str(text))) + str(text).encode() + b"a\0\0\0b\0\0\0"
        half = npy([0], "<i8", (1,)).replace(b"<i8", b"<f2")[:-6]
        write_npz(data, {**arrays(), "names": strings, "half": half})
        self.succeed("--rounds", 2, "--data", data)

    def test_a_rate_that_is_far_too_high_is_not_hidden(self):
        # Whether numbers leave the range depends on the CPU: then the run says so and ends with 1 (train_test.cpp has
        # every way to that). Else the losses tell: a learner without any skill is at ln 4 or above.
        said = self.start("--rounds", 60, "--learning-rate", 10, "--seed", 1)
        self.assertEqual(said.returncode, 1 if "diverged" in said.stderr else 0)
        losses = [float(x) for x in re.findall(r"collaborative .*loss (\S+)", said.stdout)]
        self.assertTrue(losses)
        self.assertGreater(min(losses), 1.38)
        self.assertNotIn("loss 0.000  accuracy 0.000", said.stdout)

    def test_large_images(self):
        data = self.folder / "large.npz"
        write_npz(data, arrays(size=128))
        record = self.record("--data", data, "--rounds", 1, "--test-episodes", 2, "--validation-episodes", 1)
        self.assertLess(record["peak_bytes"], 1 << 30)

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
