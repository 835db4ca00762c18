#pragma once
// Images of any size made those of one size.

#include <algorithm>
#include <vector>

#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// [size, length]: row i holds the shares of the old pixels in new pixel i, when `length` old ones lie in the middle of
/// `side` that become `size`.
inline Tensor<> area_shares(Index length, Index side, Index size) {
  const double each = static_cast<double>(side) / static_cast<double>(size);
  const double before = 0.5 * static_cast<double>(side - length);
  std::vector<float> shares(static_cast<std::size_t>(size * length));
  for (Index i = 0; i < size; ++i) {
    const double from = each * static_cast<double>(i) - before, to = each * static_cast<double>(i + 1) - before;
    for (Index p = std::max(Index{0}, static_cast<Index>(from)); p < length && static_cast<double>(p) < to; ++p) {
      const double covered = std::min(to, static_cast<double>(p + 1)) - std::max(from, static_cast<double>(p));
      shares[static_cast<std::size_t>(i * length + p)] = static_cast<float>(std::max(covered, 0.0) / each);
    }
  }
  return from_vector(std::move(shares), {size, length});
}

}  // namespace detail

/// Images [..., height, width] -> [..., size, size] by exact area averaging: a new pixel is the mean of the image over
/// its square, old pixels counted by the part of them that lies in it. An image that is not square keeps its shape: it
/// fills the square the long way and lies in its middle, with 0 on both sides. Throws ShapeError for less than two axes
/// and ValueError for an image without pixels or a size below 1.
inline Tensor<> area_average(const Tensor<>& images, Index size, Site site = Site::current()) {
  if (images.rank() < 2)
    fail<ShapeError>("area_average", "expected images [..., height, width]", {{"images", images.shape()}}, site);
  const Index height = images.size(images.rank() - 2), width = images.size(images.rank() - 1);
  if (size < 1 || height < 1 || width < 1)
    fail("area_average", {"to ", size, " pixels a side"}, {{"images", images.shape()}}, site);
  const Index side = std::max(height, width);
  const Tensor<> rows = detail::area_shares(height, side, size), columns = detail::area_shares(width, side, size);
  return matmul(matmul(rows, images, {}, site), transpose(columns), {}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
