#pragma once
// Published weights into models: arrays by dotted name from a file that somebody else wrote. Checkpoints, which hold
// whole training states exactly, are in io/checkpoint.hpp.

#include <string>
#include <utility>
#include <vector>

#include "graft/io/npz.hpp"
#include "graft/model/fields.hpp"
#include "graft/model/names.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which names of a file `load_weights` looks at, and what must be there.
struct LoadWeightsOptions {
  std::string prefix = {};  ///< of the file's names, "bert.encoder": only names that begin so are looked at, without it
  bool strict = true;       ///< the file must hold a value for every tensor, and nothing else below the prefix
  /// Where the file's names differ; each acts on what those before it made of a name. The models that have published
  /// twins bring theirs (`bert_names`, `gpt2_names`).
  std::span<const PublishedName> names = {};
  std::vector<std::string> ignore = {};  ///< arrays (without the prefix) that may be in the file and not in the model
};

/// What `load_weights` did not match, by name.
struct LoadWeightsReport {
  std::vector<std::string> missing;  ///< tensors of the model that the file has not; they stay as they were
  std::vector<std::string> unused;   ///< arrays of the file (without the prefix) that the model has not
};

namespace detail {

/// Where a file holds a tensor of a model: the names of its parts, and whether its rows are the parts' columns.
struct PublishedPlace {
  std::vector<std::string> names;
  bool transposed = false;
};
inline PublishedPlace published_place(const std::string& name, std::span<const PublishedName> rules) {
  PublishedPlace place{{name}};
  for (const PublishedName& rule : rules) {
    std::vector<std::string> next;
    for (const std::string& one : place.names) {
      const std::size_t at = one.find(rule.here);
      if (at == std::string::npos) {
        next.push_back(one);
        continue;
      }
      for (const std::string& there : rule.there)
        next.push_back(one.substr(0, at) + there + one.substr(at + rule.here.size()));
      place.transposed = place.transposed || rule.transposed;
    }
    place.names = std::move(next);
  }
  return place;
}

/// An array as a tensor of that shape; `turned`: it holds the transpose of a matrix. Errors: FileError.
template <Element T>
Tensor<T> shaped(const Array& array, const Shape& shape, bool turned) {
  if constexpr (Real<T>)
    if (turned && shape.rank() == 2) return transpose(to_tensor<T>(array.with_shape({shape[1], shape[0]})));
  return to_tensor<T>(array.with_shape(shape));
}
/// The arrays one after another along the leading axis, as a tensor of that shape. Errors: FileError.
template <Element T>
Tensor<T> joined(const std::vector<const Array*>& parts, const Shape& shape, bool turned) {
  if (parts.size() == 1) return shaped<T>(*parts[0], shape, turned);
  std::vector<T> values;
  for (const Array* part : parts) {
    Shape expected = shape;
    if (shape.rank() > 0) expected[0] = shape[0] / static_cast<Index>(parts.size());
    const Tensor<T> numbers = shaped<T>(*part, expected, turned);
    values.insert(values.end(), host(numbers).begin(), host(numbers).end());
  }
  return from_vector(std::move(values), shape);
}

[[gnu::noinline]] inline LoadWeightsReport load_weights(const ArrayFile& file, const LeafList& leaves,
                                                        const LoadWeightsOptions& options) {
  const std::string before = options.prefix.empty() ? "" : options.prefix + ".";
  const std::vector<std::string> names = leaves.names();
  LoadWeightsReport report;
  std::vector<AnyTensor> loaded(leaves.size());
  std::vector<std::string> found;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].tensor->defined()) continue;
    std::vector<const Array*> parts;
    const PublishedPlace place = published_place(names[i].empty() ? "tensor" : names[i], options.names);
    for (const std::string& part : place.names) {
      if (!file.contains(before + part)) continue;
      found.push_back(before + part);
      parts.push_back(&file.at(before + part));
    }
    if (parts.empty()) {
      report.missing.push_back(names[i]);
      continue;
    }
    with_element_type(leaves[i],
                      [&]<class T>() { loaded[i] = joined<T>(parts, leaves[i].as<T>().shape(), place.transposed); });
  }
  for (const std::string& name : file.names()) {
    if (name.compare(0, before.size(), before) != 0 || name[0] == '@') continue;  // '@': a checkpoint's own
    bool used = false;
    for (const std::string& one : found) used = used || one == name;
    for (const std::string& one : options.ignore) used = used || before + one == name;
    if (!used) report.unused.push_back(name.substr(before.size()));
  }
  if (options.strict && !(report.missing.empty() && report.unused.empty())) {
    std::string text;
    const auto list = [&](const char* what, const std::vector<std::string>& entries) {
      for (const std::string& entry : entries) text += (&entry == &entries[0] ? what : ", ") + in_quotes(entry);
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
template <class M>
LoadWeightsReport load_weights(const ArrayFile& file, M& model, const LoadWeightsOptions& options = {}) {
  return detail::load_weights(file, detail::leaves_of(model), options);
}
/// The same from an .npz file, as `numpy.savez(file, **weights)` writes it. Throws FileError, too, for a file that
/// cannot be read.
template <class M>
LoadWeightsReport load_weights(const std::string& path, M& model, const LoadWeightsOptions& options = {}) {
  return detail::load_weights(read_npz(path), detail::leaves_of(model), options);
}

}  // namespace GRAFT_ABI
}  // namespace graft
