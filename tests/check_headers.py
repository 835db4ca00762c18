#!/usr/bin/env python3
"""Every header compiles alone, without warnings as the build defines them."""
import concurrent.futures
import pathlib
import subprocess
import sys

from toolchain import CXX, FLAGS, NATIVE, ROOT


def compile_alone(header):
    """The compiler's complaint about a file that includes this header only, twice ("" if there is none)."""
    source = f'#include "{header}"\n' * 2
    done = subprocess.run([CXX, *FLAGS, *NATIVE, "-x", "c++", "-fsyntax-only", "-"], input=source, text=True,
                          capture_output=True)
    return f"{header} does not compile alone:\n{done.stderr}" if done.returncode else ""


def main():
    include = pathlib.Path(ROOT, "include")
    headers = sorted(str(path.relative_to(include)) for path in include.rglob("*.h*"))
    headers = [header for header in headers if "/cuda/" not in header]  # needs another compiler
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        failures = [text for text in pool.map(compile_alone, headers) if text]
    print(*failures, sep="\n")
    print(f"{len(headers) - len(failures)} of {len(headers)} headers compile alone")
    sys.exit(1 if failures or not headers else 0)


main()
