#!/usr/bin/env python3
"""docs/methods.md: every method with its header, paper, needs and a line of use, from the method table's rows
(tests/method_rows_*.cpp) and the headers: a few-shot method's `needs`, and what an aggregator reads of the tasks.
--check (the default) fails where the page is not what they say, where a row lacks a line of use, and where a header of
a method folder has no row; --write makes the page; --self-test shows that rows are read as they should be."""
import re
import sys

from api_page import as_cell
from public_names import ROOT

PAGE = ROOT / "docs" / "methods.md"
INCLUDE = ROOT / "include"
FOLDERS = {"fewshot": "Few-shot learning", "multitask": "Several tasks", "placeholder": "Placeholders",
           "pretrain": "Pre-training and zero-shot", "generalise": "Domain generalisation",
           "transfer": "Few-shot transfer", "protocol": "The protocol"}
OPENING = """# Methods

Every method is one header that reads like its paper's algorithm, and a row of the method table, which tests it.

Needs of a few-shot method are its `needs`: what it looks at to answer a query, the labelled support alone (inductive),
unlabelled items of the task (semi-supervised) or the other queries too (transductive); the order of derivatives that
its training takes, where it is not 1; and whether every episode must have the same number of classes. Needs of an
aggregator are what it reads of the tasks in a round. Needs of other methods are what they take of their data: labels, items
without labels besides, the domain or task that each item is of, a second modality (text, attributes), and the order of derivatives.

`tests/methods_page.py --write` makes this page from the method table.
"""
# What methods of the folder are put together by.
NO_METHODS = {"graft/fewshot/episode_learner.hpp", "graft/fewshot/learner.hpp"}
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
        listed = re.search(r"\.functions\s*=\s*\{([^}]*)\}", rest)
        row["functions"] = re.findall(STRING, listed.group(1)) if listed else []
        if "header" in row:
            rows.append(row)
    return rows


DATA = {"unlabelled": "unlabelled items", "domains": "domains", "second_modality": "second modality"}
SEES = {"support": "inductive", "unlabelled": "semi-supervised", "queries": "transductive"}


def needs_of(row, header):
    """What a method needs, in words, by the text of its header."""
    found = {}
    for struct in re.finditer(r"^struct (\w+)[^;]*?\{$", header, re.M):
        end = header.find("\n};", struct.end())
        declared = re.search(r"static constexpr (?:Data)?Needs needs\s*(?:\{(.*?)\}|=\s*([^;]*));",
                             header[struct.end():end], re.S)
        if declared:
            found[struct.group(1)] = declared
    names = [name for name in row["functions"] if name in found] or list(found)
    if names:
        text, other = found[names[0]].groups()
        if other:
            return "as its base"
        order = re.search(r"\.derivatives = (\d)", text)
        if found[names[0]].group().startswith("static constexpr DataNeeds"):
            words = ["labels"] if ".labels = false" not in text else []
            words += [words_of for member, words_of in DATA.items() if f".{member} = true" in text]
        else:
            sees = re.search(r"\.sees = Sees::(\w+)", text)
            words = [SEES[sees.group(1) if sees else "support"]]
        if order and order.group(1) != "1":
            words.append("no training" if order.group(1) == "0" else f"order {order.group(1)}")
        if ".any_ways = false" in text:
            words.append("fixed ways")
        return ", ".join(words)
    reads = {"gradients": ["gradients.jacobian()"], "Gramian": ["gradients.gramian()"],
             "losses": ["gradients.losses()", "detail::task_losses("]}
    return ", ".join(word for word, calls in reads.items() if any(call in header for call in calls))


def page(rows, headers):
    parts = [OPENING]
    for folder, title in FOLDERS.items():
        chosen = [row for row in rows if row["header"].startswith(f"graft/{folder}/")]
        if not chosen:
            continue
        parts.append(f"\n## {title}\n\n| method | header | needs | paper |\n|---|---|---|---|\n")
        for row in sorted(chosen, key=lambda row: row["name"]):
            use = as_cell(f"{row['name']}: `{row.get('use', '')}`")
            needs = needs_of(row, headers.get(row["header"], ""))
            parts.append(f"| {use} | `{row['header']}` | {needs} | {as_cell(row['paper'])} |\n")
    return "".join(parts)


def faults(rows, headers):
    """What the rows lack, one line each."""
    lines = [f"{row['name']}: the row has no line of use" for row in rows if not row.get("use")]
    known = {row["header"] for row in rows}
    lines += [f"{header}: no row of the method table" for header in sorted(headers) if header not in known]
    return lines + [f"{header}: says nowhere what it needs (DataNeeds)" for header in sorted(headers)
                    if re.match(r"graft/(placeholder|pretrain|generalise|transfer)/", header) and
                    "DataNeeds needs" not in headers[header]]


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
    assert faults(rows, {"graft/fewshot/first.hpp": "", "graft/transfer/third.hpp": ""}) == [
        "second: the row has no line of use", "graft/transfer/third.hpp: no row of the method table",
        "graft/transfer/third.hpp: says nowhere what it needs (DataNeeds)"]
    first = """
template <class T>
struct Shape {
  int sides;
};
struct first {
  static constexpr Needs needs{.sees = Sees::queries, .derivatives = 2, .any_ways = false};
};
"""
    second = "struct Second {\n  Combination operator()(TaskGradients& gradients) { return f(gradients.gramian()); }\n};\n" \
             "const auto round = detail::task_losses(\"Second\", gradients, range, site);\n"
    third = "struct Third {\n  static constexpr DataNeeds needs{.labels = false, .domains = true, .derivatives = 2};\n};\n"
    assert needs_of({"functions": ["Third"]}, third) == "domains, order 2"
    made = page(rows, {"graft/fewshot/first.hpp": first, "graft/multitask/second.hpp": second})
    assert "## Few-shot learning" in made
    assert "| first: `first(x)` | `graft/fewshot/first.hpp` | transductive, order 2, fixed ways |" in made
    assert "| `graft/multitask/second.hpp` | Gramian, losses |" in made


def main():
    if "--self-test" in sys.argv:
        return self_test()
    rows = [row for file in sorted((ROOT / "tests").glob("method_rows_*.cpp"))
            for row in rows_of(file.read_text(encoding="utf-8"))]
    headers = {str(file.relative_to(INCLUDE)) for folder in FOLDERS if folder != "protocol"
               for file in (INCLUDE / "graft" / folder).glob("*.hpp")} - NO_METHODS
    texts = {name: (INCLUDE / name).read_text(encoding="utf-8") for name in headers}
    text = page(rows, texts)
    if "--write" in sys.argv:
        PAGE.write_text(text, encoding="utf-8")
    wrong = faults(rows, texts)
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        wrong.append("docs/methods.md is not what the rows say; tests/methods_page.py --write makes it")
    print("\n".join(wrong) or f"{len(rows)} methods")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
