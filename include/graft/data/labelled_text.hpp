#pragma once
// Short texts with classes: from files, and generated ones; their words as token ids.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graft/data/item_set.hpp"
#include "graft/io/file.hpp"
#include "graft/io/npz.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Texts, each of a class.
struct LabelledTexts {
  std::string source;                    ///< the file, or what else they come from, for errors
  std::vector<std::string> texts;        ///< [texts]
  std::vector<std::int64_t> labels;      ///< [texts], places in `class_names`
  std::vector<std::string> class_names;  ///< [classes]
};

/// Reads a file with a line "class number <tab> text" each. Classes are called by the lines of `classes.txt` in the
/// same folder, if there is such a file, else by their numbers; those after the highest number are left out. Errors:
/// FileError for a file that cannot be read or holds no texts, a line of another form, less names than classes.
inline LabelledTexts load_labelled_texts(const std::string& path) {
  LabelledTexts all;
  all.source = path;
  const std::string file = InputFile(path).read_text();
  std::int64_t classes = 0;
  for (std::size_t at = 0, line = 1; at < file.size(); ++line) {
    const std::size_t end = std::min(file.find('\n', at), file.size()), tab = file.find('\t', at);
    if (tab >= end || tab == at || tab > at + 6 || file.find_first_not_of("0123456789", at) < tab)
      fail_file(path, {"line ", line, " is not 'class number <tab> text'"});
    all.labels.push_back(std::stoll(file.substr(at, tab - at)));
    all.texts.push_back(file.substr(tab + 1, end - tab - 1));
    classes = std::max(classes, all.labels.back() + 1);
    at = end + 1;
  }
  if (all.texts.empty()) fail_file(path, "holds no texts");
  const std::size_t slash = path.find_last_of('/');
  const std::string names = (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + "classes.txt";
  if (::access(names.c_str(), F_OK) == 0) {
    all.class_names = read_lines(names);
    if (std::ssize(all.class_names) < classes)
      fail_file(names, {"names ", all.class_names.size(), " classes, but ", path, " has ", classes});
    all.class_names.resize(static_cast<std::size_t>(classes));
  }
  for (std::int64_t c = std::ssize(all.class_names); c < classes; ++c)
    all.class_names.push_back("class " + std::to_string(c));
  return all;
}

/// The words of a text: letters and digits in lower case, what stands between them separates. Bytes beyond ASCII count
/// as letters.
inline std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if ((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || (lower & 0x80))
      words.back() += lower;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

/// How words become numbers without a vocabulary.
struct HashedWords {
  Index buckets = 4096;  ///< numbers that there are for words; two words may share one
  Index length = 32;     ///< words of a text that are read
  /// Entries of a table of token vectors: no word, and the buckets.
  Index entries() const { return buckets + 1; }
};

/// Token ids [texts, length]: a word's number is 1 + CRC-32(word) mod buckets, 0 is no word; of longer texts the first
/// words are taken. No vocabulary: a word means the same in all data sets, those unseen in training among them
/// (Weinberger, Dasgupta, Langford, Smola, Attenberg, "Feature hashing for large scale multitask learning", ICML 2009).
/// Throws ValueError for less than one bucket or word, and for 2^24 buckets or more.
inline Tensor<std::int64_t> hashed_words(const std::vector<std::string>& texts, const HashedWords& o = {},
                                         Site site = Site::current()) {
  if (o.buckets < 1 || o.length < 1 || o.entries() > Index{1} << 24)
    fail("hashed_words", {o.buckets, " buckets, ", o.length, " words"}, {}, site);
  List<std::int64_t> ids(static_cast<Index>(texts.size()) * o.length);
  Index text = 0;
  for (const std::string& own : texts) {
    Index at = text++ * o.length;
    const Index end = at + o.length;
    for (const std::string& word : words_of(own)) {
      if (at == end) break;
      ids[at++] = 1 + static_cast<std::int64_t>(crc32(std::as_bytes(std::span(word)))) % o.buckets;
    }
  }
  return from_vector(ids, {static_cast<Index>(texts.size()), o.length}, site);
}

/// Texts as items [length] of hashed words. Throws as `hashed_words`, and FileError for labels that fit neither texts
/// nor names.
inline ItemSet text_items(const LabelledTexts& all, const HashedWords& o = {}, Site site = Site::current()) {
  if (all.texts.size() != all.labels.size())
    fail_file(all.source, {"has ", all.labels.size(), " labels for ", all.texts.size(), " texts"});
  return token_items(hashed_words(all.texts, o, site), from_vector(all.labels), all.class_names, all.source, site);
}

/// Sizes of `make_intents`.
struct IntentOptions {
  Index domain = 0;  ///< what is talked about: 0 a bank, 1 a journey
  Index texts = 30;  ///< of each class
};

/// Generated requests, "could you please stop my debit card today", of 36 classes: what is asked for, an action and a
/// thing, each said in several words that other classes say too; what is around them says nothing. Text number i of a
/// class depends on (random, class, i) only. Throws ValueError for another domain or a negative number of texts.
inline LabelledTexts make_intents(const Random& random, const IntentOptions& o = {}, Site site = Site::current()) {
  using Said = std::array<const char*, 3>;
  constexpr std::array<const char*, 8> opening{"",           "please ",   "can you ",         "could you please ",
                                               "i want to ", "how do i ", "i would like to ", "help me to "};
  constexpr std::array<const char*, 4> before{"my ", "the ", "this ", "that new "};
  constexpr std::array<const char*, 6> closing{"",      " today", " for me", " as soon as possible", " before monday",
                                               " again"};
  constexpr std::array<Said, 6> actions{Said{"order", "request", "get"},    Said{"cancel", "stop", "call off"},
                                        Said{"change", "update", "switch"}, Said{"find", "locate", "track"},
                                        Said{"pay for", "settle", "cover"}, Said{"share", "send", "pass on"}};
  constexpr std::array<std::array<Said, 6>, 2> things{
      {{Said{"card", "debit card", "plastic"}, Said{"account", "savings", "deposit"},
        Said{"transfer", "wire", "payment"}, Said{"statement", "report", "overview"}, Said{"pin", "code", "password"},
        Said{"loan", "credit", "mortgage"}},
       {Said{"flight", "plane", "connection"}, Said{"hotel", "room", "stay"}, Said{"train", "rail pass", "coach"},
        Said{"luggage", "suitcase", "bag"}, Said{"seat", "place", "berth"}, Said{"visa", "permit", "papers"}}}};
  if (o.domain < 0 || o.domain > 1 || o.texts < 0)
    fail("make_intents", {"domain ", o.domain, ", ", o.texts, " texts a class"}, {}, site);
  LabelledTexts all;
  all.source = "the generated requests";
  for (const Said& action : actions)
    for (const Said& thing : things[static_cast<std::size_t>(o.domain)]) {
      const auto own = std::ssize(all.class_names);
      all.class_names.push_back(std::string(action[0]) + " " + thing[0]);
      for (Index i = 0; i < o.texts; ++i) {
        const Random draw = random.stream("intent", own).stream(static_cast<std::uint64_t>(i));
        const auto one = [&draw](std::uint64_t place, const auto& of) {
          return std::string(of[static_cast<std::size_t>(draw.below(place, std::ssize(of)))]);
        };
        all.texts.push_back(one(0, opening) + one(1, action) + " " + one(2, before) + one(3, thing) + one(4, closing));
        all.labels.push_back(own);
      }
    }
  return all;
}

}  // namespace GRAFT_ABI
}  // namespace graft
