#!/usr/bin/env python3
"""Every public function, layer and method has a row in a table or a listed reason why not.

Public is what stands in namespace graft itself (not in detail, cpu, native or row): free functions that take or return
tensors or models, and structs that are called with tensors or a context. A row is a string "name" or "name, case" in a
file tests/*_rows_*.cpp; rows of the table of elementwise ops, ops/elementwise_table.hpp, are rows by themselves. A reason is a line
"names: reason" of tests/coverage_reasons.txt; one that starts with the name of a test file is checked: the file must
use the names."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "graft"
HIDDEN = {"detail", "cpu", "native", "row", "bench"}
NOT_A_NAME = {"requires", "decltype", "alignas", "noexcept", "sizeof", "static_assert"}
ABOUT_TENSORS = re.compile(r"\b(Any)?Tensor\b|\bModel(Tree)?\b|const M& |\bM [a-z]")


def code_of(path):
    """The text without comments, strings and preprocessor lines."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'',
                  lambda match: '""' if match[0][0] == '"' else " ", text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", text, flags=re.M)


def without_angles(text):
    """Drops template <...> parameter lists at the front of a declaration and everything in angle brackets."""
    kept, depth = [], 0
    for i, c in enumerate(text):
        if c == "<" and re.search(r"(\w|template\s*)$", text[:i]) and not re.search(r"operator\s*$", text[:i]):
            depth += 1
        if depth == 0:
            kept.append(c)
        if c == ">" and depth > 0 and text[i - 1] != "-":
            depth -= 1
    return "".join(kept)


def function_name(declaration):
    plain = without_angles(declaration)
    for match in re.finditer(r"(\w+)\s*\(", plain):
        before = plain[:match.start()].rstrip()
        if match[1] in NOT_A_NAME or match[1].isupper():
            continue
        if not before.endswith(("::", ".", "->")) and "=" not in before:
            return match[1]
    return None


def public_names(path):
    """Yields (kind, name) of what a header declares in namespace graft with a body."""
    code = code_of(path)
    scopes, start = [], 0
    for i, c in enumerate(code):
        if c in ";}":
            if c == "}" and scopes:
                kind, name, body = scopes.pop()
                if kind == "struct" and all(s[0] == "graft" for s in scopes) and re.search(
                        r"\boperator\(\)\s*\([^)]*(Tensor|Context)", code[body:i]):
                    yield "layer", name
            start = i + 1
        elif c == "{":
            head = code[start:i].strip()
            outer_public = all(s[0] == "graft" for s in scopes)
            namespace = re.search(r"\bnamespace(?:\s+(\w+))?\s*$", head)
            struct = re.search(r"\b(?:struct|class)\s+(\w+)[^()]*$", without_angles(head))
            if "(" in head.split("requires")[0]:
                struct = None
            if namespace:
                scopes.append(("graft" if namespace[1] not in HIDDEN and namespace[1] else "hidden", namespace[1], i))
            elif struct and not head.startswith("enum"):
                scopes.append(("struct", struct[1], i))
            else:
                is_function = outer_public and "(" in head and "operator" not in head
                name = function_name(head) if is_function else None
                if name and ABOUT_TENSORS.search(head):
                    yield "function", name
                scopes.append(("body", name, i))
            start = i + 1


def table_rows():
    elementwise = (HEADERS / "ops/elementwise_table.hpp").read_text(encoding="utf-8")
    names = set(re.findall(r"^\s*ROW\((\w+),", elementwise, flags=re.M))
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
    for path in sorted(HEADERS.rglob("*.hpp")):
        for kind, name in public_names(path):
            found.setdefault(name, (kind, path.relative_to(HEADERS).as_posix()))
    rows, wrong, excused = table_rows(), [], {}
    for name, reason, line in reasons():
        place = f"coverage_reasons.txt:{line}"
        test = re.match(r"(\w+_test\.cpp)\b", reason)
        if not reason:
            wrong.append(f"{place}: no reason for {name}")
        if name in excused:
            wrong.append(f"{place}: {name} is listed twice")
        if name not in found:
            wrong.append(f"{place}: there is no public {name} any more")
        if name in rows:
            wrong.append(f"{place}: {name} has a row and needs no reason")
        if test:
            file = ROOT / "tests" / test[1]
            if not file.exists() or not re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")):
                wrong.append(f"{place}: {test[1]} does not use {name}")
        excused[name] = reason
    for name, (kind, header) in found.items():
        if name not in rows and name not in excused:
            wrong.append(f"{header}: the {kind} {name} has neither a row nor a reason")
    print("\n".join(wrong))
    covered = sum(name in rows for name in found)
    print(f"{len(found)} public names: {covered} with a row, {len(excused)} with a reason, {len(wrong)} wrong")
    if len(found) < 100 or covered < 50:
        sys.exit("too few names: the parse of the headers is broken")
    sys.exit(1 if wrong else 0)


main()
