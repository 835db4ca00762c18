#!/usr/bin/env python3
"""Every header works alone: a file that includes it and nothing else compiles without warnings, those that the build
asks for and those of WARNINGS, and so does one use of each of its public functions and class templates.

The uses come from the header's own text: a template whose parameters are element types or models is instantiated for
float, std::int64_t and a small struct. What is called with a lambda, or is made in another way, has its call in
tests/header_calls.inc, under the header's name; there must be as many as the header has overloads of that name. So has
every public member template of a type, but for the types that kernels are made of, number/.
A function that a header declares without a body must have it there, or in what the header includes: else a program
that calls it does not link. --self-test shows that each kind of fault is found."""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile

from public_names import HEADERS, ONCE, ROOT, blanked, names_of, without_angles
from toolchain import CXX, FLAGS, MPI, NATIVE, run, skip

CALLS = ROOT / "tests" / "header_calls.inc"

# Parsing takes most of a compiler's time. What includes one of these headers, directly or not, is compiled with its
# parsed form, and so would not be found to use what is in there before it includes it, nothing else. The last one that
# a header includes is taken. None has models: a parsed form forgets the pragma that lets GRAFT_FIELDS take offsets.
PARSED_ONCE = ["number/simd.hpp", "autodiff/node.hpp", "ops/reduce.hpp", "ops/linalg.hpp"]

# What a template parameter is instantiated with, by its concept and name.
ARGUMENTS = [
    (r"(class|Real|Number|Element|FractionNumber) (T|U)", "float"),
    (r"(Integer|Whole|WholeNumber) \w+", "std::int64_t"),
    (r"(class|Number) S", "double"),
    (r"(class|Model|ModelTree) M", "user::Net"),
    (r"class Allocator", "std::allocator<float>"),
    (r"class", "void"),  # of GRAFT_ONCE
]
# What users warn of besides, and graft's headers give no cause for.
WARNINGS = ["-Wpedantic", "-Wconversion", "-Wshadow", "-Werror=float-conversion"]
# Names the headers with GRAFT_HELD.
LIBRARY_HEADER = "compiled_functions.hpp"
# What needs MPI.
MPI_HEADER = "protocol/mpi_transport.hpp"

NET = "namespace user { struct Net { graft::Tensor<float> weight, bias; GRAFT_FIELDS(weight, bias) }; }\n"


def split_at_commas(text):
    """The parts of a list between commas that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "([{<":
            depth += 1
        elif c in ")]}" or c == ">" and text[i - 1] != "-":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def matching(text, start):
    """The place after the bracket that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        if text[i] in "([{<":
            depth += 1
        elif text[i] in ")]}" or text[i] == ">" and text[i - 1] != "-":
            depth -= 1
        if depth == 0:
            return i + 1
    return len(text)


def template_head(head):
    """(template parameters, the rest without a requires clause) of a declaration, ([], head) if it is no template."""
    head = " ".join(head.split()).replace(f"{ONCE} ", "template <class = void> ")
    if not head.startswith("template"):
        return [], head
    end = matching(head, head.index("<"))
    parameters, rest = split_at_commas(head[head.index("<") + 1:end - 1]), head[end:].strip()
    if rest.startswith("requires("):
        rest = rest[matching(rest, rest.index("(")):].strip()
    elif rest.startswith("requires "):
        rest = None  # no simple end
    return parameters, rest


