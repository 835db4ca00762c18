#!/usr/bin/env python3
"""The layer rule of include/graft: a header includes only the rooms that its own builds on, methods include no other
method, what is heavy stays where it belongs, and above ops/ numbers are read through host(x) and item() only. And the
rules of examples/: a program is short, and reads numbers in the same way. Prints every violation as file:line.
--self-test shows that each rule can fail."""
import pathlib
import re
import sys
import tempfile

METHODS = ["fewshot", "multitask", "placeholder", "pretrain", "generalise", "transfer"]

# What each room builds on: it may include these, and what these may include. A room is a folder, or a file that stands
# higher than the folder around it.
BUILDS_ON = {
    "core": [],
    "number": ["core"],
    "backend": ["number"],
    "autodiff": ["backend"],
    "ops": ["autodiff"],
    "model": ["ops"],
    "nn": ["model"],
    "graph": ["nn"],
    "optim": ["model"],
    "io": ["core"],
    "io/checkpoint.hpp": ["io", "model"],
    "io/weights.hpp": ["io", "model"],
    "io/published.hpp": ["io/weights.hpp", "nn"],
    "evaluate": ["ops", "io"],
    "evaluate/generalisation.hpp": ["evaluate", "model"],
    "evaluate/cost.hpp": ["evaluate", "graph"],
    "data": ["graph", "io"],
    "graft.hpp": ["graph", "optim"],
    "common": ["graft.hpp", "data"],
    **{method: ["common"] for method in METHODS},
    "protocol/transport.hpp": ["core"],  # training shares its work by it
    "train": [*METHODS, "evaluate", "io/checkpoint.hpp", "io/weights.hpp", "protocol/transport.hpp"],
    "protocol": ["train"],
}
BUILDS_ON |= {f"{room}.hpp": [room] for room in BUILDS_ON if "." not in room}  # umbrellas
BUILDS_ON["fewshot.hpp"] += ["io/checkpoint.hpp"]  # saved learners
BUILDS_ON["compiled_functions.hpp"] = ["protocol", "fewshot.hpp", "multitask.hpp"]

# Files at the top that are parts of a room.
PARTS = {"fwd.hpp": "core", "compiled.hpp": "graft.hpp", "compiled_list.inc": "graft.hpp"}

# Standard headers that cost every user's compile time.
SLOW = {"iostream", "sstream", "random", "regex", "ranges", "functional"}

# A program of examples/, with the headers there that only it includes, has fewer lines than this.
PROGRAM_LINES = 120

# Third-party headers and OpenMP: (what a line says, where it may say so, how the violation reads).
CONFINED = [
    (r'#\s*include\s*[<"]xsimd/', r"number/", "xsimd is included by number/ only"),
    (r'#\s*include\s*[<"](eigen3/|unsupported/)*Eigen/', r"ops/linalg[^/]*\.hpp$|backend/cuda/",
     "Eigen is included by ops/linalg*.hpp and device plugins only"),
    (r'#\s*include\s*[<"]nlohmann/', r"evaluate/|io/", "JSON is included by evaluate/ and io/ only"),
    (r'#\s*include\s*[<"]mpi\.h|\bMPI_[A-Z]', r"protocol/mpi_transport\.hpp$",
     "MPI is named in protocol/mpi_transport.hpp only"),
    (r'#\s*pragma\s+omp\b|_Pragma\s*\(\s*"omp\b|#\s*include\s*[<"]omp\.h|\bomp_[a-z_]+\s*\(', r"core/parallel\.hpp$",
     "OpenMP is named in core/parallel.hpp only"),
]

# How a tensor is read where its numbers lie, which only core/, backend/, autodiff/ and ops/ may: a tensor of
# a device has none to look at. Of a vector or a string, std::data(x) says the same.
READS = [
    (r"(\.|->)\s*(data|span)\s*\(\s*\)|\beigen_map\s*\(|\bbody\s*\(\)\s*->\s*data\b|\.at\s*\(\s*\{",
     "numbers of tensors are read through host(x) or item() (of a container: std::data(x))"),
    (r"\b(writable|new_block|new_view)\s*\(|\bfresh\s*<",
     "tensors are made by public makers: from_span, zeros, rand ..."),
]


def below(room):
    """All rooms that `room` may include, itself among them."""
    rooms = {room}
    for lower in BUILDS_ON[room]:
        rooms |= below(lower)
    return rooms


BELOW = {room: below(room) for room in BUILDS_ON}
ABOVE_OPS = {room for room in BUILDS_ON if "ops" in BELOW[room] and room not in {"ops", "ops.hpp"}}


