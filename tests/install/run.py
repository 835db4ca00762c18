#!/usr/bin/env python3
"""Installs graft and uses it in every documented way: find_package, add_subdirectory (as a serial build), pkg-config.
Also: a configure step with -ffast-math is refused."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from toolchain import CXX, ROOT, run, skip  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def build_and_run(folder, *options):
    """Configures, builds and runs the user project."""
    run(["cmake", "-S", HERE, "-B", folder, "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={CXX}", *options])
    run(["cmake", "--build", folder])
    ranks = os.path.join(folder, "user_mpi")
    if os.path.exists(ranks) and run([ranks]) != "rank 0 of 1\n":
        sys.exit("the user of graft::mpi is not rank 0 of 1")
    return {run([os.path.join(folder, f"user_{kind}")]).strip() for kind in ("graft", "native")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True, help="a configured build folder of graft")
    parser.add_argument("--version", required=True, help="the version that users must see")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        def path(*parts):
            return os.path.join(folder, *parts)

        run(["cmake", "--install", options.build, "--prefix", path("prefix")])
        seen = build_and_run(path("package"), f"-DCMAKE_PREFIX_PATH={path('prefix')}",
                             f"-DGRAFT_EXPECTED_VERSION={options.version}")
        seen |= build_and_run(path("part"), f"-DGRAFT_SOURCE={ROOT}", "-DGRAFT_OPENMP=OFF")

        if shutil.which("pkg-config"):
            environment = {**os.environ, "PKG_CONFIG_PATH": path("prefix", "share", "pkgconfig")}
            flags = run(["pkg-config", "--cflags", "--libs", "graft"], env=environment).split()
            if any(flag.startswith("-std") for flag in flags):
                sys.exit(f"graft.pc sets the user's language standard: {flags}")
            run([CXX, "-std=c++23", os.path.join(HERE, "user.cpp"), *flags, "-o", path("user")])
            seen.add(run([path("user")]).strip())
        else:
            skip("install.pkg-config", "pkg-config is not installed")

        if seen != {f"graft {options.version}: slope 6"}:
            sys.exit(f"users of graft {options.version} printed {seen}")
        refused = subprocess.run(["cmake", "-S", ROOT, "-B", path("fast"), "-G", "Ninja", "-DGRAFT_BUILD_TESTS=OFF",
                                  f"-DCMAKE_CXX_COMPILER={CXX}", "-DCMAKE_CXX_FLAGS=-ffast-math"],
                                 text=True, capture_output=True)
        if refused.returncode == 0 or "IEEE semantics" not in refused.stderr:
            sys.exit(f"a build with -ffast-math was not refused:\n{refused.stderr}")
    print("installed, found and used: find_package, add_subdirectory, pkg-config")


main()
