#pragma once
// What a saved learner was trained on: fewshot writes it, classify finds the classes that were held back by it.

#include "graft/data/few_shot_data.hpp"
#include "graft/io/checkpoint.hpp"
#include "options.hpp"

namespace examples {

using namespace graft;

/// What decides a program's few-shot data.
struct DataSource {
  std::string data = "glyphs", eval = {};
  CharacterProtocol characters = {};
  std::uint64_t seed = 1;
};

inline FewShotData load(const DataSource& from) {
  return load_few_shot(from.data, from.eval, from.characters, Random(from.seed).stream("data"));
}

/// A checksum of the content of all parts.
inline std::string content_of(const FewShotData& data) {
  std::string lines;
  for (const auto& [name, value] : data.fingerprints()) lines += name + " " + value + "\n";
  return fingerprint(lines);
}

/// For `save_learner`.
inline Metadata about_data(const DataSource& from, const FewShotData& data) {
  return {{"data", from.data},
          {"data eval", from.eval},
          {"data within", std::int64_t{from.characters.within}},
          {"data held back", std::int64_t{from.characters.held_back}},
          {"data alphabets", with_commas(from.characters.train_alphabets)},
          {"data seed", from.seed},
          {"data content", content_of(data)}};
}

/// What was saved with a learner under that name, `otherwise` if nothing was.
template <class T>
T saved(const Metadata& about, const std::string& name, T otherwise) {
  const auto found = about.find(name);
  const T* value = found == about.end() ? nullptr : std::get_if<T>(&found->second);
  return value ? *value : otherwise;
}

/// The data that a learner was trained on, once more. Throws FileError when they are not what they were, and UsageError
/// when no class was held back from training to choose the model by.
inline FewShotData data_of_learner(const std::string& learner, const Metadata& about) {
  DataSource from{saved(about, "data", std::string()), saved(about, "data eval", std::string())};
  from.characters.within = saved(about, "data within", std::int64_t{0}) != 0;
  from.characters.held_back = saved(about, "data held back", std::int64_t{-1});
  from.seed = saved(about, "data seed", from.seed);
  if (!saved(about, "data alphabets", std::string()).empty())
    throw UsageError("--calibrate FOLDER of further classes is needed: " + learner +
                     " was validated on other drawings of the characters that it was trained on");
  FewShotData data = load(from);
  if (const std::string content = content_of(data); saved(about, "data content", content) != content)
    fail_file(from.data, {"is not what ", learner, " was trained on; give further classes by --calibrate"});
  return data;
}

}  // namespace examples