def room_of(header):
    """The room of a path below include/graft, None where there is none."""
    room = PARTS.get(header, header if header in BUILDS_ON else header.split("/")[0])
    return room if room in BUILDS_ON else None


def order_violation(header, target):
    """What is wrong with `header` including `target`, both below include/graft; None if nothing is."""
    room, target_room = room_of(header), room_of(target)
    if target_room is None:
        return f"{target} is in no known room"
    if target_room not in BELOW[room]:
        return f"{room} does not build on {target_room}: includes {target}"
    if room in METHODS and target_room == room:
        return f"a method includes another method, {target}"
    return None


def direct_reads(code):
    """What is wrong with how a line reads or fills tensors."""
    return [text for pattern, text in READS if re.search(pattern, code)]


def reading_programs(folder):
    """Yields (file, line number, text) for every line of examples/ that reads numbers where they lie."""
    for path in sorted(path for path in folder.iterdir() if path.suffix in {".hpp", ".cpp"}):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for text in direct_reads(line.split("//")[0]):
                yield path.name, number, text


def violations(root):
    """Yields (header, line number, text) for every violation below `root`, which is include/graft."""
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".hpp", ".h"}):
        header = path.relative_to(root).as_posix()
        if room_of(header) is None:
            yield header, 1, f"{header} is in no known room"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.split("//")[0]
            for pattern, place, text in CONFINED:
                if re.search(pattern, code) and not re.match(place, header):
                    yield header, number, text
            if room_of(header) in ABOVE_OPS:
                for text in direct_reads(code):
                    yield header, number, text
            include = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', code)
            if not include:
                continue
            target = include.group(2)
            if target in SLOW:
                yield header, number, f"<{target}> is slow to compile"
            beside = (path.parent / target).resolve()
            if target.startswith("graft/"):
                target = target[len("graft/"):]
            elif include.group(1) == '"' and beside.is_relative_to(root.resolve()):
                target = beside.relative_to(root.resolve()).as_posix()
            else:
                continue
            text = order_violation(header, target)
            if text:
                yield header, number, text


def included_beside(path):
    """All headers in the folder of `path` that it includes, directly or through one another."""
    found, waiting = set(), [path]
    while waiting:
        for target in re.findall(r'^\s*#\s*include\s*"([^"]+)"', waiting.pop().read_text(encoding="utf-8"), flags=re.M):
            header = path.parent / target
            if header.is_file() and header not in found:
                found.add(header)
                waiting.append(header)
    return found


def long_programs(folder):
    """Yields (program, lines, text) for every program of the folder that is too long, and every header there that no
    program includes."""
    headers = {program: included_beside(program) for program in sorted(folder.glob("*.cpp"))}

    def lines(path):
        return len(path.read_text(encoding="utf-8").splitlines())

    for program, own in headers.items():
        private = {header for header in own if all(header not in other for p, other in headers.items() if p != program)}
        total = lines(program) + sum(map(lines, private))
        if total >= PROGRAM_LINES:
            names = "".join(f" + {header.name}" for header in sorted(private))
            yield program.name, total, f"{program.name}{names} has {total} lines, a program has fewer than {PROGRAM_LINES}"
    for header in sorted(set(folder.glob("*.h*")).difference(*headers.values())):
        yield header.name, 1, f"no program includes {header.name}"


def self_test_programs():
    """Folders of files with so many lines that include one another, and the violations that they must give."""
    def file(lines, *includes):
        return "".join(f'#include "{name}"\n' for name in includes) + "//\n" * (lines - len(includes))

    cases = [
        ({"a.cpp": file(119)}, []),
        ({"a.cpp": file(120)}, ["a.cpp has 120 lines"]),
        ({"a.cpp": file(100, "own.hpp"), "own.hpp": file(20)}, ["a.cpp + own.hpp has 120 lines"]),
        ({"a.cpp": file(100, "one.hpp"), "one.hpp": file(10, "two.hpp"), "two.hpp": file(10)},
         ["a.cpp + one.hpp + two.hpp has 120 lines"]),
        ({"a.cpp": file(100, "both.hpp"), "b.cpp": file(100, "both.hpp"), "both.hpp": file(900)}, []),
        ({"a.cpp": file(10), "none.hpp": file(10)}, ["no program includes none.hpp"]),
    ]
    wrong = 0
    for files, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                pathlib.Path(folder, name).write_text(text, encoding="utf-8")
            texts = [text for _, _, text in long_programs(pathlib.Path(folder))]
        if len(texts) != len(expected) or not all(e in text for e, text in zip(expected, texts)):
            wrong += 1
            print(f"{sorted(files)} should give {expected} but give {texts}")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a.cpp", "b.hpp"):
            pathlib.Path(folder, name).write_text("int x;\nx.data();\nhost(x);\n", encoding="utf-8")
        found = [(name, number) for name, number, _ in reading_programs(pathlib.Path(folder))]
        if found != [("a.cpp", 2), ("b.hpp", 2)]:
            wrong += 1
            print("a program that reads a tensor where it lies is not seen")
    print(f"{len(cases) - wrong} of {len(cases)} folders of programs as expected")
    return wrong


