#pragma once
// Published weights into models: arrays by dotted name from a file that somebody else wrote. Checkpoints, which hold
// whole training states exactly, are in io/checkpoint.hpp.

#include <string>
#include <utility>
#include <vector>

#include "graft/io/npz.hpp"
#include "graft/model/fields.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which names of a file `load_weights` looks at, and what must be there.
struct LoadWeightsOptions {
  std::string prefix = {};  ///< of the file's names, "bert.encoder": only names that begin so are looked at, without it
  bool strict = true;       ///< the file must hold a value for every tensor, and nothing else below the prefix
};

/// What `load_weights` did not match, by name.
struct LoadWeightsReport {
  std::vector<std::string> missing;  ///< tensors of the model that the file has not; they stay as they were
  std::vector<std::string> unused;   ///< arrays of the file (without the prefix) that the model has not
};

namespace detail {

[[gnu::noinline]] inline LoadWeightsReport load_weights(const ArrayFile& file, const LeafList& leaves,
                                                        const LoadWeightsOptions& options) {
  const std::string before = options.prefix.empty() ? "" : options.prefix + ".";
  const std::vector<std::string> names = leaves.names();
  LoadWeightsReport report;
  std::vector<AnyTensor> loaded(leaves.size());
  std::vector<std::string> found;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].tensor->defined()) continue;
    const std::string name = before + (names[i].empty() ? "tensor" : names[i]);
    if (!file.contains(name)) {
      report.missing.push_back(names[i]);
      continue;
    }
    found.push_back(name);
    const Array& array = file.at(name);
    with_element_type(leaves[i],
                      [&]<class T>() { loaded[i] = to_tensor<T>(array.with_shape(leaves[i].as<T>().shape())); });
  }
  for (const std::string& name : file.names()) {
    if (name.compare(0, before.size(), before) != 0 || name[0] == '@') continue;  // '@': a checkpoint's own
    bool used = false;
    for (const std::string& one : found) used = used || one == name;
    if (!used) report.unused.push_back(name.substr(before.size()));
  }
  if (options.strict && !(report.missing.empty() && report.unused.empty())) {
    std::string text;
    const auto list = [&](const char* what, const std::vector<std::string>& entries) {
      for (const std::string& entry : entries) text += (&entry == &entries[0] ? what : ", ") + entry;
    };
    list("has no ", report.missing);
    list(report.missing.empty() ? "has, and the model has not, " : "; has, and the model has not, ", report.unused);
    fail_file(file.path, {text, " (.strict = false loads what fits)"});
  }
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (loaded[i].defined()) {
      loaded[i].body()->frozen = leaves[i].tensor->body()->frozen;
      *leaves[i].tensor = std::move(loaded[i]);
    }
  return report;
}

}  // namespace detail

/// Replaces tensors and buffers of the model by the arrays of a file of the same dotted names and shapes; elements are
/// converted, floats of 8 and 16 bits widened. Frozen marks stay. Returns what did not match. Throws FileError for a
/// shape that differs, and, if strict, for names without a match; the model is then as it was.
///
///     load_weights(read_safetensors("model.safetensors"), encoder, {.prefix = "bert.encoder"});
template <Model M>
LoadWeightsReport load_weights(const ArrayFile& file, M& model, const LoadWeightsOptions& options = {}) {
  return detail::load_weights(file, detail::leaves_of(model), options);
}
/// The same from an .npz file, as `numpy.savez(file, **weights)` writes it. Throws FileError, too, for a file that
/// cannot be read.
template <Model M>
LoadWeightsReport load_weights(const std::string& path, M& model, const LoadWeightsOptions& options = {}) {
  return load_weights(read_npz(path), model, options);
}

}  // namespace GRAFT_ABI
}  // namespace graft
