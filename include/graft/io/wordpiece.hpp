#pragma once
// The WordPiece tokeniser of BERT models. Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional
// Transformers for language understanding", NAACL 2019; Wu et al., "Google's neural machine translation system", 2016,
// section 4.1, with the longest piece first. The same ids as the reference implementation (tokenizers: BertNormalizer,
// BertPreTokenizer, WordPiece). Character properties come from utf8proc: programs that include this link libutf8proc.

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/tensor.hpp"
#include "graft/io/file.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of a `WordPiece`.
struct WordPieceOptions {
  bool lowercase = true;     ///< and without accents, as models called uncased want; false: as the text stands
  Index longest_word = 100;  ///< in characters; a longer one is unknown
  std::string unknown = "[UNK]", start = "[CLS]", end = "[SEP]", padding = "[PAD]", mask = "[MASK]";
};

/// Texts of different lengths as one tensor.
struct TokenBatch {
  Tensor<std::int64_t> ids;  ///< [texts, longest], padded at the end
  Tensor<bool> mask;         ///< [texts, longest]: true where there is a token, as attention's `key_mask` wants it
  Index truncated = 0;       ///< how many texts were longer than the maximum
};

namespace detail {

/// What a character is to BERT: dropped, white space, a word of its own, or part of a word.
enum class CharacterKind { dropped, space, single, letter };

inline CharacterKind kind_of(std::int32_t code) {
  if (code == '\t' || code == '\n' || code == '\r' || code == ' ') return CharacterKind::space;
  if (code < 0x80) {
    if (code < 0x20 || code == 0x7F) return CharacterKind::dropped;
    const bool alphanumeric =
        (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z');
    return alphanumeric ? CharacterKind::letter : CharacterKind::single;
  }
  // The blocks of CJK ideographs that BERT takes apart.
  constexpr std::pair<std::int32_t, std::int32_t> ideographs[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  for (const auto& [first, last] : ideographs)
    if (code >= first && code <= last) return CharacterKind::single;
  if (code == 0xFFFD) return CharacterKind::dropped;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return CharacterKind::dropped;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return CharacterKind::space;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return CharacterKind::single;
    default:
      return CharacterKind::letter;
  }
}

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

}  // namespace detail

/// Turns texts into ids of pieces of words. Immutable after construction; safe to share between threads.
class WordPiece {
 public:
  /// From a vocabulary, one token a line, line i (from 0) that of id i; a piece that continues a word begins with "##".
  /// Errors: FileError for a file that cannot be read, holds a token twice, or lacks one of the options' tokens.
  explicit WordPiece(const std::string& path, WordPieceOptions options = {}) : options_(std::move(options)) {
    for (std::string& line : read_lines(path)) {
      if (!ids_.emplace(line, size()).second)
        fail_file(path, {"has the token ", detail::in_quotes(line), " twice"});
      tokens_.push_back(std::move(line));
    }
    const auto special = [&](const std::string& token) {
      const auto found = ids_.find(token);
      if (found == ids_.end()) fail_file(path, {"has no token ", detail::in_quotes(token)});
      specials_.push_back({token, found->second});
      return found->second;
    };
    unknown_ = special(options_.unknown);
    start_ = special(options_.start);
    end_ = special(options_.end);
    padding_ = special(options_.padding);
    special(options_.mask);
  }

  /// Number of tokens.
  Index size() const { return static_cast<Index>(tokens_.size()); }
  /// Throws IndexError for an id outside 0 .. size() - 1.
  const std::string& token(Index id, Site site = Site::current()) const {
    if (id < 0 || id >= size()) fail<IndexError>("WordPiece::token", {"id ", id, " of ", size(), " tokens"}, {}, site);
    return tokens_[static_cast<std::size_t>(id)];
  }

  /// The ids of `text`, between those of start and end, at most `max_length` in all: what is beyond is left out. The
  /// options' tokens are known where they stand in the text. Throws ValueError for a text that is not UTF-8 (with the
  /// place of the first wrong byte) and a `max_length` below 2.
  List<std::int64_t> encode(std::string_view text, Index max_length = 512, Site site = Site::current()) const {
    bool truncated = false;
    return encode_into(text, max_length, truncated, site);
  }

  /// Texts padded to the longest of them.
  TokenBatch encode(std::span<const std::string> texts, Index max_length = 512, Site site = Site::current()) const {
    List<Ids> all;
    TokenBatch batch;
    Index longest = 0;
    for (const std::string& text : texts) {
      bool truncated = false;
      all.push_back(encode_into(text, max_length, truncated, site));
      batch.truncated += truncated;
      longest = std::max(longest, all.back().size());
    }
    const Shape shape{all.size(), longest};
    const auto known = [&](Index text, Index place) { return place < all[text].size(); };
    batch.ids = generate(
        shape, [&](Index text, Index place) { return known(text, place) ? all[text][place] : padding_; }, site);
    batch.mask = generate(shape, known, site);
    return batch;
  }

