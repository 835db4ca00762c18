"""What the test scripts share: the compiler with its flags (ctest passes them in the environment; by hand the defaults
for Debian 12 hold), one way to run a command, and one way to skip."""
import os
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CXX = os.environ.get("GRAFT_TEST_CXX", "g++")
FLAGS = shlex.split(os.environ.get(
    "GRAFT_TEST_FLAGS", f"-std=c++20 -I{ROOT}/include -isystem /usr/include/eigen3 -fopenmp -Wall -Wextra"))
MPI = shlex.split(os.environ.get("GRAFT_TEST_MPI", ""))  # where mpi.h is; empty: nowhere
NATIVE = shlex.split(os.environ.get("GRAFT_TEST_NATIVE", "-march=native -mprefer-vector-width=512"))


def run(command, **options):
    """Runs a command, shows its output only if it fails (then ends the script), and returns its standard output."""
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"failed ({done.returncode}): {shlex.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def skip(name, reason):
    """Prints the line that tests/run.sh looks for."""
    print(f"SKIPPED {name} -- {reason}", flush=True)


def precompiled(headers, folder, flags):
    """Flags with which a program that begins by including one of `headers` is read faster: with g++, from a file in
    `folder` that these flags precompile. Messages stay the same, but g++ forgets with one that <immintrin.h>, which
    leaves numbers unset on purpose, is the system's, and where a header has a warning off. Other compilers get no
    flags."""
    if "Free Software Foundation" not in run([CXX, "--version"]):
        return []
    for header in headers:
        file, path = os.path.join(folder, header), os.path.join(ROOT, "include", header)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        run([CXX, *flags, "-w", "-x", "c++-header", path, "-o", file + ".gch"])
        with open(file, "w", encoding="utf-8") as again:  # for who includes it once more, later
            again.write(f'#include "{path}"\n')
    return ["-I" + str(folder), "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-invalid-offsetof"]
