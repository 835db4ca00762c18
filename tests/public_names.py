"""What stands in namespace graft itself (not in detail, cpu, native, row), read from the headers: functions, layers,
types, concepts, constants, macros, and the rows of the table of elementwise ops, each with its doc comment."""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "graft"
TABLE = "ops/elementwise_table.hpp"
FUNCTIONS_OF_ROWS = "ops/elementwise.hpp"  # what a user of the rows includes
HIDDEN = {"detail", "cpu", "native", "row", "bench"}
NOT_A_NAME = {"requires", "decltype", "alignas", "noexcept", "sizeof", "static_assert"}
CALLED_WITH_TENSORS = re.compile(r"\boperator\(\)\s*\([^)]*(Tensor|Context|SparseMatrix|Graph|Episode)")
# What stands before a brace that does not end a declaration: an initialiser, or a requires expression.
INSIDE_A_DECLARATION = re.compile(r"[^=!<>]=\s*$|(\brequires|&&|\|\||[(=!?:])\s*"
                                  r"requires\s*(\((?:[^()]|\([^()]*\))*\)\s*)?$|\brequires\s*$")

REQUIRES_EXPRESSION = re.compile(r"\brequires\s*(\((?:[^()]|\([^()]*\))*\)\s*)?\{[^{}]*(\{[^{}]*\}[^{}]*)*\}")

BRACKETS = r"\((?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)"
MACRO_CALLS = re.compile(rf"\s*(?:[A-Z][A-Z0-9_]+{BRACKETS}\s*)*")  # before a declaration, without a semicolon
ONCE = "GRAFT_ONCE"  # before a function that is a template for the library's sake alone


@dataclasses.dataclass
class Name:
    """A public name. `kind` is function, layer (a type that is called with tensors, graphs, episodes or a
    context), type,
    concept, constant, macro or row; `head` its declaration without the body; `doc` the lines of its comment, "" if it
    has none."""
    kind: str
    name: str
    header: str
    head: str
    doc: str


def blanked(text):
    """The text with comments, the insides of strings and preprocessor lines as spaces, every line in its place."""
    def blank(match):
        kept = match[0][0] if match[0][0] in "\"'" else ""
        return kept + re.sub(r"[^\n]", " ", match[0][len(kept):len(match[0]) - len(kept)]) + kept

    text = re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


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
    plain = without_angles(REQUIRES_EXPRESSION.sub("", declaration))
    for match in re.finditer(r"(\w+)\s*\(", plain):
        before = plain[:match.start()].rstrip()
        if match[1] in NOT_A_NAME or match[1].isupper():
            continue
        if not before.endswith(("::", ".", "->")) and "=" not in before:
            return match[1]
    return None


def comment_above(lines, line):
    """The lines of the /// comment that ends right above line number `line` (from 0)."""
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("///"):
        first -= 1
    return "\n".join(text.strip().removeprefix("///").strip() for text in lines[first:line])


def without_body(head):
    """(kind, name) of a declaration that ends in a semicolon, None if it defines nothing by itself."""
    for kind, pattern in [("concept", r"\bconcept\s+(\w+)\s*="),
                          ("type", r"^(?:template\b.*>\s*)?using\s+(\w+)(?:\s*\[\[.*?\]\])?\s*="),
                          ("constant", r"\bconstexpr\b[^(]*?\b(\w+)(?:\[[^]]*\])?\s*=")]:
        match = re.search(pattern, head, flags=re.S)
        if match:
            return kind, match[1]
    return None


def names_of(header, text):
    """Yields the public names that the text of a header defines, in its order; overloads one by one."""
    lines, code = text.splitlines(), blanked(text)

    def declaration(start, end):  # where it begins
        return start + MACRO_CALLS.match(code[start:end]).end()

    def found(kind, name, start, end):
        begin = declaration(start, end)
        return Name(kind, name, header, code[begin:end].strip(), comment_above(lines, code.count("\n", 0, begin)))

    for match in re.finditer(r"^#define (GRAFT_\w+)", text, flags=re.M):
        doc = comment_above(lines, text.count("\n", 0, match.start()))
        if doc:
            yield Name("macro", match[1], header, match[0], doc)
    scopes, start = [], 0
    for i, c in enumerate(code):
        if c == ";" and scopes and scopes[-1][0] == "value":
            continue
        if c in "};":
            if c == "}" and scopes:
                scope = scopes.pop()
                if scope[0] == "value":
                    continue
                if scope[0] == "struct" and scope[3] and all(s[0] == "graft" for s in scopes):
                    layer = CALLED_WITH_TENSORS.search(code[scope[2]:i])
                    yield dataclasses.replace(scope[3], kind="layer" if layer else "type")
            elif scopes and all(s[0] == "graft" for s in scopes):
                defined = without_body(code[declaration(start, i):i].strip())
                if defined:
                    yield found(*defined, start, i)
            start = i + 1
        elif c == "{" and (INSIDE_A_DECLARATION.search(code[start:i]) or scopes and scopes[-1][0] == "value"):
            scopes.append(("value", None, i, None))
        elif c == "{":
            head = code[declaration(start, i):i].strip()
            outer_public = bool(scopes) and all(s[0] == "graft" for s in scopes)
            plain = without_angles(head)
            namespace = re.search(r"\bnamespace(?:\s+(\w+))?\s*$", head)
            struct = re.search(r"\b(?:struct|class|union)\s+(\w+)[^()]*$", plain)
            if "(" in re.sub(r"alignas\s*\([^)]*\)", "", head.split("requires")[0]):
                struct = None
            if namespace:
                kind = "graft" if namespace[1] and namespace[1] not in HIDDEN else "hidden"
                scopes.append((kind, namespace[1], i, None))
            elif re.match(r"enum\b", head):
                name = re.match(r"enum(?:\s+class)?\s+(\w+)", head)
                scopes.append(("struct", None, i,
                               found("type", name[1], start, i) if outer_public and name else None))
            elif struct:
                special = re.search(r"\b(?:struct|class)\s+\w+\s*<", head.removeprefix("template").lstrip(" <"))
                scopes.append(("struct", struct[1], i,
                               found("type", struct[1], start, i) if outer_public and not special else None))
            else:
                name = function_name(head) if outer_public and "(" in head and "operator" not in head else None
                if name:
                    yield found("function", name, start, i)
                scopes.append(("body", name, i, None))
            start = i + 1


def rows():
    """Yields the rows of the table of elementwise ops."""
    text = (HEADERS / TABLE).read_text(encoding="utf-8").replace("\\\n", "\n")
    for match in re.finditer(r"^\s*ROW\((\w+),", text, flags=re.M):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        doc = re.search(r'((?:"(?:\\.|[^"\\])*"\s*)+)\)$', text[match.start():end])[1]
        parts = re.findall(r'"((?:\\.|[^"\\])*)"', doc)
        yield Name("row", match[1], FUNCTIONS_OF_ROWS, match[0].strip(), "".join(parts))


def all_names():
    """Every public name of include/graft, in the order of headers and of their text."""
    for path in sorted(HEADERS.rglob("*.hpp")):
        header = path.relative_to(HEADERS).as_posix()
        yield from names_of(header, path.read_text(encoding="utf-8"))
        if header == FUNCTIONS_OF_ROWS:
            yield from rows()
