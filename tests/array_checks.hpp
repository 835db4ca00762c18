#pragma once
// What must hold of arrays that came out of a file.

#include "graft/io/array.hpp"

/// The array holds as many bytes as its type and shape say.
inline bool sound(const graft::Array& array) {
  return static_cast<graft::Index>(array.data.size()) == array.shape.count() * graft::detail::dtype_size(array.dtype);
}

/// Equal in everything that a file keeps.
inline bool same(const graft::Array& a, const graft::Array& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.data == b.data;
}
