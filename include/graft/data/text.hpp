#pragma once
// Text as numbers, character by character, for language models: a vocabulary, windows of a text, and sentences drawn
// from a grammar whose entropy is known.

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/random.hpp"
#include "graft/core/tensor.hpp"
#include "graft/io/json.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Calls visit(character, the byte where it begins). Throws ValueError for a byte that is not UTF-8.
template <class Visit>
void for_each_character(const char* op, std::string_view text, const Visit& visit, Site site) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) fail(op, {"byte ", at, " of the text is not UTF-8"}, {}, site);
    visit(text.substr(at, length), at);
    at += length;
  }
}

}  // namespace detail

/// The different characters of a text, numbered from 0 in the order of their codes.
class CharacterVocabulary {
 public:
  /// Throws ValueError for text that is empty or not UTF-8.
  explicit CharacterVocabulary(std::string_view text, Site site = Site::current()) {
    if (text.empty()) fail("CharacterVocabulary", "of no text", {}, site);
    detail::for_each_character(
        "CharacterVocabulary", text, [&](std::string_view c, std::size_t) { ids_.emplace(c, 0); }, site);
    for (auto& [character, id] : ids_) {  // bytes of UTF-8 sort as the codes do
      id = size();
      characters_.push_back(character);
    }
  }

  Index size() const { return static_cast<Index>(characters_.size()); }

  /// The characters' numbers, [characters]. Throws ValueError for text that is not UTF-8, and for a character that is
  /// not in the vocabulary.
  Tensor<std::int64_t> encode(std::string_view text, Site site = Site::current()) const {
    List<std::int64_t> ids;
    detail::for_each_character(
        "CharacterVocabulary::encode", text,
        [&](std::string_view c, std::size_t at) {
          const auto found = ids_.find(c);
          if (found == ids_.end())
            fail("CharacterVocabulary::encode", {"'", c, "' at byte ", at, " is not among the ", size(), " characters"},
                 {}, site);
          ids.push_back(found->second);
        },
        site);
    return from_vector(ids);
  }
  /// The text of numbers, whatever their shape. Throws IndexError.
  std::string decode(const Tensor<std::int64_t>& ids, Site site = Site::current()) const {
    std::string text;
    for (const std::int64_t id : host(ids)) {
      if (id < 0 || id >= size())
        fail<IndexError>("CharacterVocabulary::decode", {"there is no character ", id, " of ", size()}, {}, site);
      text += characters_[static_cast<std::size_t>(id)];
    }
    return text;
  }

 private:
  std::map<std::string, std::int64_t, std::less<>> ids_;
  std::vector<std::string> characters_;
};

/// `count` windows of a text's tokens [tokens], each beginning anywhere with equal chance: [count, length]. Throws
/// ShapeError for fewer tokens than `length`, ValueError for a length below 1.
inline Tensor<std::int64_t> draw_windows(const Tensor<std::int64_t>& tokens, Index count, Index length,
                                         const Random& random, Site site = Site::current()) {
  if (length < 1) fail("draw_windows", {"length is ", length, ", expected 1 or more"}, {}, site);
  if (tokens.rank() != 1 || tokens.count() < length)
    fail<ShapeError>("draw_windows", {"expected tokens [tokens], at least ", length}, {{"tokens", tokens.shape()}},
                     site);
  const std::span<const std::int64_t> all = host(tokens);
  List<std::int64_t> drawn;
  for (Index i = 0; i < count; ++i) {
    const auto first = random.below(static_cast<std::uint64_t>(i), tokens.count() - length + 1);
    for (const std::int64_t token : all.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(length)))
      drawn.push_back(token);
  }
  return from_vector(drawn, {count, length}, site);
}

/// The text cut into windows that follow each other, each beginning with the last token of the one before, so that a
/// model foretells every token but the first once: [windows, length]; a rest that fills no window is left out. Throws
/// ShapeError if there is none, ValueError for a length below 2.
inline Tensor<std::int64_t> consecutive_windows(const Tensor<std::int64_t>& tokens, Index length,
                                                Site site = Site::current()) {
  if (length < 2) fail("consecutive_windows", {"length is ", length, ", expected 2 or more"}, {}, site);
  if (tokens.rank() != 1 || tokens.count() < length)
    fail<ShapeError>("consecutive_windows", {"expected tokens [tokens], at least ", length},
                     {{"tokens", tokens.shape()}}, site);
  const std::span<const std::int64_t> all = host(tokens);
  const Index count = (tokens.count() - 1) / (length - 1);
  return generate({count, length},
                  [&](Index i, Index j) { return all[static_cast<std::size_t>(i * (length - 1) + j)]; });
}

/// Text whose next character nobody can foretell better than its source.
struct SentenceText {
  std::string text;
  double entropy;  ///< of the source, in nats a character: no model's expected loss is lower
};

/// Sentences "the old fox sees the hen.\n": two nouns of eight, each behind "old", "red", "sly" or "wet" with chance
/// 1/2, and a verb of eight, all drawn alone. Words of a kind begin with different letters, so a letter tells the word.
inline SentenceText make_sentences(Index count, const Random& random) {
  constexpr const char *nouns[] = {"ant", "bear", "cat", "dog", "fox", "hen", "mouse", "pig"},
                       *verbs[] = {"asks", "bites", "calls", "finds", "hears", "likes", "meets", "sees"},
                       *adjectives[] = {"old", "red", "sly", "wet"};
  const auto mean_length = [](const auto& words) {
    double sum = 0;
    for (const std::string_view word : words) sum += static_cast<double>(word.size());
    return sum / static_cast<double>(std::size(words));
  };
  // "the " + noun, with chance 1/2 an adjective and a blank between them.
  const double phrase = 4 + (mean_length(adjectives) + 1) / 2 + mean_length(nouns);
  const double nats = std::log(2.0) + std::log(4.0) / 2 + std::log(8.0);
  SentenceText made{"", (2 * nats + std::log(8.0)) / (2 * phrase + mean_length(verbs) + 4)};
  for (Index i = 0; i < count; ++i) {
    const Random sentence = random.stream("sentence", i);
    std::uint64_t draws = 0;
    const auto any = [&](const auto& words) { return words[sentence.below(draws++, std::size(words))]; };
    const auto noun_phrase = [&] {
      made.text += "the ";
      if (sentence.below(draws++, 2) == 0) (made.text += any(adjectives)) += ' ';
      made.text += any(nouns);
    };
    noun_phrase();
    ((made.text += ' ') += any(verbs)) += ' ';
    noun_phrase();
    made.text += ".\n";
  }
  return made;
}

}  // namespace GRAFT_ABI
}  // namespace graft
