#!/usr/bin/env python3
"""Writes tests/wordpiece_cases.inc: texts and their ids by the reference implementation, the Python package `tokenizers`
(0.23.3 when the file was made), on a vocabulary small enough to read. Run it with a Python that has the package:

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 && venv/bin/python tests/make_wordpiece_cases.py"""
import pathlib

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

VOCABULARY = """[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able want ##ed run ##n ##ing , . ! ' - _ a ##a ##b b e ##e i ##i o u
naive facade cafe strasse Cafe caf ##é é 漢 字 漢字 😀 ##😀 don t 5 ##0 % [ ] cls ᄒ ##ᅡ ##ᆫ х ##о ##й привет ##s ss ß fi ﬁ k å
i̇ stanbul σ ##ς ##σ ς α । 。""".split()

TEXTS = [
    "unaffable", "UNAFFABLE wanted, running!", "unwantedxyz", "", "   ", "\t\n\r a \u00a0b\u2003e\u3000o", "a\u200bb", "a\u00adb",
    "a\u0000b", "a\ufffdb", "a\u0007b", "naïve façade café", "CAFÉ", "e\u0301", "e\u0327\u0301", "漢字", "a漢b字e", "漢a", "😀", "a😀", "👨\u200d👩",
    "don't 50%", "a_b-e", "[CLS] a [SEP]", "[cls] a", "a[MASK]b", "[MASK][MASK]", "[MAS K]", "[[MASK]]", "한", "привет", "ПРИВЕТ", "хой",
    "straße", "ß", "ẞ", "ﬁ", "K", "Å", "İstanbul", "ΣΑΣ", "Σ", "a।b。e", "a" * 100, "a" * 101, "ab" * 60, "a b " * 6, "\u0301", "a \u0301 b",
    "a\u2028b\u2029e", "a\u0085b", "\U00020000a", "\uf900", "aáa", "é", "Éé",
]


def encoder(lowercase):
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]",
                                    max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(VOCABULARY[:5])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def literal(text):
    """`text` as a C++ string of its UTF-8 bytes that holds zeros as well."""
    data = text.encode()
    plain = all(32 <= byte < 127 and byte not in b'"\\' for byte in data)
    body = text if plain else "".join(f"\\x{byte:02x}" for byte in data)
    return f'std::string("{body}", {len(data)})'


def main():
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    lines = ["// Made by make_wordpiece_cases.py.", "", "constexpr const char* kVocabulary ="]
    lines += [f'    "{"".join(f"{chr(92)}x{byte:02x}" for byte in token.encode())}\\n"' if not token.isascii() else
              f'    "{token}\\n"' for token in VOCABULARY]
    lines[-1] += ";"
    lines += ["", "const std::vector<Case> kCases = {"]
    for lowercase in (True, False):
        tokenizer = encoder(lowercase)
        for text in TEXTS:
            ids = ", ".join(map(str, tokenizer.encode(text).ids))
            lines.append(f"    {{{str(lowercase).lower()}, {literal(text)}, {{{ids}}}}},")
    lines[-1] = lines[-1][:-1] + "};"
    path = pathlib.Path(__file__).with_name("wordpiece_cases.inc")
    path.write_text("\n".join(lines) + "\n")


main()
