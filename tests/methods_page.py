#!/usr/bin/env python3
"""docs/methods.md: every method with its header, paper and a line of use, from the method table's rows
(tests/method_rows_*.cpp). --check (the default) fails where the page is not what they say, where a row lacks a line of
use, and where a header of a method folder has no row; --write makes the page; --self-test shows that rows are read as
they should be."""
import re
import sys

from api_page import as_cell
from public_names import ROOT

PAGE = ROOT / "docs" / "methods.md"
INCLUDE = ROOT / "include"
FOLDERS = {"fewshot": "Few-shot learning", "multitask": "Several tasks", "pretrain": "Pre-training",
           "generalise": "Domain generalisation", "protocol": "The protocol"}
OPENING = """# Methods

Every method is one header that reads like its paper's algorithm, and a row of the method table, which tests it.

`tests/methods_page.py --write` makes this page from the method table.
"""
NO_METHODS = {"graft/fewshot/episode_learner.hpp"}  # what methods of the folder are put together by
STRING = r'"((?:[^"\\]|\\.)*)"'


def rows_of(text):
    """The rows of a file of the method table: dictionaries of their strings."""
    rows = []
    for start in re.finditer(r"\.name\s*=\s*" + STRING, text):
        rest = text[start.end():]
        following = re.search(r"\.name\s*=\s*\"", rest)
        rest = rest[:following.start() if following else None]
        row = {"name": start.group(1)}
        for field in "header", "paper", "use":
            # Adjacent literals are one string.
            found = re.search(rf"\.{field}\s*=\s*((?:{STRING}\s*)+)", rest)
            if found:
                row[field] = "".join(re.findall(STRING, found.group(1))).replace('\\"', '"')
        if "header" in row:
            rows.append(row)
    return rows


def page(rows):
    parts = [OPENING]
    for folder, title in FOLDERS.items():
        chosen = [row for row in rows if row["header"].startswith(f"graft/{folder}/")]
        if not chosen:
            continue
        parts.append(f"\n## {title}\n\n| method | header | paper |\n|---|---|---|\n")
        for row in sorted(chosen, key=lambda row: row["name"]):
            use = as_cell(f"{row['name']}: `{row.get('use', '')}`")
            parts.append(f"| {use} | `{row['header']}` | {as_cell(row['paper'])} |\n")
    return "".join(parts)


def faults(rows, headers):
    """What the rows lack, one line each."""
    lines = [f"{row['name']}: the row has no line of use" for row in rows if not row.get("use")]
    known = {row["header"] for row in rows}
    return lines + [f"{header}: no row of the method table" for header in sorted(headers) if header not in known]


SAMPLE = r'''
    .name = "first",
    .header = "graft/fewshot/first.hpp",
    .paper = "Somebody, A \"method\", "
             "2020",
    .functions = {"first"},
    .use = "first(x)",
...
    .name = "second",
    .header = "graft/multitask/second.hpp",
    .paper = "Another",
'''


def self_test():
    rows = rows_of(SAMPLE)
    assert [row["name"] for row in rows] == ["first", "second"]
    assert rows[0]["paper"] == 'Somebody, A "method", 2020' and rows[0]["use"] == "first(x)"
    assert faults(rows, ["graft/fewshot/first.hpp", "graft/fewshot/third.hpp"]) == [
        "second: the row has no line of use", "graft/fewshot/third.hpp: no row of the method table"]
    made = page(rows)
    assert "## Few-shot learning" in made and "| first: `first(x)` | `graft/fewshot/first.hpp` |" in made


def main():
    if "--self-test" in sys.argv:
        return self_test()
    rows = [row for file in sorted((ROOT / "tests").glob("method_rows_*.cpp"))
            for row in rows_of(file.read_text(encoding="utf-8"))]
    headers = {str(file.relative_to(INCLUDE)) for folder in FOLDERS if folder != "protocol"
               for file in (INCLUDE / "graft" / folder).glob("*.hpp")} - NO_METHODS
    text = page(rows)
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    wrong = faults(rows, headers)
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        wrong.append("docs/methods.md is not what the rows say; tests/methods_page.py --write makes it")
    print("\n".join(wrong) or f"{len(rows)} methods")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
