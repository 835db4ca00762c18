#pragma once
// Drawings in PNG files, by libpng's simplified interface: 1 to 16 bits, grey, colour or palette, interlaced or not.

#include <png.h>

#include <limits>

#include "graft/data/resize.hpp"
#include "graft/io/file.hpp"

namespace examples {

using namespace graft;

/// A drawing as [size, size, 1] with ink in [0, 1]: dark on light paper, or light on dark if `inverted`. Colours become
/// grey and what is transparent lets white paper through, as light mixes; then the area is averaged (`area_average`).
/// Errors: FileError that names the file: it is no PNG, damaged, of more than 64 MiB or less than 8 or more than 8192
/// pixels a side, or shows one shade only.
inline Tensor<> read_png(const std::string& path, Index size, bool inverted) {
  const InputFile file(path);
  if (file.size() > Index{64} << 20) fail_file(path, {"has ", file.size() >> 20, " MiB, at most 64 are read"});
  const std::string bytes = file.read_text();
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, std::data(bytes), bytes.size()))
    fail_file(path, {"cannot be read as a PNG image: ", image.message});
  const Index height = image.height, width = image.width;
  if (std::min(height, width) < 8 || std::max(height, width) > 8192) {
    png_image_free(&image);
    fail_file(path, {"is ", width, " x ", height, " pixels, expected 8 to 8192 a side"});
  }
  image.format = PNG_FORMAT_GRAY;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // as programs write them that do not say
  const png_color white{255, 255, 255};
  std::vector<png_byte> grey(height * width);
  if (!png_image_finish_read(&image, &white, std::data(grey), 0, nullptr))
    fail_file(path, {"is damaged: ", image.message});
  const auto [least, most] = std::minmax_element(grey.begin(), grey.end());
  if (*least == *most) fail_file(path, "is blank: all its pixels are the same");
  std::vector<float> ink;
  for (const png_byte value : grey) ink.push_back(static_cast<float>(inverted ? value : 255 - value) * (1.0f / 255));
  return reshape(area_average(from_vector(std::move(ink), {height, width}), size), {size, size, 1});
}

/// Writes a drawing of `size` x `size` bytes of ink as black on white, four times as large.
inline void write_png(const std::string& path, std::span<const std::uint8_t> ink, Index size) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = image.height = static_cast<png_uint_32>(4 * size);
  image.format = PNG_FORMAT_GRAY;
  std::string grey, bytes(static_cast<std::size_t>(64 * size * size + 4096), '\0');  // more than it takes
  for (Index y = 0; y < 4 * size; ++y)
    for (Index x = 0; x < 4 * size; ++x) grey += static_cast<char>(255 - ink[y / 4 * size + x / 4]);
  png_alloc_size_t length = bytes.size();
  if (!png_image_write_to_memory(&image, std::data(bytes), &length, 0, std::data(grey), 0, nullptr))
    fail_file(path, {"cannot be written: ", image.message});
  write_text(path, bytes.substr(0, length));
}

}  // namespace examples
