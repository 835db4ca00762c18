#!/usr/bin/env python3
"""Every public function, layer and method has a row in a table or a listed reason why not.

Of the public names (public_names.py) these are the functions that take or return tensors, sparse matrices or models,
and the types that are called with tensors, sparse matrices, graphs, episodes or a context. A row is a string "name" or
"name, case" in a file tests/*_rows_*.cpp; rows of the table of elementwise ops, ops/elementwise_table.hpp, are rows by
themselves. A reason is a line "names: reason" of tests/coverage_reasons.txt; one that starts with the name of a test
file is checked: the file must use the names."""
import re
import sys

from public_names import ROOT, all_names, rows

ABOUT_TENSORS = re.compile(r"\b(Any)?Tensor\b|\bModel(Tree)?\b|\bSparseMatrix\b|\bM& |\bM [a-z]")


def table_rows():
    names = {row.name for row in rows()}
    for path in (ROOT / "tests").glob("*_rows_*.cpp"):
        for literal in re.findall(r'"((?:\\.|[^"\\\n])*)"', path.read_text(encoding="utf-8")):
            names.add(literal.split(",")[0])
    return names


def reasons():
    """(name, reason, line) of tests/coverage_reasons.txt."""
    for number, line in enumerate((ROOT / "tests/coverage_reasons.txt").read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            names, _, reason = line.partition(":")
            for name in names.split():
                yield name, reason.strip(), number


def main():
    found = {}
    for name in all_names():
        if name.kind == "layer" or name.kind == "function" and ABOUT_TENSORS.search(name.head):
            found.setdefault(name.name, (name.kind, name.header))
    tested, wrong, excused = table_rows(), [], {}
    for name, reason, line in reasons():
        place = f"coverage_reasons.txt:{line}"
        test = re.match(r"(\w+_test\.cpp)\b", reason)
        if not reason:
            wrong.append(f"{place}: no reason for {name}")
        if name in excused:
            wrong.append(f"{place}: {name} is listed twice")
        if name not in found:
            wrong.append(f"{place}: there is no public {name} any more")
        if name in tested:
            wrong.append(f"{place}: {name} has a row and needs no reason")
        if test:
            file = ROOT / "tests" / test[1]
            if not file.exists() or not re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")):
                wrong.append(f"{place}: {test[1]} does not use {name}")
        excused[name] = reason
    for name, (kind, header) in found.items():
        if name not in tested and name not in excused:
            wrong.append(f"{header}: the {kind} {name} has neither a row nor a reason")
    print("\n".join(wrong))
    covered = sum(name in tested for name in found)
    print(f"{len(found)} public names: {covered} with a row, {len(excused)} with a reason, {len(wrong)} wrong")
    if len(found) < 100 or covered < 50:
        sys.exit("too few names: the parse of the headers is broken")
    sys.exit(1 if wrong else 0)


main()
