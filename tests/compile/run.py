#!/usr/bin/env python3
"""What a compiler says of small wrong programs: the first error says what to do, and the whole message is short. With
the compiler of the build, and with g++ and clang++ where they are."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from toolchain import CXX, FLAGS, NATIVE  # noqa: E402

LINES = 15
OPENING = "#include <cmath>\n#include <graft/graft.hpp>\nusing namespace graft;\n"
NET = "  Tensor<> operator()(const Tensor<>& x) const { return sum(inner(x)); }\n};\n"
GRADIENT = "Net f(const Net& n) { return grad([](const Net& m) { return m(ones({1, 2})); }, n); }\n"

# (what is wrong, the program, what its first error must contain)
PROGRAMS = [
    ("a tensor captured by value in map",
     "Tensor<> f(const Tensor<>& x, const Tensor<>& w) { return map([w](auto v) { return v * w; }, x); }\n",
     "pass tensors as inputs"),
    ("a tensor captured by reference in map",
     "Tensor<> f(const Tensor<>& x, const Tensor<>& w) { return map([&](auto v) { return v * w; }, x); }\n",
     "pass tensors as inputs"),
    ("std::exp in map", "Tensor<> f(const Tensor<>& x) { return map([](auto v) { return v * std::exp(v); }, x); }\n",
     "exp(x), not std::exp(x)"),
    ("std::pow in map", "Tensor<> f(const Tensor<>& x) { return map([](auto v) { return std::pow(v, 2); }, x); }\n",
     "without std"),
    ("matmul of integers", "auto f(const Tensor<std::int64_t>& a) { return matmul(a, a); }\n", "cast<float>(x)"),
    ("matmul of float and double", "auto f(const Tensor<>& a, const Tensor<double>& b) { return matmul(a, b); }\n",
     "cast<float>(x)"),
    ("a struct without the macro", "struct Net {\n  Linear<> inner;\n" + NET + GRADIENT, "GRAFT_FIELDS"),
    ("a member in no macro",
     "struct Net {\n  Linear<> inner;\n  Tensor<> scale;\n  GRAFT_FIELDS(inner)\n" + NET + GRADIENT, "neither in GRAFT_FIELDS"),
]
# (flags that graft refuses, what the first error must contain)
REFUSED = [(["-fno-exceptions"], "-fno-exceptions"), (["-ffast-math"], "-ffast-math"), (["-std=c++17"], "C++20"),
           (["-D__ARM_FEATURE_SVE_BITS=512"], "-msve-vector-bits")]


def message(compiler, source, extra=()):
    """What the compiler says of the program, and its first error."""
    flags = [flag for flag in FLAGS if flag != "-Werror"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "user.cpp")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        command = [compiler, *flags, *NATIVE, *extra, "-fsyntax-only", path]
        done = subprocess.run(command, text=True, capture_output=True)
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    return done.returncode, done.stderr, errors[0] if errors else ""


def compilers_here():
    """The compiler of the build, g++ and clang++, each once whatever it is called."""
    found = {}
    for path in filter(None, map(shutil.which, [CXX, "g++", "clang++"])):
        version = subprocess.run([path, "--version"], text=True, capture_output=True).stdout.splitlines()[0]
        found.setdefault(version.split(" ", 1)[-1], path)  # the first word is the name that it was called by
    return list(found.values())


def main():
    compilers = compilers_here()
    wrong = 0
    for compiler in compilers:
        for name, source, expected in [("nothing wrong", "", ""), *PROGRAMS]:
            code, text, error = message(compiler, OPENING + source)
            lines = len(text.splitlines())
            right = code == 0 if not expected else code != 0 and expected in error and lines <= LINES
            print(f"{compiler}: {name}: {lines} lines{'' if right else ', WRONG:'}")
            if not right:
                wrong += 1
                print(f"expected at most {LINES} lines and an error with '{expected}'\n{text[:4000]}")
        for flags, expected in REFUSED:
            code, text, error = message(compiler, OPENING, flags)
            if code == 0 or expected not in error:
                wrong += 1
                print(f"{compiler} {flags}: expected an error with '{expected}' first\n{text[:1000]}")
    print(f"{len(compilers)} compilers, {wrong} wrong")
    sys.exit(1 if wrong else 0)


main()