 private:
  struct Special {
    std::string token;
    std::int64_t id;
  };
  using Ids = List<std::int64_t>;

  Ids encode_into(std::string_view text, Index max_length, bool& truncated, Site site) const {
    if (max_length < 2) fail("WordPiece::encode", {"max_length is ", max_length, ", expected 2 or more"}, {}, site);
    const Index room = max_length - 1;  // before the end
    Ids ids{start_};
    std::size_t done = 0;
    while (done < text.size() && ids.size() <= room) {
      std::size_t next = text.size();
      const Special* found = nullptr;
      for (const Special& special : specials_) {
        const std::size_t at = text.find(special.token, done);
        if (at < next || (at == next && found && special.token.size() > found->token.size())) {
          next = at;
          found = &special;
        }
      }
      append_words(text.substr(done, next - done), done, room, ids, site);
      if (found) ids.push_back(found->id);
      done = found ? next + found->token.size() : next;
    }
    truncated = ids.size() > room;
    ids.resize(static_cast<std::size_t>(std::min(ids.size(), room)));
    ids.push_back(end_);
    return ids;
  }

  // Words are gathered character by character: cleaned, decomposed, without accents, in lower case.
  void append_words(std::string_view text, std::size_t offset, Index room, Ids& ids, Site site) const {
    std::string word;
    Index length = 0;
    const auto finish = [&] {
      if (length > 0) append_pieces(word, length, ids);
      word.clear();
      length = 0;
    };
    const auto put = [&](std::int32_t code) {
      const detail::CharacterKind kind = detail::kind_of(code);
      if (kind == detail::CharacterKind::space) return finish();
      if (kind == detail::CharacterKind::single) finish();
      utf8proc_uint8_t bytes[4];
      const auto count = static_cast<std::size_t>(utf8proc_encode_char(code, bytes));
      word.append(reinterpret_cast<const char*>(bytes), count);
      ++length;
      if (kind == detail::CharacterKind::single) finish();
    };
    const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    for (std::size_t at = 0; at < text.size() && ids.size() <= room;) {
      std::int32_t code;
      const auto taken = utf8proc_iterate(data + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
      if (taken < 0) fail("WordPiece::encode", {"byte ", offset + at, " of the text is not UTF-8"}, {}, site);
      at += static_cast<std::size_t>(taken);
      const detail::CharacterKind kind = detail::kind_of(code);
      if (kind == detail::CharacterKind::dropped) continue;
      if (code < 0x80) {
        put(options_.lowercase && code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code);
        continue;
      }
      if (kind == detail::CharacterKind::space) {
        finish();
        continue;
      }
      // An ideograph is parted from its neighbours before it is decomposed.
      if (kind == detail::CharacterKind::single) finish();
      if (options_.lowercase)
        put_plain(code, put);
      else
        put(code);
      if (kind == detail::CharacterKind::single) finish();
    }
    finish();
  }

  // `put` for each character of the decomposition (NFD) that is no accent, in lower case.
  template <class Put>
  static void put_plain(std::int32_t code, Put put) {
    std::int32_t parts[32];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(code, parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < count; ++i)
      if (utf8proc_category(parts[i]) != UTF8PROC_CATEGORY_MN) put(utf8proc_tolower(parts[i]));
  }

  // The longest piece that begins the word, then the longest that goes on, to its end; unknown if none goes on.
  void append_pieces(const std::string& word, Index length, Ids& ids) const {
    const auto before = static_cast<std::size_t>(ids.size());
    if (length > options_.longest_word) return ids.push_back(unknown_);
    std::string piece;
    for (std::size_t at = 0; at < word.size();) {
      std::size_t end = word.size();
      for (; end > at; --end) {
        if (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) continue;  // inside a character
        piece.assign(at > 0 ? "##" : "").append(word, at, end - at);
        if (const auto found = ids_.find(piece); found != ids_.end()) {
          ids.push_back(found->second);
          break;
        }
      }
      if (end == at) {
        ids.resize(before);
        return ids.push_back(unknown_);
      }
      at = end;
    }
  }

  WordPieceOptions options_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t, detail::TextHash, std::equal_to<>> ids_;
  std::vector<Special> specials_;
  std::int64_t unknown_ = 0, start_ = 0, end_ = 0, padding_ = 0;
};

}  // namespace GRAFT_ABI
}  // namespace graft