def instance(name):
    """The explicit instantiation of a public template, "" if it is none, None if its arguments are not known."""
    parameters, rest = template_head(name.head)
    if not parameters:
        return ""
    if rest is None:
        return None
    values = {}
    for parameter in parameters:
        value = next((value for pattern, value in ARGUMENTS if re.fullmatch(pattern + r"( = .*)?", parameter)), None)
        if value is None:
            return None
        values[parameter.split(" = ")[0].split()[-1]] = value
    if name.kind != "function":
        return f"template struct {name.name}<{', '.join(values.values())}>;" if re.match(r"struct|class", rest) else ""
    rest = re.sub(r"\[\[.*?\]\]\s*|\binline\s+|\bconstexpr\s+", "", rest)
    start = re.search(rf"\b{name.name}\s*\(", rest).end() - 1
    end = matching(rest, start)
    arguments = ", ".join(part.split(" = ")[0] for part in split_at_commas(rest[start + 1:end - 1]))
    text = f"{rest[:start]}<{', '.join(values)}>({arguments}){rest[end:]};"
    return "template " + re.sub(r"\b(%s)\b" % "|".join(values), lambda match: values[match[0]], text)


def call_sections(text):
    """{header: its lines} of header_calls.inc."""
    parts = re.split(r"^// ---- (\S+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


# What stands before the first bracket of a member without a name.
NAMELESS = {"operator", "requires", "explicit"}


def member_templates(text, types):
    """(type, name) of every public member template of the named types; of a constructor or operator () no name."""
    for match in re.finditer(r"^(struct|class) (\w+)[^;{]*\{(.*?)^\};", blanked(text), flags=re.M | re.S):
        shown = match[1] == "struct"
        for line in re.finditer(r"^ (public|private|protected):|^  (template <[^{;]*)", match[3], flags=re.M):
            if line[1]:
                shown = line[1] == "public"
            elif shown and match[2] in types:
                name = re.search(r"\b(\w+)\s*\(", template_head(line[2])[1] or "")
                yield match[2], name[1] if name and name[1] not in NAMELESS | {match[2]} else None


def uses_of(header, text, calls):
    """(what to compile besides the header, complaints about names without a use)."""
    instances, missing, templates, types = [], [], {}, set()
    for name in names_of(header, text):
        if name.kind in {"function", "type", "layer"}:
            templates.setdefault(name.name, []).append(instance(name))
            types |= set() if name.kind == "function" else {name.name}
    calls_said = re.sub(r"//(?! refused:).*", "", calls)
    for name, found in templates.items():
        by_hand = len(re.findall(rf"\b{name}\b(?=\s*[(<{{]|\s+\w+\()", calls_said))
        wanted = [text for text in found if text != ""]
        if name in types or by_hand < len(wanted):
            instances += [text for text in wanted if text]
        if by_hand < sum(text is None for text in wanted):
            missing.append(f"{header}: {name} has {by_hand} of {len(wanted)} uses under its header in header_calls.inc")
    for owner, member in sorted(set(member_templates(text, types)), key=str):
        used = rf"\b{owner}\b" if member is None else rf"(\.|->|::){member}\s*[(<]"
        if not header.startswith("number/") and not re.search(used, calls_said):
            missing.append(f"{header}: {owner}'s member template {member or ''}() has no use in header_calls.inc")
    source = ""
    if any("user::Net" in text for text in instances) or "Net" in calls:
        source += NET
    if instances:
        source += "namespace graft { inline namespace GRAFT_ABI {\n" + "\n".join(instances) + "\n} }\n"
    if calls.strip():
        source += f"namespace user {{ using namespace graft;\n{calls}}}\n"
    return source, missing


# What stands before the bracket of no function, or of one that is defined elsewhere on purpose.
NO_FUNCTION = r"=|\b(using|concept|static_assert|extern|operator|GRAFT_COMPILED_\w+)\b"


def outermost(code):
    """Yields (what stands before, "{" or ";") for everything that blanked code declares in namespaces."""
    scopes, start = [], 0
    for i, c in enumerate(code):
        if c == "{":
            head = code[start:i].strip()
            if all(scopes):
                yield head, c
            scopes.append(re.search(r"\bnamespace\b[^;()]*$", head) is not None)
        elif c == "}" and scopes:
            scopes.pop()
        elif c == ";" and all(scopes):
            yield code[start:i].strip(), c
        if c in "{};":
            start = i + 1


def functions(text):
    """The names of all functions that a header's text defines, and of those that it declares without a body."""
    found = {"{": set(), ";": set()}
    for head, end in outermost(blanked(text)):
        plain = without_angles(head)
        name = re.search(r"(?<!::)\b(\w+)\s*\(", plain)
        if end == "{":
            found[end].update(re.findall(r"\b(\w+)\s*\(", plain))
        elif name and not re.search(NO_FUNCTION, plain[:name.end()]) and not plain.endswith(f"-> {name[1]}"):
            found[end].add(name[1])
    return found["{"], found[";"]


def reached_from(texts):
    """{header: itself and all that it includes} of {header: text}."""
    include, found = re.compile(r'^\s*#\s*include\s*"graft/([^"]+)"', flags=re.M), {}
    includes = {header: include.findall(text) for header, text in texts.items()}
    for header in texts:
        found[header], waiting = {header}, [header]
        while waiting:
            more = set(includes[waiting.pop()]) & texts.keys() - found[header]
            found[header] |= more
            waiting += more
    return found


def without_body(texts):
    """Complaints about functions that a header of {header: text} declares and nothing that it includes defines."""
    found = {header: functions(text) for header, text in texts.items()}
    for header, reached in reached_from(texts).items():
        for name in sorted(found[header][1] - set().union(*(found[other][0] for other in reached))):
            yield f"{header} declares {name}, and nothing that it includes has its body"


def compile_alone(header, source, options=()):
    """What the compiler says of a file that includes this header only, twice, and uses it ("" if nothing)."""
    text = f'#include "graft/{header}"\n' * 2 + source
    mpi = MPI if header == MPI_HEADER else []
    command = [CXX, *options, *FLAGS, *WARNINGS, *mpi, *NATIVE, "-x", "c++", "-fsyntax-only", "-"]
    done = subprocess.run(command, input=text, text=True, capture_output=True)
    return f"{header} does not work alone:\n{done.stderr}\nof\n{source}" if done.returncode else ""


def parsed_once(folder, header):
    """Compiler options that put this header, parsed now, before a file."""
    path = pathlib.Path(folder, header.replace("/", "_"))
    path.write_text(f'#include "graft/{header}"\n', encoding="utf-8")
    run([CXX, *FLAGS, *WARNINGS, *NATIVE, "-x", "c++-header", str(path), "-o", f"{path}.gch"])
    return ["-include", str(path)]


# Headers made right and wrong: what they hold, their calls, and the complaint that they must give (None: no complaint).
CALL = "template <class F>\nvoid call(F f) { f(1); }\n"
USE = "inline void use() { call([](int) {}); }\n"
SELF_TEST = {
    "right.hpp": ("template <class T = float>\nT twice(T x) { return x + x; }", "", None),
    "called.hpp": (CALL, USE, None),
    "missing_include.hpp": ("template <Real T>\nTensor<T> negative(const Tensor<T>& x) { return x * -1; }", "",
                            "does not work"),
    "missing_in_call.hpp": (CALL.replace("f(1)", "f(lost(f))"), USE, "does not work"),
    "missing_in_member.hpp": ("template <class T = float>\nstruct Box {\n  T x;\n  T get() { return lost(x); }\n};", "",
                              "does not work"),
    "cut.hpp": ("template <class T>\nint cut(T x) { return x; }", "", "does not work"),
    "later.hpp": ("template <class T>\nT later(T x, int = 1);\ntemplate <class T>\nT now(T x) { return later(x); }", "",
                  "has its body"),
    "member_template.hpp": ("struct Box {\n  template <class T>\n  T get(T x) { return lost(x); }\n};", "",
                            "has no use"),
    "no_use.hpp": (CALL, "", "0 of 1 uses"),
    "once.hpp": ("GRAFT_ONCE int one(int x) { return x; }\nGRAFT_HELD(int one<>(int))", "", None),
    "missing_in_once.hpp": ("GRAFT_ONCE int one(int x) { return lost<int>(x); }", "", "does not work"),
    "overloads.hpp": (CALL + CALL.replace("F f", "F f, int"), USE, "1 of 2 uses"),
}


def self_test():
    """Whether every fault of SELF_TEST is found, and nothing else."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "graft").mkdir()
        for header, (text, calls, expected) in SELF_TEST.items():
            text = ('#pragma once\n#include "graft/fwd.hpp"\n#include "graft/core/tensor.hpp"\n'
                    f"namespace graft {{\ninline namespace GRAFT_ABI {{\n{text}\n}}\n}}\n")
            pathlib.Path(folder, "graft", header).write_text(text, encoding="utf-8")
            source, found = uses_of(header, text, calls + "\n" if calls else "")
            found += [*without_body({header: text}), compile_alone(header, source, ["-I", folder])]
            found = [complaint for complaint in found if complaint]
            if (expected is None) != (not found) or expected and not any(expected in complaint for complaint in found):
                wrong += 1
                print(f"{header} should give {expected!r} but gives {found}")
    held = {LIBRARY_HEADER: '#include "graft/a.hpp"\n#include "graft/b.hpp"\n', "a.hpp": "",
            "b.hpp": "GRAFT_HELD(int f<>())\n", "c.hpp": "GRAFT_HELD(int g<>())\n"}
    if [complaint.split(": ")[1][:5] for complaint in not_in_library(held)] != ["has G", "a.hpp"]:
        wrong += 1
        print(f"of the library's headers: {not_in_library(held)}")
    print(f"{len(SELF_TEST) + 1 - wrong} of {len(SELF_TEST) + 1} headers as expected")
    return wrong == 0


def not_in_library(texts):
    """Complaints about headers with functions for the library graft::compiled that its unit does not include."""
    listed = set(re.findall(r'^#include "graft/(.*)"', texts[LIBRARY_HEADER], flags=re.M))
    holds = {header for header, text in texts.items() if re.search(r"^GRAFT_HELD\(", text, flags=re.M)}
    return [*(f"{header}: has GRAFT_HELD but is not in {LIBRARY_HEADER}" for header in sorted(holds - listed)),
            *(f"{LIBRARY_HEADER}: {header} has no GRAFT_HELD" for header in sorted(listed - holds))]


def main():
    if "--self-test" in sys.argv[1:]:
        sys.exit(0 if self_test() else 1)
    headers = [path for path in sorted(HEADERS.rglob("*.h*")) if "cuda" not in path.parts]  # needs another compiler
    texts = {path.relative_to(HEADERS).as_posix(): path.read_text(encoding="utf-8") for path in headers}
    sections = call_sections(CALLS.read_text(encoding="utf-8"))
    failures = [f"header_calls.inc: there is no header {header}" for header in sections.keys() - texts.keys()]
    failures += [*without_body(texts), *not_in_library(texts)]
    chosen, sources = sys.argv[1:] or list(texts), {}
    for header in chosen:
        sources[header], missing = uses_of(header, texts[header], sections.get(header, ""))
        failures += missing
    if MPI_HEADER in sources and not MPI:
        skip(f"headers: {MPI_HEADER}", "graft was configured without MPI")
        del sources[MPI_HEADER]
    reached = reached_from(texts)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        parsed = list(zip(PARSED_ONCE, pool.map(lambda header: parsed_once(folder, header), PARSED_ONCE)))
        options = [next((found for once, found in reversed(parsed) if once in reached[header] - {header}), ())
                   for header in sources]
        failures += [text for text in pool.map(compile_alone, sources, sources.values(), options) if text]
    print(*failures, sep="\n")
    print(f"{len(chosen)} headers compiled alone with their uses, {len(failures)} faults")
    sys.exit(1 if failures or len(texts) < 100 else 0)


if __name__ == "__main__":
    main()
