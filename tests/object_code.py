#!/usr/bin/env python3
"""The micro-kernels of the matrix product keep their accumulators in registers: in the object code at -O2, for AVX2 and
AVX-512, no loop of multiply-adds moves a vector register to or from the stack. --self-test shows that a kernel with
more accumulators than registers fails."""
import os
import platform
import re
import shutil
import sys
import tempfile

from toolchain import CXX, FLAGS, run, skip

# Name, flags, vector registers, kernels of the product: three or four heights of two widths, and that of panels.
TARGETS = [("AVX2", ["-march=haswell"], 16, 7),
           ("AVX-512", ["-march=skylake-avx512", "-mprefer-vector-width=512"], 32, 9)]

SOURCE = """
#include "graft/backend/cpu/gemm_kernel.hpp"
namespace graft {
inline namespace GRAFT_ABI {
namespace cpu::blocked {
template <int rows>
using Height = std::make_integer_sequence<int, rows>;
using Blocks = GemmBlocks<float>;
"""
GOOD = SOURCE + """
template <class... Heights>
struct Kernels {
  using Run = void (*)(const TileArguments<float>&);
  static constexpr Run all[][2] = {{GemmTile<float, true, Heights>::run, GemmTile<float, false, Heights>::run}...};
};
// Where registers are few, two of the heights are one.
template struct Kernels<Height<Blocks::rows>, Height<Blocks::upper_rows>, Height<Blocks::middle_rows>,
                        Height<Blocks::few_rows>>;
template struct GemmTile<float, true, Height<Blocks::rows>, true>;
}}}
"""
BAD = SOURCE + """
template <int... I>
struct BadGemmTile {
  template <int>
  using Accumulator = Simd<float>;
  static void run(const TileArguments<float>& t) { sum(t, Accumulator<I>(0.0f)...); }
  [[gnu::always_inline]] static void sum(const TileArguments<float>& t, Accumulator<I>... sums) {
    const float *a = t.a, *b = t.b;
    for (Index k = t.k; k > 0; --k, a += t.a_step, b += t.b_step)
      ((sums = fma(Simd<float>(a[I]), Simd<float>::load(b), sums)), ...);
    (sums.store(t.c + I * t.c_row), ...);
  }
};
template struct BadGemmTile<%s>;
}}}
"""

LABEL = re.compile(r"^[0-9a-f]+ <(.*GemmTile<.*::run\(.*)>:$")
LINE = re.compile(r"^ *([0-9a-f]+):\s+(\S.*)$")
JUMP = re.compile(r"^j\w+ +([0-9a-f]+) ")


def kernels(source, flags, folder):
    """{name: [(address, instruction)]} of the micro-kernels in the object code of `source`."""
    path = os.path.join(folder, "kernels.cpp")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    run([CXX, *FLAGS, *flags, "-O2", "-c", path, "-o", path + ".o"])
    found, current = {}, None
    for line in run(["objdump", "-d", "-C", "--no-show-raw-insn", path + ".o"]).splitlines():
        if label := LABEL.match(line):
            current = found.setdefault(label[1], [])
        elif not line:
            current = None
        elif current is not None and (instruction := LINE.match(line)):
            current.append((int(instruction[1], 16), instruction[2]))
    return found


def loops(code):
    """The innermost loops of multiply-adds: what lies between the target of a jump back and the jump."""
    spans = []
    for address, instruction in code:
        jump = JUMP.match(instruction)
        if jump and int(jump[1], 16) <= address:
            spans.append((int(jump[1], 16), address))
    bodies = []
    for first, last in spans:
        body = [instruction for address, instruction in code if first <= address <= last]
        inner = any((first, last) != other and first <= other[0] and other[1] <= last for other in spans)
        if not inner and any(instruction.startswith("vfmadd") for instruction in body):
            bodies.append(body)
    return bodies


def spills(code):
    """Instructions in those loops that move a vector register to or from the stack; None where there is no loop."""
    frame = any(re.match(r"mov +%rsp,%rbp", instruction) for _, instruction in code)
    stack = re.compile(r"\(%r[sb]p" if frame else r"\(%rsp")
    bodies = loops(code)
    if not bodies:
        return None
    return [instruction for body in bodies for instruction in body
            if stack.search(instruction) and re.search(r"%[xyz]mm", instruction)]


def main():
    if platform.machine() != "x86_64" or not shutil.which("objdump"):
        skip("object-code", "needs objdump on x86-64")
        sys.exit(77)
    self_test = "--self-test" in sys.argv
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, flags, registers, count in TARGETS:
            too_many = ", ".join(map(str, range(registers + 8)))
            found = kernels(BAD % too_many if self_test else GOOD, flags, folder)
            if len(found) != (1 if self_test else count):
                sys.exit(f"{name}: {len(found)} micro-kernels in the object code")
            for kernel, code in found.items():
                bad = spills(code)
                if bad is None:
                    sys.exit(f"{name}: no loop of multiply-adds in {kernel}")
                if bool(bad) != self_test:
                    good = False
                    print(f"{name}: {len(bad)} moves between vector registers and the stack in {kernel}", *bad[:5],
                          sep="\n    ")
    print("as expected" if good else "FAILED")
    sys.exit(0 if good else 1)


main()
