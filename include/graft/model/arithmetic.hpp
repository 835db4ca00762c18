#pragma once
// A model is a value and an element of a vector space: sums, multiples, inner product and norm of whole trees of
// tensors. All arithmetic records, so `phi - alpha * grad(loss, phi)` can be differentiated. Only parameters (float and
// double tensors) take part: buffers, index tensors, configuration and frozen marks of a result are those of the left
// operand.

#include <type_traits>
#include <utility>
#include <vector>

#include "graft/model/names.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

template <class M>
[[noreturn, gnu::cold, gnu::noinline]] void fail_shapes(const char* op, const M& a, std::size_t i, const Shape& shape_a,
                                                        const Shape& shape_b, Site site) {
  const std::string name = parameter_name(a, i);
  fail<ShapeError>(op, {"shapes of ", name, " differ"}, {{"a", shape_a}, {"b", shape_b}}, site);
}

/// Throws unless every parameter of `b` has the shape of its twin in `a`.
template <class M>
void check_same_shapes(const char* op, const M& a, const M& b, Site site) {
  std::size_t i = 0;
  for_each_parameter(
      [&](const auto& x, const auto& y) {
        const Shape shape_x = x.defined() ? x.shape() : Shape(), shape_y = y.defined() ? y.shape() : Shape();
        if (x.defined() != y.defined() || !(shape_x == shape_y)) fail_shapes(op, a, i, shape_x, shape_y, site);
        ++i;
      },
      a, b);
}

}  // namespace detail

/// f(a, b, ...) tensor by tensor: f gets the parameters at the same place of models of equal structure and returns the
/// parameter of the result. `f` is generic in the tensor type and may broadcast:
/// `zip([](auto p, auto rate, auto g) { return p - rate * g; }, model, rates, gradient)`.
/// Throws ShapeError when lists have unequal lengths or a part is present in one model only.
template <class F, Model M, class... Ms>
M zip(F f, const M& first, const Ms&... others) {
  M result = first;
  for_each_parameter(
      [&](auto& leaf, const auto&... at) {
        if (leaf.defined()) leaf = detail::with_frozen_mark(f(std::as_const(leaf), at...), leaf.frozen());
      },
      result, others...);
  return result;
}

/// Zeros in the model's shapes, not frozen.
template <Model M>
M zeros_like(const M& model) {
  M result = model;
  for_each_parameter(
      [](auto& leaf) {
        if (leaf.defined()) leaf = zeros<typename std::remove_cvref_t<decltype(leaf)>::Scalar>(leaf.shape());
      },
      result);
  return result;
}

/// `copies` equal models in one: every parameter [...] becomes [copies, ...]. Layers that accept such a stack
/// (`Linear`) then serve as many tasks with one op. Gradients add up over the copies on their way back to `model`.
/// Throws ValueError for fewer than one copy.
template <Model M>
M stacked(const M& model, Index copies, Site site = Site::current()) {
  if (copies < 1) fail("stacked", {"copies is ", copies, ", expected 1 or more"}, {}, site);
  return zip(
      [&](const auto& leaf) {
        Shape shape{copies};
        for (Index size : leaf.shape()) shape.push_back(size);
        return broadcast_to(leaf, shape, site);
      },
      model);
}

/// The same numbers outside any tape.
template <Model M>
M detach(const M& model) {
  M result = model;
  for_each_parameter([](auto& leaf) { leaf = leaf.detach(); }, result);
  return result;
}

namespace detail {

/// s x for a plain number.
template <class T>
Tensor<T> scaled(T s, const Tensor<T>& x) {
  using B = Batch<T>;
  Tensor<T> value = cpu::mapped(
      "multiply", {}, [s](const std::array<B, 1>& b) { return std::array{B(s) * b[0]}; }, x);
  return record("multiply", std::move(value), Edge(x, [s](const Tensor<T>& g) { return scaled(s, g); }));
}

/// y + s x for tensors of equal shape, in one pass and one node, rounded once.
template <class T>
Tensor<T> add_scaled(const Tensor<T>& y, T s, const Tensor<T>& x) {
  using B = Batch<T>;
  Tensor<T> value = cpu::mapped(
      "axpy", {}, [s](const std::array<B, 2>& b) { return std::array{fma(B(s), b[1], b[0])}; }, y, x);
  return record("axpy", std::move(value), Edge(y, [](const Tensor<T>& g) { return g; }),
                Edge(x, [s](const Tensor<T>& g) { return s == T(1) ? g : scaled(s, g); }));
}

}  // namespace detail

