#pragma once
// One-shot tasks within an alphabet, drawn once and kept in a file, so that every method answers the same: the
// classification runs of Lake, Salakhutdinov, Tenenbaum, "Human-level concept learning through probabilistic program
// induction", Science 2015, and others made in their way from alphabets of one's own choice.

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/data/character_classes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Runs of as many support images as queries. 0 is background, 255 full ink.
struct OneShotRuns {
  std::vector<std::uint8_t> support, query;  ///< [runs, items, size, size]
  std::vector<std::int64_t> answers;         ///< [runs, items]: the place in the support of the query's class
  Index runs = 0, items = 0, size = 28;
  std::string source = {};  ///< the file, or where they come from, for errors

  /// A run as an episode of `items` ways and one shot: support item i is of class i. Ink in [0, 1], as
  /// `CharacterClasses` renders it. Throws IndexError.
  Episode<> episode(Index run, Site site = Site::current()) const {
    if (run < 0 || run >= runs) fail<IndexError>("OneShotRuns::episode", {"run ", run, " of ", runs}, {}, site);
    const auto images = [&](const std::vector<std::uint8_t>& of) {
      const auto count = items * size * size;
      List<float> ink(count);
      std::transform(of.begin() + run * count, of.begin() + (run + 1) * count, ink.begin(),
                     [](std::uint8_t pixel) { return static_cast<float>(pixel) * (1.0f / 255); });
      return from_vector(ink, {items, size, size, 1});
    };
    const auto labels =
        std::span(answers).subspan(static_cast<std::size_t>(run * items), static_cast<std::size_t>(items));
    return {{images(support), episode_labels(items, 1)}, {images(query), from_span(labels, {items})}, items};
  }
};

/// What the runs are, for comparison: checksums of the images and of the answers, by name.
inline std::vector<std::pair<std::string, std::string>> fingerprints(const OneShotRuns& runs) {
  return {{"run support", fingerprint(runs.support)},
          {"run queries", fingerprint(runs.query)},
          {"run answers", fingerprint(runs.answers)}};
}

/// Reads an .npz file in the layout
///
///     support   uint8  [runs, items, size, size]   0 background, 255 ink
///     query     uint8  [runs, items, size, size]
///     answers   int64  [runs, items]               in [0, items): the place in the support of the query's class
///
/// with size 28 for the runs of Lake. Errors: FileError for a file that `read_npz` refuses, an array that is missing or
/// has another dtype or shape, no runs or items, an answer out of range, and images that are more ink than background,
/// as those are that have ink 0.
inline OneShotRuns load_runs(const std::string& path) {
  const ArrayFile file = read_npz(path, {"support", "query", "answers"});
  const Array& support = file.at("support").with_shape({-1, -1, -1, -1});
  OneShotRuns runs{{}, {}, {}, support.shape[0], support.shape[1], support.shape[2], path};
  if (support.shape.count() == 0 || support.shape[2] != support.shape[3])
    support.fail({"shape is ", to_string(support.shape), ", expected [runs, items, size, size] with squares"});
  for (const auto& [name, images] : {std::pair("support", &runs.support), std::pair("query", &runs.query)}) {
    const Array& array = file.at(name).with_shape(support.shape);
    const auto pixels = array.as<std::uint8_t>();
    images->assign(pixels.begin(), pixels.end());
    double ink = 0;
    for (const std::uint8_t pixel : *images) ink += pixel / 255.0;
    const double share = ink / static_cast<double>(images->size());
    if (share > 0.5)
      array.fail({"is ", static_cast<int>(100 * share),
                  " % ink, expected 0 for background and 255 for ink: ", "store 255 - x"});
  }
  const Array& answers = file.at("answers").with_shape({runs.runs, runs.items});
  const auto places = answers.as<std::int64_t>();
  runs.answers.assign(places.begin(), places.end());
  for (std::size_t i = 0; i < runs.answers.size(); ++i)
    if (runs.answers[i] < 0 || runs.answers[i] >= runs.items)
      answers.fail({"element ", i, " is ", runs.answers[i], ", outside [0, ", runs.items, ")"});
  return runs;
}

/// How many images of the runs are among those of `items` of these classes, by a hash of their pixels.
inline Index images_among(const OneShotRuns& runs, const ItemSet& items, const std::vector<std::vector<Index>>& tasks) {
  const Index size = runs.size * runs.size;
  const auto hash = [size](const Tensor<>& x, Index i) {
    const float* pixels = std::data(host(x)) + i * size;
    return std::hash<std::string_view>()(
        {reinterpret_cast<const char*>(pixels), static_cast<std::size_t>(size) * sizeof(float)});
  };
  std::vector<std::size_t> seen;
  for (const std::vector<Index>& classes : tasks)
    for (const Index c : classes) {
      const List<Index>& own = items.items[c];
      if (own.empty()) continue;
      const std::vector<Index> of(own.size(), c);
      const Tensor<> x = items.inputs({std::data(own), static_cast<std::size_t>(own.size())}, of);
      if (x.count() != own.size() * size) continue;  // of another size
      for (Index i = 0; i < own.size(); ++i) seen.push_back(hash(x, i));
    }
  std::sort(seen.begin(), seen.end());
  Index shared = 0;
  for (Index run = 0; run < runs.runs; ++run) {
    const Episode<> episode = runs.episode(run);
    for (const Tensor<>* x : {&episode.support.x, &episode.query.x})
      for (Index i = 0; i < runs.items; ++i)
        shared += std::binary_search(seen.begin(), seen.end(), hash(*x, i));
  }
  return shared;
}

