#!/usr/bin/env python3
"""The layer rule of include/graft: a header includes lower layers only, methods include no other method, and what is
heavy stays where it belongs. Prints every violation as file:line. --self-test shows that each rule can fail."""
import pathlib
import re
import sys
import tempfile

METHODS = ["fewshot", "multitask", "placeholder", "pretrain", "generalise", "transfer"]

# From the lowest to the highest. A folder may include what is below it, and itself.
LAYERS = [["core"], ["number", "backend"], ["autodiff"], ["ops"], ["nn", "graph", "optim"],
          ["data", "io", "evaluate", *METHODS], ["protocol"]]

# What a folder may include on its own layer besides itself: a path, or a folder ending in "/".
BESIDE = {
    "backend": ["number/"],  # kernels are written with SIMD batches
    "graph": ["nn/model.hpp", "nn/context.hpp", "nn/init.hpp"],  # what every layer is made of
    "optim": ["nn/model.hpp"],  # steps are arithmetic of models
    "data": ["io/"],  # loaders read files
    **{method: ["data/"] for method in METHODS},  # a method takes episodes
}

# Standard headers that cost every user's compile time.
SLOW = {"iostream", "sstream", "random", "regex", "ranges", "functional"}

# Third-party headers and OpenMP: (what a line says, where it may say so, how the violation reads).
CONFINED = [
    (r'#\s*include\s*[<"]xsimd/', r"number/", "xsimd is included by number/ only"),
    (r'#\s*include\s*[<"](eigen3/|unsupported/)*Eigen/', r"ops/linalg[^/]*\.hpp$|backend/cuda/",
     "Eigen is included by ops/linalg*.hpp and device plugins only"),
    (r'#\s*include\s*[<"]nlohmann/', r"evaluate/|io/", "JSON is included by evaluate/ and io/ only"),
    (r'#\s*pragma\s+omp\b|_Pragma\s*\(\s*"omp\b|#\s*include\s*[<"]omp\.h|\bomp_[a-z_]+\s*\(', r"core/parallel\.hpp$",
     "OpenMP is named in core/parallel.hpp only"),
]

LEVEL = {folder: level for level, folders in enumerate(LAYERS) for folder in folders}


def split(header):
    """(folder, level) of a path below include/graft. Files at the top: fwd.hpp belongs to core; graft.hpp and the
    umbrella NAME.hpp of a folder stand as high as what they collect."""
    folder = header.split("/")[0] if "/" in header else {"fwd.hpp": "core", "graft.hpp": "nn"}.get(header, header[:-4])
    return folder, LEVEL.get(folder)


def is_umbrella(header):
    return "/" not in header and header != "fwd.hpp"


def order_violation(header, target):
    """What is wrong with `header` including `target`, both below include/graft; None if nothing is."""
    (folder, level), (target_folder, target_level) = split(header), split(target)
    if target_level is None:
        return f"{target} is in no known layer"
    if is_umbrella(header):
        return None
    if target_level > level:
        return f"{folder}/ includes {target} of a higher layer"
    if folder == target_folder and not is_umbrella(target):
        return f"a method includes another method, {target}" if folder in METHODS else None
    if target_level == level and not any(target == path or path.endswith("/") and target.startswith(path)
                                         for path in BESIDE.get(folder, [])):
        return f"{folder}/ includes {target} of its own layer"
    return None


def violations(root):
    """Yields (header, line number, text) for every violation below `root`, which is include/graft."""
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".hpp", ".h"}):
        header = path.relative_to(root).as_posix()
        if split(header)[1] is None:
            yield header, 1, f"{header} is in no known layer"
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.split("//")[0]
            for pattern, place, text in CONFINED:
                if re.search(pattern, code) and not re.match(place, header):
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


def self_test():
    """One-line headers, each with the violation that it must give (None: it is right)."""
    cases = [
        ("ops/matmul.hpp", '#include "graft/core/tensor.hpp"', None),
        ("ops/matmul.hpp", '#include "../core/tensor.hpp"', None),
        ("ops/matmul.hpp", '#include "graft/fwd.hpp"', None),
        ("ops/matmul.hpp", '#include "softmax.hpp"', None),
        ("ops/matmul.hpp", '#include "graft/nn/linear.hpp"', "higher layer"),
        ("ops/matmul.hpp", '#include "../nn/linear.hpp"', "higher layer"),
        ("ops/matmul.hpp", '#include "graft/graft.hpp"', "higher layer"),
        ("fwd.hpp", '#include "graft/ops/matmul.hpp"', "higher layer"),
        ("backend/cpu/gemm.hpp", '#include "graft/number/batch.hpp"', None),
        ("number/batch.hpp", '#include "graft/backend/cpu/gemm.hpp"', "own layer"),
        ("graph/layers/gat.hpp", '#include "graft/nn/init.hpp"', None),
        ("graph/layers/gat.hpp", '#include "graft/nn/linear.hpp"', "own layer"),
        ("optim/adam.hpp", '#include "graft/nn/model.hpp"', None),
        ("optim/adam.hpp", '#include "graft/nn/init.hpp"', "own layer"),
        ("nn/model.hpp", '#include "graft/graph/csr.hpp"', "own layer"),
        ("nn/model.hpp", '#include "graft/graft.hpp"', "own layer"),
        ("data/loader.hpp", '#include "graft/io/npy.hpp"', None),
        ("io/npy.hpp", '#include "graft/data/loader.hpp"', "own layer"),
        ("fewshot/maml.hpp", '#include "graft/graft.hpp"', None),
        ("fewshot/maml.hpp", '#include "graft/data/episode.hpp"', None),
        ("fewshot/maml.hpp", '#include "graft/fewshot/protonet.hpp"', "another method"),
        ("fewshot/maml.hpp", '#include "protonet.hpp"', "another method"),
        ("fewshot/maml.hpp", '#include "graft/multitask/pcgrad.hpp"', "own layer"),
        ("fewshot/maml.hpp", '#include "graft/fewshot.hpp"', "own layer"),
        ("fewshot/maml.hpp", '#include "graft/protocol/round.hpp"', "higher layer"),
        ("protocol/round.hpp", '#include "graft/multitask/pcgrad.hpp"', None),
        ("graft.hpp", '#include "graft/optim/adam.hpp"', None),
        ("fewshot.hpp", '#include "graft/fewshot/maml.hpp"', None),
        ("misc/thing.hpp", "", "no known layer"),
        ("ops/matmul.hpp", '#include "graft/misc/thing.hpp"', "no known layer"),
        ("number/batch.hpp", "#include <xsimd/xsimd.hpp>", None),
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
        sys.exit(1 if self_test() else 0)
    root = pathlib.Path(__file__).resolve().parent.parent / "include" / "graft"
    found = list(violations(root))
    for header, number, text in found:
        print(f"include/graft/{header}:{number}: {text}")
    count = sum(1 for _ in root.rglob("*.h*"))
    print(f"{count} headers, {len(found)} violations of the layer rule")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