// Sums and multiples. ShapeError names the parameter whose shapes differ.
template <ModelTree M>
M operator+(const M& a, const M& b) {
  detail::check_same_shapes("operator+", a, b, {});
  return zip([]<class T>(const Tensor<T>& x, const Tensor<T>& y) { return detail::add_scaled(x, T(1), y); }, a, b);
}
template <ModelTree M>
M operator-(const M& a, const M& b) {
  detail::check_same_shapes("operator-", a, b, {});
  return zip([]<class T>(const Tensor<T>& x, const Tensor<T>& y) { return detail::add_scaled(x, T(-1), y); }, a, b);
}
template <class S, ModelTree M>
  requires std::is_arithmetic_v<S>
M operator*(S s, const M& a) {
  return zip([s]<class T>(const Tensor<T>& x) { return detail::scaled(static_cast<T>(s), x); }, a);
}
template <ModelTree M>
M operator-(const M& a) {
  return -1 * a;
}
/// A tensor of one element as the factor: gradients flow to it.
template <Real T, ModelTree M>
M operator*(const Tensor<T>& s, const M& a) {
  if (s.count() != 1)
    fail<ShapeError>("operator*", "the factor of a model must have one element", {{"factor", s.shape()}});
  const Tensor<T> factor = s.rank() == 0 ? s : reshape(s, Shape{});
  return zip([&]<class U>(const Tensor<U>& x) { return cast<U>(factor) * x; }, a);
}
template <class S, ModelTree M>
  requires std::is_arithmetic_v<S>
M operator*(const M& a, S s) {
  return s * a;
}
template <Real T, ModelTree M>
M operator*(const M& a, const Tensor<T>& s) {
  return s * a;
}

/// y + s x in one pass a tensor: `axpy(-alpha, gradient, phi)` is `phi - alpha * gradient` without the product
/// in between.
template <class S, Model M>
  requires std::is_arithmetic_v<S>
M axpy(S s, const M& x, const M& y, Site site = Site::current()) {
  detail::check_same_shapes("axpy", x, y, site);
  return zip(
      [s]<class T>(const Tensor<T>& b, const Tensor<T>& a) { return detail::add_scaled(b, static_cast<T>(s), a); }, y,
      x);
}

/// Inner product of all parameters: sum over tensors and elements of a b, shape [].
template <ModelTree M>
Tensor<ModelScalar<M>> dot(const M& a, const M& b, Site site = Site::current()) {
  detail::check_same_shapes("dot", a, b, site);
  using T = ModelScalar<M>;
  Tensor<T> total;
  for_each_parameter(
      [&](const auto& x, const auto& y) {
        if (!x.defined()) return;
        const Tensor<T> part = cast<T>(sum(x * y));
        total = total.defined() ? total + part : part;
      },
      a, b);
  return total.defined() ? total : zeros<T>({});
}

/// Euclidean norm over all parameters, sqrt(dot(m, m)), shape []; its gradient at 0 is 0.
template <ModelTree M>
Tensor<ModelScalar<M>> norm(const M& model) {
  return map([](auto square) { return where(square != 0, sqrt(where(square != 0, square, 1)), 0); }, dot(model, model));
}

/// The gradient, scaled down to norm `largest` if its norm is above: gradient min(1, largest / (norm + 1e-6)).
template <ModelTree M>
M clip_by_norm(const M& gradient, double largest, Site site = Site::current()) {
  if (!(largest >= 0)) fail("clip_by_norm", {"the largest norm is ", largest, ", expected 0 or more"}, {}, site);
  return map([largest](auto length) { return minimum(largest / (length + 1e-6), 1); }, norm(gradient)) * gradient;
}

/// All parameters behind one another in field order, [count(model)]. The inverse of `from_vector`.
template <ModelTree M>
Tensor<ModelScalar<M>> to_vector(const M& model, Site site = Site::current()) {
  using T = ModelScalar<M>;
  std::vector<Tensor<T>> parts;
  for_each_parameter(
      [&](const auto& leaf) {
        if (leaf.defined()) parts.push_back(cast<T>(reshape(leaf, {-1}, site)));
      },
      model);
  return parts.empty() ? zeros<T>({0}) : concat(parts, 0, site);
}

/// A model like `like` whose parameters are read off `vector` [count(like)] in field order.
template <Real T, ModelTree M>
M from_vector(const Tensor<T>& vector, const M& like, Site site = Site::current()) {
  if (!(vector.shape() == Shape{count(like)}))
    fail<ShapeError>("from_vector", {"the model has ", count(like), " numbers"}, {{"vector", vector.shape()}}, site);
  Index at = 0;
  return zip(
      [&]<class U>(const Tensor<U>& leaf) {
        const Tensor<T> part = slice(vector, 0, at, at + leaf.count(), 1, site);
        at += leaf.count();
        return cast<U>(reshape(part, leaf.shape(), site));
      },
      like);
}

}  // namespace GRAFT_ABI
}  // namespace graft
