"""Numbers as C++ writes them, for the scripts that make files of other implementations' numbers (make_*_cases.py)."""


def nested(x):
    """An array of any number of axes as nested braces, to the last bit."""
    if getattr(x, "ndim", None) == 0 or not hasattr(x, "__len__"):
        text = repr(float(x))
        return text[:-2] if text.endswith(".0") else text
    return "{" + ", ".join(map(nested, x)) + "}"


def listed(numbers, indent):
    """All of a tensor between braces, nine digits each, in lines of at most 120 characters."""
    lines, line = [], indent + "{"
    words = [f"{number:.9g}" for number in numbers.flatten().tolist()]
    for i, word in enumerate(words):
        word += "}" if i + 1 == len(words) else ","
        if len(line) + len(word) > 117:
            lines.append(line.rstrip())
            line = indent + " "
        line += word + " "
    return "\n".join(lines + [line.rstrip()])
