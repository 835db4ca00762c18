#pragma once
// Trees of tensors in files: models, optimiser states, whole training states. A checkpoint is an .npz file with one
// array a tensor, under its dotted name; names that begin with '@' are its own: '@version', '@frozen' (names of frozen
// tensors, one a line) and '@meta/NAME'. It is written to a new file, which takes the name when it is complete.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graft/io/npz.hpp"
#include "graft/model/fields.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Version of the checkpoint format that this library writes. It reads this one and all before.
inline constexpr std::int64_t kCheckpointVersion = 1;

/// What a checkpoint holds besides tensors: steps done, seeds, best scores, options.
using Metadata = std::map<std::string, std::variant<std::int64_t, std::uint64_t, double, std::string>>;

namespace detail {

inline std::string checkpoint_name(const std::string& path) { return path.empty() ? "tensor" : path; }

inline Array text_array(const std::string& text) {
  return make_array(std::vector<std::uint8_t>(text.begin(), text.end()), {static_cast<Index>(text.size())});
}
inline std::string text_of(const Array& array) {
  const auto bytes = array.as<std::uint8_t>();
  return {bytes.begin(), bytes.end()};
}

template <class T>
Array scalar_array(T value) {
  return make_array(std::vector<T>{value}, {});
}
template <class T>
T scalar_of(const Array& array) {
  return array.with_shape({}).as<T>()[0];
}

inline Metadata read_metadata(const ArrayFile& file) {
  Metadata metadata;
  for (const auto& [name, array] : file.arrays) {
    if (name.compare(0, 6, "@meta/") != 0) continue;
    auto& value = metadata[name.substr(6)];
    if (array.dtype == "<i8")
      value = scalar_of<std::int64_t>(array);
    else if (array.dtype == "<u8")
      value = scalar_of<std::uint64_t>(array);
    else if (array.dtype == "<f8")
      value = scalar_of<double>(array);
    else if (array.dtype == "|u1")
      value = text_of(array);
    else
      array.fail({"dtype '", array.dtype, "' is none of a checkpoint's metadata"});
  }
  return metadata;
}

/// Throws FileError unless the file is a checkpoint of a version that can be read.
inline void check_version(const ArrayFile& file) {
  if (!file.contains("@version")) fail_file(file.path, "is not a checkpoint (it has no array '@version')");
  const std::int64_t version = scalar_of<std::int64_t>(file.at("@version"));
  if (version < 1 || version > kCheckpointVersion)
    fail_file(file.path, {"has checkpoint version ", version, ", this library reads 1 to ", kCheckpointVersion});
}

}  // namespace detail

namespace detail {

GRAFT_ONCE void save_leaves(const std::string& path, const LeafList& leaves, const Metadata& metadata) {
  std::map<std::string, Array> arrays;
  std::string frozen;
  const std::vector<std::string> names = leaves.names();
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].tensor->defined()) continue;
    const std::string name = checkpoint_name(names[i]);
    if (arrays.count(name)) fail("save_checkpoint", {"the tree has two tensors named '", name, "'"});
    with_element_type(leaves[i], [&]<class T>() {
      const Tensor<T>& tensor = leaves[i].as<T>();
      arrays.emplace(name, make_array(host(tensor), tensor.shape()));
      if (tensor.frozen()) frozen += name + "\n";
    });
  }
  arrays.emplace("@version", scalar_array(kCheckpointVersion));
  arrays.emplace("@frozen", text_array(frozen));
  for (const auto& [name, value] : metadata)
    arrays.emplace("@meta/" + name, std::visit(
                                        [](const auto& v) {
                                          if constexpr (std::is_same_v<std::decay_t<decltype(v)>, std::string>)
                                            return text_array(v);
                                          else
                                            return scalar_array(v);
                                        },
                                        value));
  write_npz(path, arrays);
}
GRAFT_HELD(void save_leaves<>(const std::string&, const LeafList&, const Metadata&))

GRAFT_ONCE Metadata load_leaves(const std::string& path, const LeafList& leaves) {
  const ArrayFile file = read_npz(path);
  check_version(file);
  Metadata metadata = read_metadata(file);
  const std::string frozen = "\n" + text_of(file.at("@frozen"));

  std::vector<AnyTensor> loaded(leaves.size());
  std::map<std::string, bool> expected;
  const std::vector<std::string> names = leaves.names();
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].tensor->defined()) continue;
    const std::string name = checkpoint_name(names[i]);
    if (!file.contains(name)) fail_file(path, {"has no array '", name, "', which the tree has"});
    with_element_type(leaves[i], [&]<class T>() {
      const Shape& shape = leaves[i].as<T>().shape();
      const Array& array = file.at(name).with_shape(shape);
      Tensor<T> value = from_span(array.as<T>(), shape);
      value.body()->frozen = frozen.find("\n" + name + "\n") != std::string::npos;
      loaded[i] = std::move(value);
    });
    expected[name] = true;
  }
  for (const std::string& name : file.names())
    if (name.compare(0, 1, "@") != 0 && !expected.count(name))
      fail_file(path, {"has an array ", in_quotes(name), ", which the tree has not"});

  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (loaded[i].defined()) *leaves[i].tensor = std::move(loaded[i]);
  return metadata;
}
GRAFT_HELD(Metadata load_leaves<>(const std::string&, const LeafList&))

}  // namespace detail

/// Writes every tensor and buffer of the tree, the frozen marks and the metadata. Equal contents give equal bytes. An
/// older file of that name stays as it was until the new one is complete. Throws FileError when it cannot be written.
template <class M>
void save_checkpoint(const std::string& path, const M& tree, const Metadata& metadata = {}) {
  detail::save_leaves(path, detail::leaves_of(tree), metadata);
}

/// Replaces the tensors and buffers of the tree by those of the file, and their frozen marks; returns the metadata. The
/// file must hold exactly the tree's names, shapes and element types. Throws FileError of one line, naming the file and
/// the reason, and then leaves the tree as it was.
template <class M>
Metadata load_checkpoint(const std::string& path, M& tree) {
  return detail::load_leaves(path, detail::leaves_of(tree));
}

/// The metadata of a checkpoint alone: to construct the tree that the rest is loaded into.
GRAFT_ONCE Metadata read_checkpoint_metadata(const std::string& path) {
  const ArrayFile file = read_npz(path);
  detail::check_version(file);
  return detail::read_metadata(file);
}
GRAFT_HELD(Metadata read_checkpoint_metadata<>(const std::string&))

}  // namespace GRAFT_ABI
}  // namespace graft
