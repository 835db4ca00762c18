#!/usr/bin/env python3
"""Compiles and runs the C++ of the documentation, so that no page shows code that does not work.

All ```cpp blocks of a page make one program, in the page's order, in a namespace of its own: blocks marked ```cpp
global stand at its scope, the others one after the other in a function that main calls. What the program prints must be
the page's ```text output blocks. A ```cpp uncalled block, which reads files that the reader has, is compiled as a
function that nothing calls. Blocks in other languages, and ```cpp fragment (a part of something larger), are not
compiled. With --library FILE the programs take the ops from that library, graft::compiled, as they may; with --pictures
FOLDER the pictures that they draw replace those there. A picture that a page shows must be in the documentation.
"""

import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from toolchain import CXX, FLAGS, NATIVE, precompiled

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[ ]*(\w*)\n(.*?)^```$", re.M | re.S)
# Pages that are about more than graft.hpp name their headers in their global blocks.
INCLUDES = "#include <graft/graft.hpp>\n#include <cstdio>\n"


def program(page):
    """Source and expected output of a page; an empty source when it has no C++."""
    outer, body, output, uncalled = [], [], [], []
    for language, kind, text in BLOCK.findall(page.read_text()):
        if language == "cpp" and kind == "global":
            outer.append(text)
        elif language == "cpp" and kind == "":
            body.append(text)
        elif language == "cpp" and kind == "uncalled":
            uncalled.append(f"void uncalled_{len(uncalled)}() {{\n{text}}}\n")
        elif language == "text" and kind == "output":
            output.append(text)
    if not outer and not body:
        return "", ""
    includes = "".join(line + "\n" for part in outer for line in part.splitlines() if line.startswith("#include"))
    outer = ["\n".join(line for line in part.splitlines() if not line.startswith("#include")) for part in outer]
    code = "\n".join([*outer, *uncalled, "void run() {", *body])
    opening, end = f"{INCLUDES}{includes}namespace page {{\nusing namespace graft;\n", "}\n}\nint main() { page::run(); }\n"
    return opening + code + end, "".join(output)


def missing_pictures(page):
    """The pictures that a page shows and that are not there."""
    return [name for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
            if "://" not in name and not (page.parent / name).is_file()]


def check(page, folder, flags, library):
    source, expected = program(page)
    name = page.relative_to(ROOT)
    if missing_pictures(page):
        print(f"{name}: there is no {' and no '.join(missing_pictures(page))}")
        return False
    if not source:
        return True
    own = folder / page.stem
    own.mkdir()
    file, binary = own / "page.cpp", own / "page"
    file.write_text(source)
    built = subprocess.run([CXX, *flags, str(file), "-o", str(binary), *library, "-lutf8proc"],
                           capture_output=True, text=True)
    if built.returncode != 0:
        print(f"{name}: does not compile\n{built.stderr[:4000]}")
        return False
    run = subprocess.run([str(binary)], capture_output=True, text=True, timeout=120, cwd=own)
    if run.returncode != 0:
        print(f"{name}: ends with {run.returncode}\n{run.stdout}{run.stderr}")
        return False
    if run.stdout != expected:
        print(f"{name}: prints\n{run.stdout}but the page says\n{expected}")
        return False
    print(f"{name}: compiles, runs and prints what it says")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", help="file of graft::compiled")
    parser.add_argument("--pictures", help="folder for the pictures that pages draw")
    parser.add_argument("pages", nargs="*", help="names of pages (all)")
    options = parser.parse_args()
    library = [options.library] if options.library else []
    flags = [*FLAGS, *NATIVE, "-I" + str(ROOT), "-O0", "-Wno-unused-variable", "-Wno-unused-but-set-variable",
             *(["-DGRAFT_COMPILED"] if library else [])]
    with (tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as headers,
          concurrent.futures.ThreadPoolExecutor(2) as pool):
        flags = [*precompiled(["graft/graft.hpp"], headers, flags), *flags]
        pages = [page for page in PAGES if not options.pages or page.name in options.pages]
        right = all(list(pool.map(lambda page: check(page, pathlib.Path(folder), flags, library), pages)))
        for picture in pathlib.Path(folder).rglob("*.svg") if options.pictures else []:
            shutil.copy(picture, options.pictures)
        return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
