// WordPiece: a vocabulary, and after a zero byte a text. Without one the bytes are a text for a vocabulary of a few
// tokens.

#include "graft/io/wordpiece.hpp"

#include <optional>

#include "graft/io/json.hpp"
#include "target.hpp"

namespace {

constexpr std::string_view kTokens =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nb\n##b\nab\n##ab\ne\n##e\n.\n,\n1\n##1\n"
    "\xC3\xA9\n##\xC3\xA9\n\xE6\xBC\xA2\n\xF0\x9F\x98\x80\n##\xF0\x9F\x98\x80\n";

/// False if the text is refused, which must then not be UTF-8.
bool encodes(const graft::WordPiece& words, const std::string& text, graft::Index length) {
  try {
    const auto ids = words.encode(text, length);
    fuzz::require(ids.size() >= 2 && ids.size() <= length, "as many ids as there is room for");
    for (const std::int64_t id : ids) fuzz::require(!words.token(id).empty(), "ids are those of tokens");
    const graft::TokenBatch batch = words.encode(std::vector<std::string>{text, "a"}, length);
    fuzz::require(batch.truncated <= 1 && batch.ids.size(1) >= ids.size(), "a batch has room for each text");
    return true;
  } catch (const graft::ValueError&) {
    fuzz::require(!graft::is_utf8(text), "only a text that is not UTF-8 is refused");
    return false;
  }
}

}  // namespace

FUZZ_TARGET(wordpiece) {
  const std::size_t cut = bytes.find('\0');
  const bool both = cut != std::string_view::npos;
  const fuzz::MemoryFile file(both ? bytes.substr(0, cut) : kTokens);
  const std::string text(both ? bytes.substr(cut + 1) : bytes);
  for (const bool lowercase : {true, false}) {
    std::optional<graft::WordPiece> words;
    if (!fuzz::reads(file.path(), [&] { words.emplace(file.path(), graft::WordPieceOptions{.lowercase = lowercase}); }))
      return false;
    const bool whole = encodes(*words, text, 1 << 20), start = encodes(*words, text, 8);
    fuzz::require(start || !whole, "the start of a text that is encoded is, too");
    if (!whole) return false;
  }
  return true;
}
