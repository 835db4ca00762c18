#pragma once
// Pieces for the references of the op table: plain loops over numbers, independent of the ops.

#include <cstddef>
#include <span>
#include <vector>

#include "graft/core/tensor.hpp"

template <class T>
using Inputs = std::vector<graft::Tensor<T>>;

/// What a reference sees: numbers and shapes. Read them with .shape(), .span(), .at(); compute without graft's ops.
using Arrays = Inputs<double>;

/// A result of the given shape from its numbers in row-major order.
inline graft::Tensor<double> array(const graft::Shape& shape, const std::vector<double>& numbers) {
  return graft::from_vector(numbers, shape);
}

/// f on each number.
template <class F>
graft::Tensor<double> by_number(const graft::Tensor<double>& x, F f) {
  std::vector<double> out(x.span().begin(), x.span().end());
  for (double& number : out) number = f(number);
  return array(x.shape(), out);
}

/// f in place on each row, a span over the last axis.
template <class F>
graft::Tensor<double> by_row(const graft::Tensor<double>& x, F f) {
  std::vector<double> out(x.span().begin(), x.span().end());
  const auto width = static_cast<std::size_t>(x.size(-1));
  for (std::size_t at = 0; width > 0 && at < out.size(); at += width) f(std::span<double>(out.data() + at, width));
  return array(x.shape(), out);
}

/// Where element `flat` of an array of shape `out` reads an input of shape `in` that broadcasts to it.
inline std::size_t broadcast_offset(std::size_t flat, const graft::Shape& out, const graft::Shape& in) {
  std::size_t offset = 0, step = 1;
  for (int axis = 1; axis <= out.rank(); ++axis) {
    const auto size = static_cast<std::size_t>(out[-axis]);
    const std::size_t position = flat % size;
    flat /= size;
    if (axis > in.rank()) continue;
    if (in[-axis] != 1) offset += position * step;
    step *= static_cast<std::size_t>(in[-axis]);
  }
  return offset;
}

/// f(a, b) elementwise after broadcasting to `shape`.
template <class F>
graft::Tensor<double> by_pair(const graft::Shape& shape, const graft::Tensor<double>& a, const graft::Tensor<double>& b,
                              F f) {
  std::vector<double> out(shape.count());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = f(a.data()[broadcast_offset(i, shape, a.shape())], b.data()[broadcast_offset(i, shape, b.shape())]);
  return array(shape, out);
}

/// The shape that all inputs broadcast to.
inline graft::Shape joined(const Arrays& x) {
  graft::Shape shape = x[0].shape();
  for (const auto& other : x) {
    graft::Shape wider;
    broadcast_shapes(shape, other.shape(), wider);
    shape = wider;
  }
  return shape;
}

/// A place in an array, one index an axis.
using Position = std::vector<graft::Index>;

/// An array of the given shape from f(position).
template <class F>
graft::Tensor<double> by_position(const graft::Shape& shape, F f) {
  std::vector<double> out(shape.count());
  for (std::size_t flat = 0; flat < out.size(); ++flat) {
    Position at(static_cast<std::size_t>(shape.rank()));
    graft::Index rest = static_cast<graft::Index>(flat);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      at[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    out[flat] = f(at);
  }
  return array(shape, out);
}

/// Where a position lies in an array of that shape, in row-major order.
inline std::size_t flat_of(const Position& at, const graft::Shape& shape) {
  graft::Index offset = 0;
  for (int axis = 0; axis < shape.rank(); ++axis) offset = offset * shape[axis] + at[axis];
  return static_cast<std::size_t>(offset);
}
/// The number at a position.
inline double number_at(const graft::Tensor<double>& x, const Position& at) {
  return x.data()[flat_of(at, x.shape())];
}

/// The index on an axis that may be negative.
inline graft::Index& on(Position& at, const graft::Tensor<double>& x, int axis) {
  return at[axis < 0 ? axis + x.rank() : axis];
}
