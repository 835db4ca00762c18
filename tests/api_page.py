#!/usr/bin/env python3
"""docs/reference.md: every public name with its header and the first sentence of its comment. --check (the default)
fails where the page is not what the headers say, a name has no comment, or two headers, which somebody may include
together, have a type of one name; --write makes the page; --self-test shows that names and comments are read from a
header as they should be."""
import pathlib
import re
import sys

from public_names import ROOT, Name, all_names, names_of

PAGE = ROOT / "docs" / "reference.md"
OPENING = """# Reference

Every public name and the header that has it, with the first sentence of its comment. Formulas, shapes, errors and papers
stand in the header, and `doxygen docs/Doxyfile` makes pages of them; the [other pages](../README.md#what-is-in-it)
explain capabilities.

`tests/api_page.py --write` makes this page from the headers.
"""


def first_sentence(doc):
    """The first sentence of a comment, or its first paragraph if no full stop ends one."""
    paragraph = doc.split("\n\n")[0]
    stop = re.search(r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])(?<!\s)\.(?=\n|\s+[A-Z`(0-9]|$)", paragraph)
    return " ".join(paragraph[:stop.start() if stop else None].split()).rstrip(":")


def as_cell(text):
    """Text as Markdown shows it unchanged in a table, code in backticks kept."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"([<*_])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def one_a_name(names):
    """Overloads as one name, with the first comment that any of them has."""
    found = {}
    for name in names:
        key = (name.header, name.name)
        if key not in found or name.doc and not found[key].doc:
            found[key] = name
    return list(found.values())


def in_two_headers(names):
    """Whatever is no function, which may have overloads elsewhere, and stands in two headers under one name."""
    first = {}
    for name in names:
        if name.kind != "function" and first.setdefault(name.name, name.header) != name.header:
            yield f"include/graft/{name.header}: {name.kind} {name.name} is also in {first[name.name]}"


def page(names):
    text, room, header = [OPENING], None, None
    for name in names:
        at = pathlib.PurePosixPath(name.header)
        if room != (at.parts[0] if len(at.parts) > 1 else ""):
            room = at.parts[0] if len(at.parts) > 1 else ""
            text.append(f"\n## {room or 'graft'}\n")
        if header != name.header:
            header = name.header
            text.append(f"\n**`graft/{header}`**\n\n| | |\n|---|---|\n")
        text.append(f"| `{name.name}` | {as_cell(first_sentence(name.doc))} |\n")
    return "".join(text)


SAMPLE = '''
/// A version. Not its history.
#define GRAFT_SAMPLE 1
#define GRAFT_INNER 2
namespace graft {
inline namespace GRAFT_ABI {
/// Numbers, as "{" has them.
template <class T>
concept Number = requires(T x) { x + x; };
/// A limit.
inline constexpr int kLimit[] = {1, 2};
struct Later;
namespace detail {
/// Hidden.
inline void hidden() {}
}  // namespace detail
/// A box of a kind: see Box, et al. in the paper
/// of boxes.
template <class T = int>
struct Box {
  /// No name of its own.
  int size() const { return {}; }
  enum class Inner { a };
};
template <>
struct Box<char> {};
/// Doubles
///
///     an example.
struct Twice {
  Tensor<> operator()(const Tensor<>& x) const { return x; }
};
/// Of sparse features.
struct Sparse {
  float operator()(const SparseMatrix<>& x) const { return 0; }
};
GRAFT_ROWS(GRAFT_STRUCT)
/// What it says.
/// Second line.
template <class F>
  requires requires(F f) { f(1); }
[[gnu::noinline]] inline auto apply(F f, int x = 3) -> decltype(f(x)) {
  if (x) return f('}');
}
template <class T>
T Box<T>::outside() {}
inline int plain() { return 1; }
/// Held.
GRAFT_ONCE Tensor<> held(Box<int>(int), Site site) { return {}; }
GRAFT_HELD(Tensor<> held<>(Box<int>(int), Site))

/// After it.
inline int after(int x) { return x; }
Tensor<> operator+(const Tensor<>& a, const Tensor<>& b) { return a; }
/// Ways. More.
enum class Way { there, back };
/// Short.
using Boxes = Box<Box<int>>;
}  // namespace GRAFT_ABI
}  // namespace graft
'''
EXPECTED = [
    ("macro", "GRAFT_SAMPLE", "A version"), ("concept", "Number", 'Numbers, as "{" has them'),
    ("constant", "kLimit", "A limit"), ("type", "Box", "A box of a kind: see Box, et al. in the paper of boxes"),
    ("layer", "Twice", "Doubles"), ("layer", "Sparse", "Of sparse features"),
    ("function", "apply", "What it says"), ("function", "plain", ""),
    ("function", "held", "Held"), ("function", "after", "After it"), ("type", "Way", "Ways"), ("type", "Boxes", "Short"),
]


def self_test():
    found = [(name.kind, name.name, first_sentence(name.doc)) for name in names_of("sample.hpp", SAMPLE)]
    for expected in EXPECTED:
        if expected not in found:
            print(f"{expected} is not found")
    for name in found:
        if name not in EXPECTED:
            print(f"{name} is found")
    two = one_a_name(Name("function", name, "h", "", doc) for name, doc in [("f", ""), ("f", "Says."), ("g", "")])
    merged = [(name.name, name.doc) for name in two] == [("f", "Says."), ("g", "")]
    cell = as_cell("a|b <c> `x<y>_z` _") == "a\\|b \\<c> `x<y>_z` \\_"
    clashes = list(in_two_headers(Name(kind, name, header, "", "") for kind, name, header in [
        ("type", "A", "one.hpp"), ("function", "f", "one.hpp"), ("function", "f", "two.hpp"), ("layer", "A", "two.hpp")]))
    clash = clashes == ["include/graft/two.hpp: layer A is also in one.hpp"]
    print(f"names {found == EXPECTED}, overloads {merged}, cells {cell}, clashes {clash}")
    return found == EXPECTED and merged and cell and clash


def main():
    if "--self-test" in sys.argv[1:]:
        sys.exit(0 if self_test() else 1)
    names = one_a_name(all_names())
    bare = [name for name in names if not name.doc]
    for name in bare:
        print(f"include/graft/{name.header}: {name.kind} {name.name} has no /// comment")
    clashes = list(in_two_headers(names))
    print("".join(clash + "\n" for clash in clashes), end="")
    text = page(names)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
    if not current:
        print("docs/reference.md is not what the headers say: run tests/api_page.py --write")
    print(f"{len(names)} public names, {len(bare)} without a comment")
    if len(names) < 300:
        sys.exit("too few names: the parse of the headers is broken")
    sys.exit(0 if current and not bare and not clashes else 1)


if __name__ == "__main__":
    main()