def self_test():
    """One-line headers, each with the violation that it must give (None: it is right)."""
    cases = [
        ("ops/matmul.hpp", '#include "graft/core/tensor.hpp"', None),
        ("ops/matmul.hpp", '#include "../core/tensor.hpp"', None),
        ("ops/matmul.hpp", '#include "graft/fwd.hpp"', None),
        ("fwd.hpp", '#include "graft/core/shape.hpp"', None),
        ("ops/matmul.hpp", '#include "softmax.hpp"', None),
        ("ops/matmul.hpp", '#include "graft/nn/linear.hpp"', "does not build on nn"),
        ("ops/matmul.hpp", '#include "../nn/linear.hpp"', "does not build on nn"),
        ("ops/matmul.hpp", '#include "graft/graft.hpp"', "does not build on graft.hpp"),
        ("fwd.hpp", '#include "graft/ops/matmul.hpp"', "does not build on ops"),
        ("backend/cpu/gemm.hpp", '#include "graft/number/simd.hpp"', None),
        ("number/simd.hpp", '#include "graft/backend/cpu/gemm.hpp"', "does not build on backend"),
        ("autodiff/node.hpp", '#include "graft/ops/reduce.hpp"', "does not build on ops"),
        ("ops/matmul.hpp", '#include "graft/model/grad.hpp"', "does not build on model"),
        ("graph/gat.hpp", '#include "graft/model/init.hpp"', None),
        ("graph/gat.hpp", '#include "graft/nn/linear.hpp"', None),
        ("nn/linear.hpp", '#include "graft/graph/gat.hpp"', "does not build on graph"),
        ("optim/adam.hpp", '#include "graft/model/arithmetic.hpp"', None),
        ("optim/adam.hpp", '#include "graft/nn/linear.hpp"', "does not build on nn"),
        ("data/loader.hpp", '#include "graft/io/npy.hpp"', None),
        ("io/npy.hpp", '#include "graft/data/loader.hpp"', "does not build on data"),
        ("io/npy.hpp", '#include "graft/model/fields.hpp"', "does not build on model"),
        ("io/checkpoint.hpp", '#include "graft/model/fields.hpp"', None),
        ("io/npz.hpp", '#include "graft/io/checkpoint.hpp"', "does not build on io/checkpoint.hpp"),
        ("evaluate/record.hpp", '#include "graft/io/file.hpp"', None),
        ("fewshot/maml.hpp", '#include "graft/graft.hpp"', None),
        ("fewshot/maml.hpp", '#include "graft/data/episode.hpp"', None),
        ("fewshot/maml.hpp", '#include "graft/fewshot/protonet.hpp"', "another method"),
        ("fewshot/maml.hpp", '#include "protonet.hpp"', "another method"),
        ("fewshot/maml.hpp", '#include "graft/multitask/pcgrad.hpp"', "does not build on multitask"),
        ("fewshot/maml.hpp", '#include "graft/fewshot.hpp"', "does not build on fewshot.hpp"),
        ("fewshot/maml.hpp", '#include "graft/protocol/round.hpp"', "does not build on protocol"),
        ("protocol/round.hpp", '#include "graft/multitask/pcgrad.hpp"', None),
        ("train/train.hpp", '#include "graft/evaluate/intervals.hpp"', None),
        ("train/train.hpp", '#include "graft/io/checkpoint.hpp"', None),
        ("train/train.hpp", '#include "graft/protocol/round.hpp"', "does not build on protocol"),
        ("train/train.hpp", '#include "graft/protocol/transport.hpp"', None),
        ("protocol/transport.hpp", '#include "graft/ops/reduce.hpp"', "does not build on ops"),
        ("protocol/mpi_transport.hpp", "#include <mpi.h>", None),
        ("protocol/transport.hpp", "#include <mpi.h>", "MPI"),
        ("protocol/round.hpp", "int code = MPI_SUCCESS;", "MPI"),
        ("graft.hpp", '#include "graft/optim/adam.hpp"', None),
        ("graft.hpp", '#include "graft/data/episodes.hpp"', "does not build on data"),
        ("graft.hpp", '#include "graft/compiled.hpp"', None),
        ("ops/matmul.hpp", '#include "graft/compiled.hpp"', "does not build on graft.hpp"),
        ("fewshot.hpp", '#include "graft/fewshot/maml.hpp"', None),
        ("misc/thing.hpp", "", "no known room"),
        ("ops/matmul.hpp", '#include "graft/misc/thing.hpp"', "no known room"),
        ("number/simd.hpp", "#include <xsimd/xsimd.hpp>", None),
        ("backend/cpu/gemm.hpp", "#include <xsimd/xsimd.hpp>", "xsimd"),
        ("ops/linalg_svd.hpp", "#include <Eigen/SVD>", None),
        ("ops/matmul.hpp", "#include <Eigen/Core>", "Eigen"),
        ("nn/linalg.hpp", "#include <eigen3/Eigen/Core>", "Eigen"),
        ("evaluate/record.hpp", "#include <nlohmann/json.hpp>", None),
        ("data/loader.hpp", "#include <nlohmann/json.hpp>", "JSON"),
        ("core/parallel.hpp", "#pragma omp parallel for", None),
        ("core/tensor.hpp", "#pragma omp parallel for", "OpenMP"),
        ("core/tensor.hpp", '_Pragma("omp simd")', "OpenMP"),
        ("core/tensor.hpp", "#include <omp.h>", "OpenMP"),
        ("core/tensor.hpp", "int n = omp_get_max_threads();", "OpenMP"),
        ("core/tensor.hpp", "// says omp_get_max_threads() in a comment", None),
        ("core/tensor.hpp", "#include <vector>", None),
        *[("core/tensor.hpp", f"#include <{name}>", "slow") for name in sorted(SLOW)],
        ("ops/matmul.hpp", "const T* p = x.data(); T* q = writable(fresh<T>(shape));", None),
        *[(room, "for (float v : host(x)) total += v * y.item() + std::data(words)[0];", None)
          for room in ("graph/gat.hpp", "fewshot/maml.hpp", "train/train.hpp")],
        *[(room, "const T* p = x.data();", "host(x)")
          for room in ("model/init.hpp", "nn/norm.hpp", "graph/gat.hpp", "optim/adam.hpp", "io/weights.hpp",
                       "evaluate/metrics.hpp", "data/episodes.hpp", "common/aggregator.hpp", "multitask/pcgrad.hpp",
                       "train/train.hpp", "protocol/round.hpp", "fewshot.hpp")],
        *[("fewshot/maml.hpp", line, "host(x)")
          for line in ("x.span()[0];", "p->data();", "x.at({0, 1});", "eigen_map(x)(0, 1);", "x.body()->data;")],
        *[("fewshot/maml.hpp", line, "public makers")
          for line in ("T* p = detail::writable(x);", "Tensor<T> x = detail::fresh<T>(shape);", "new_block(s, 1, 4);")],
        ("fewshot/maml.hpp", "// x.data() in a comment", None),
    ]
    wrong = 0
    for header, line, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, header)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#pragma once\n{line}\n", encoding="utf-8")
            found = list(violations(pathlib.Path(folder)))
        texts = [text for _, _, text in found]
        if len(texts) != (1 if expected else 0) or not all(expected in text for text in texts):
            wrong += 1
            print(f"{header}: {line!r} should give {expected!r} but gives {found}")
    print(f"{len(cases) - wrong} of {len(cases)} cases as expected")
    return wrong


def main():
    if "--self-test" in sys.argv[1:]:
        sys.exit(1 if self_test() + self_test_programs() else 0)
    top = pathlib.Path(__file__).resolve().parent.parent
    root, examples = top / "include" / "graft", top / "examples"
    found, long = list(violations(root)), [*long_programs(examples), *reading_programs(examples)]
    for header, number, text in found:
        print(f"include/graft/{header}:{number}: {text}")
    for program, number, text in long:
        print(f"examples/{program}:{number}: {text}")
    count, programs = sum(1 for _ in root.rglob("*.h*")), sum(1 for _ in examples.glob("*.cpp"))
    print(f"{count} headers, {len(found)} violations of the layer rule; {programs} programs, {len(long)} violations of theirs")
    sys.exit(1 if found or long or not count or not programs else 0)


if __name__ == "__main__":
    main()
