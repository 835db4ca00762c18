#pragma once
// Images of the ten digits from files of several sources, as items that look alike to a model.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "graft/data/item_set.hpp"
#include "graft/io/npz.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Reads the digits of an .npz file, bright on dark, in one of the layouts
///
///     images,       labels                              uint8 [images, height, width], integers [images] in 0 .. 9
///     train_images, train_labels, test_images, test_labels          the same twice, of which the set holds both
///
/// as items [size, size, 1] with ink in [0, 1], area-averaged; ten classes, "digit 0" to "digit 9". The largest value
/// of the file is full ink (some sources have 256 levels of grey, some 17), rounded to 1 / 255. Errors: FileError for a
/// file that `read_npz` refuses, an array that is missing or has another type or shape, parts of different sizes, a
/// label that is no digit, no images or no ink. Throws ValueError for a size below 1.
inline ItemSet load_digits(const std::string& path, Index size = 28, Site site = Site::current()) {
  const ArrayFile file =
      read_npz(path, {"images", "labels", "train_images", "train_labels", "test_images", "test_labels"});
  std::vector<std::uint8_t> bytes;
  std::vector<std::int64_t> labels;
  Index height = -1, width = -1;
  const auto read = [&](const std::string& part) {
    const Array& images = file.at(part + "images").with_shape({-1, height, width});
    const auto pixels = images.as<std::uint8_t>();
    height = images.shape[1];
    width = images.shape[2];
    bytes.insert(bytes.end(), pixels.begin(), pixels.end());
    const auto own = file.at(part + "labels").with_shape({images.shape[0]}).converted<std::int64_t>();
    labels.insert(labels.end(), own.begin(), own.end());
  };
  if (file.contains("images") || !file.contains("train_images")) {
    read("");
  } else {
    read("train_");
    read("test_");
  }
  const unsigned most = bytes.empty() ? 0 : *std::max_element(bytes.begin(), bytes.end());
  if (most == 0) fail_file(path, bytes.empty() ? "holds no images" : "holds no ink: all pixels are 0");
  for (std::uint8_t& level : bytes) level = static_cast<std::uint8_t>((level * 255u + most / 2) / most);
  std::vector<std::string> names;
  for (int digit = 0; digit < 10; ++digit) names.push_back("digit " + std::to_string(digit));
  return image_items(bytes, height, width, size, from_vector(labels), names, path, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