/// Writes runs in the layout of `load_runs`. Errors: FileError if the file cannot be written, ShapeError if there are
/// not as many pixels and answers as `runs`, `items` and `size` say.
inline void write_runs(const std::string& path, const OneShotRuns& runs) {
  const Shape images{runs.runs, runs.items, runs.size, runs.size};
  write_npz(path, {{"support", make_array(runs.support, images)},
                   {"query", make_array(runs.query, images)},
                   {"answers", make_array(runs.answers, {runs.runs, runs.items})}});
}

/// Runs of characters of the named alphabets, `each` of every alphabet, one alphabet after the other, made as Lake et
/// al. made theirs: `items` characters of the alphabet as one person drew them are the support, the same characters by
/// another person the queries, in a random order. Characters and persons are drawn at random: run r of an alphabet
/// depends on (random, its name, r) only. Errors: FileError for an unknown alphabet, one with fewer characters, and one
/// of whose chosen characters no two persons drew all; ValueError for numbers below 1.
inline OneShotRuns make_lake_runs(const CharacterClasses& characters, const std::vector<std::string>& alphabets,
                                  Index each, const Random& random, Index items = 20, Site site = Site::current()) {
  if (each < 1 || items < 1) fail("make_lake_runs", {each, " runs of ", items, " items"}, {}, site);
  const CharacterImages& data = characters.images();
  const std::string& source = characters.source();
  OneShotRuns made{{}, {}, {}, each * static_cast<Index>(alphabets.size()), items, data.height, source};
  for (const std::string& name : alphabets) {
    const auto found = std::find(data.alphabet_names.begin(), data.alphabet_names.end(), name);
    if (found == data.alphabet_names.end()) detail::fail_no_alphabet(source, name, data.alphabet_names);
    std::vector<Index> own;  // the alphabet's characters
    for (Index c = 0; c < data.character_count(); ++c)
      if (data.character_alphabet[static_cast<std::size_t>(c)] == found - data.alphabet_names.begin()) own.push_back(c);
    if (static_cast<Index>(own.size()) < items)
      fail_file(source, {"alphabet ", name, " has ", own.size(), " characters, runs have ", items});
    for (Index r = 0; r < each; ++r) {
      const Random draw = random.stream(name).stream(static_cast<std::uint64_t>(r));
      List<Index> place(data.character_count(), -1);  // of chosen characters
      Index chosen = 0;
      for (const Index at : draw.stream("characters").permutation(static_cast<Index>(own.size()), items))
        place[own[static_cast<std::size_t>(at)]] = chosen++;
      // (person, place of the character, image): a person who drew all characters has a row of places without a gap.
      std::vector<std::array<Index, 3>> drawings;
      for (Index i = 0; i < data.image_count(); ++i)
        if (const Index at = place[data.character_id[static_cast<std::size_t>(i)]]; at >= 0)
          drawings.push_back({data.drawer_id[static_cast<std::size_t>(i)], at, i});
      std::sort(drawings.begin(), drawings.end());
      List<List<Index>> of_person;  // images in the order of places
      for (std::size_t begin = 0, end = 0; begin < drawings.size(); begin = end) {
        List<Index> images;
        for (; end < drawings.size() && drawings[end][0] == drawings[begin][0]; ++end)
          if (drawings[end][1] == images.size()) images.push_back(drawings[end][2]);
        if (images.size() == items) of_person.push_back(std::move(images));
      }
      if (of_person.size() < 2)
        fail_file(source, {"alphabet ", name, ": no two persons drew all ", items, " characters of a run"});
      const std::vector<Index> persons = draw.stream("persons").permutation(of_person.size(), 2);
      const auto copy = [&](Index person, Index at, std::vector<std::uint8_t>& to) {
        const auto image = data.image(of_person[person][at], site);
        to.insert(to.end(), image.begin(), image.end());
      };
      for (Index at = 0; at < items; ++at) copy(persons[0], at, made.support);
      for (const Index at : draw.stream("order").permutation(items)) {
        copy(persons[1], at, made.query);
        made.answers.push_back(at);
      }
    }
  }
  return made;
}

}  // namespace GRAFT_ABI
}  // namespace graft
