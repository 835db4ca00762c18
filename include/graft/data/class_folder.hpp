#pragma once
// Labelled items as people keep them: a folder with one sub-folder a class.
//
//     letters/alpha/1.png  letters/alpha/2.png  letters/beta/1.png ...        one image a file
//     flowers/setosa/measured.csv  flowers/virginica/some.npz ...             one vector a row

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "graft/data/episodes.hpp"
#include "graft/io/csv.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Items of one folder, and what each is called: its file, with the row where the file holds several.
struct FolderItems {
  Tensor<> x;  ///< [items, ...]
  std::vector<std::string> names;
};

/// Items of several classes: `labelled.y` are places in `class_names`, which are in alphabetical order.
struct ClassFolder {
  LabelledSet<> labelled;
  std::vector<std::string> class_names;
  ClassItems items;  ///< of each class
};

namespace detail {

/// What a folder holds, in alphabetical order; hidden entries (".DS_Store") are left out. Errors: FileError.
inline std::vector<std::filesystem::path> folder_entries(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(folder, error))
    fail_file(folder, fs::exists(folder, error) ? "is no folder" : "does not exist");
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().filename().string()[0] != '.') entries.push_back(at->path());
  if (error) fail_file(folder, {"cannot be read: ", error.message()});
  std::sort(entries.begin(), entries.end());
  return entries;
}

/// The rows [n, width] of a file of vectors. Of an .npz file the only array that it has, or "x". Errors: FileError.
inline Tensor<> vectors_of(const std::string& path, const std::string& extension, Index width) {
  Array array;
  if (extension == ".npz") {
    const ArrayFile file = read_npz(path);
    array = file.at(file.names().size() == 1 ? file.names()[0] : "x");
  } else {
    array = extension == ".npy" ? read_npy(path) : read_csv(path);
  }
  if (array.shape.rank() == 1) array.shape = {1, array.shape[0]};
  Tensor<> rows = to_tensor<float>(array.with_shape({-1, width}));
  Index at = 0;
  for (const float value : host(rows)) {
    if (!std::isfinite(value)) array.fail({"number ", at % width, " of row ", at / width, " is ", value});
    ++at;
  }
  return rows;
}

}  // namespace detail

/// The items that lie in `folder` itself, files in alphabetical order. `item` is the shape of one: [size, size, 1],
/// then the files are images, each read by `read_image(path)` -> that shape; or [width], then the files are .csv
/// (`read_csv`), .npy or .npz (its array "x", or the only one) and hold [n, width] or [width] numbers. Hidden files are
/// left out. Errors: FileError that names the folder or the file: it is missing, holds no items, a sub-folder, a file
/// of another kind, one that cannot be read, numbers that are not finite or an item of another shape.
template <class ReadImage>
FolderItems read_folder(const std::string& folder, const Shape& item, ReadImage read_image) {
  const bool images = item.rank() == 3;
  FolderItems found;
  std::vector<Tensor<>> parts;
  for (const std::filesystem::path& path : detail::folder_entries(folder)) {
    const std::string file = path.string(), name = path.filename().string();
    std::string extension = path.extension().string();
    for (char& letter : extension)
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    if (std::filesystem::is_directory(path)) fail_file(file, "is a folder, where files of items are expected");
    if (images ? extension != ".png" : extension != ".csv" && extension != ".npy" && extension != ".npz")
      fail_file(file, {"is none of ", images ? ".png, and images are expected" : ".csv, .npy and .npz, and vectors of ",
                       images ? "" : detail::as_text(item[0]) + " numbers are expected"});
    if (images) {
      const Tensor<> image = read_image(file);
      parts.push_back(reshape(image, {1, item[0], item[1], item[2]}));
      found.names.push_back(name);
      continue;
    }
    parts.push_back(detail::vectors_of(file, extension, item[0]));
    for (Index row = 1; row <= parts.back().size(0); ++row)
      found.names.push_back(parts.back().size(0) == 1 ? name : name + ":" + detail::as_text(row));
  }
  if (found.names.empty())
    fail_file(folder, {"holds no items; expected are files ", images ? ".png" : ".csv, .npy or .npz"});
  found.x = concat(parts, 0);
  return found;
}

/// The sub-folders of `folder` as classes, each as `read_folder` reads it. Errors: FileError as there; for a file
/// beside the sub-folders, whose class nobody knows; and for less than two classes.
template <class ReadImage>
ClassFolder read_class_folder(const std::string& folder, const Shape& item, ReadImage read_image) {
  ClassFolder found;
  std::vector<Tensor<>> parts;
  std::vector<std::int64_t> labels;
  for (const std::filesystem::path& path : detail::folder_entries(folder)) {
    if (!std::filesystem::is_directory(path))
      fail_file(path.string(), "is in none of the sub-folders, whose names are the classes");
    parts.push_back(read_folder(path.string(), item, read_image).x);
    List<Index> own;
    for (Index i = 0; i < parts.back().size(0); ++i) own.push_back(static_cast<Index>(labels.size()) + i);
    labels.insert(labels.end(), static_cast<std::size_t>(own.size()), std::ssize(found.class_names));
    found.items.push_back(std::move(own));
    found.class_names.push_back(path.filename().string());
  }
  if (found.class_names.size() < 2)
    fail_file(folder, {"has ", found.class_names.size(), " sub-folders; two classes or more are needed to tell apart"});
  found.labelled = {concat(parts, 0), from_vector(std::move(labels))};
  return found;
}

}  // namespace GRAFT_ABI
}  // namespace graft
