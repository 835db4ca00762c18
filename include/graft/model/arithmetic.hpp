#pragma once
// A model is a value and an element of a vector space: sums, multiples, inner product and norm of whole trees of
// tensors. All arithmetic records, so `phi - alpha * grad(loss, phi)` can be differentiated. Only parameters (float and
// double tensors) take part: buffers, index tensors, configuration and frozen marks of a result are those of the left
// operand.

#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/model/names.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws unless every parameter of `b` has the shape and the type of its twin in `a`.
GRAFT_ONCE
[[gnu::noinline]] void check_same_shapes(const char* op, const LeafList& a, const LeafList& b, Site site) {
  a.check_same_structure(b);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Body *x = a[i].tensor->body(), *y = b[i].tensor->body();
    const Shape shape_x = x ? x->shape : Shape(), shape_y = y ? y->shape : Shape();
    if (!x == !y && shape_x == shape_y && a[i].type == b[i].type) continue;
    const std::string name = a.name(i);
    fail<ShapeError>(op, {"shapes of ", name, " differ"}, {{"a", shape_x}, {"b", shape_y}}, site);
  }
}
template <Model M>
void check_same_shapes(const char* op, const M& a, const M& b, Site site) {
  check_same_shapes(op, parameters_of(a), parameters_of(b), site);
}

/// s x for a plain number.
template <class T>
Tensor<T> scaled(T s, const Tensor<T>& x) {
  using B = Simd<T>;
  Tensor<T> value = cpu::mapped(
      "multiply", {}, [s](const std::array<B, 1>& b) { return std::array{B(s) * b[0]}; }, x);
  return record("multiply", std::move(value), Edge(x, [s](const Tensor<T>& g) { return scaled(s, g); }));
}

/// y + s x for tensors of equal shape, in one pass and one node, rounded once.
template <class T>
Tensor<T> add_scaled(const Tensor<T>& y, T s, const Tensor<T>& x) {
  using B = Simd<T>;
  Tensor<T> value = cpu::mapped(
      "axpy", {}, [s](const std::array<B, 2>& b) { return std::array{fma(B(s), b[1], b[0])}; }, y, x);
  return record("axpy", std::move(value), Edge(y, [](const Tensor<T>& g) { return g; }),
                Edge(x, [s](const Tensor<T>& g) { return s == T(1) ? g : scaled(s, g); }));
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

namespace detail {

/// Zeros in place of the parameters of element type T.
template <class T>
void put_zeros(const LeafList& parameters) {
  for (const Leaf& leaf : parameters)
    if (leaf.holds<T>() && leaf.tensor->defined()) leaf.as<T>() = zeros<T>(leaf.as<T>().shape());
}

}  // namespace detail

/// Zeros in the model's shapes, not frozen.
template <Model M>
M zeros_like(const M& model) {
  M result = model;
  const detail::LeafList parameters = detail::parameters_of(result);
  detail::for_each_scalar<M>([&]<class T>() { detail::put_zeros<T>(parameters); });
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

/// The model with numbers of its own in every parameter: no two share a tensor any more, with each other or with
/// `model`. Gradients pass.
template <Model M>
M untied(const M& model) {
  return zip([]<class T>(const Tensor<T>& leaf) { return detail::scaled(T(1), leaf); }, model);
}

namespace detail {

/// y + s x for the parameters of element type T that are chosen (empty: all), put in place of those of y; frozen marks
/// are y's.
template <class T>
void add_scaled(const LeafList& y, double s, const LeafList& x, const std::vector<bool>& chosen = {}) {
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (!y[i].holds<T>() || !y[i].tensor->defined() || (!chosen.empty() && !chosen[i])) continue;
    Tensor<T>& leaf = y[i].as<T>();
    leaf = with_frozen_mark(add_scaled(leaf, static_cast<T>(s), x[i].as<T>()), leaf.frozen());
  }
}
template <class M>
M add_scaled(const char* op, const M& y, double s, const M& x, Site site) {
  M result = y;
  const LeafList to = parameters_of(result), from = parameters_of(x);
  check_same_shapes(op, to, from, site);
  for_each_scalar<M>([&]<class T>() { add_scaled<T>(to, s, from); });
  return result;
}

/// Multiplies the parameters of element type T that are chosen (empty: all) by s.
template <class T>
void scale(const LeafList& x, double s, const std::vector<bool>& chosen = {}) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!x[i].holds<T>() || !x[i].tensor->defined() || (!chosen.empty() && !chosen[i])) continue;
    Tensor<T>& leaf = x[i].as<T>();
    leaf = with_frozen_mark(scaled(static_cast<T>(s), leaf), leaf.frozen());
  }
}

/// Multiplies the parameters of element type U by a tensor of one element.
template <class T, class U>
void multiply(const LeafList& x, const Tensor<T>& s) {
  for (const Leaf& at : x) {
    if (!at.holds<U>() || !at.tensor->defined()) continue;
    Tensor<U>& leaf = at.as<U>();
    leaf = with_frozen_mark(cast<U>(s) * leaf, leaf.frozen());
  }
}

/// Adds the inner product of the parameters of element type U to `total`, which is undefined for 0.
template <class T, class U>
void add_dot(Tensor<T>& total, const LeafList& a, const LeafList& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].holds<U>() || !a[i].tensor->defined()) continue;
    const Tensor<T> part = cast<T>(sum(a[i].as<U>() * b[i].as<U>()));
    total = total.defined() ? total + part : part;
  }
}

}  // namespace detail

// Sums and multiples. ShapeError names the parameter whose shapes differ.
template <ModelTree M>
M operator+(const M& a, const M& b) {
  return detail::add_scaled("operator+", a, 1, b, {});
}
template <ModelTree M>
M operator-(const M& a, const M& b) {
  return detail::add_scaled("operator-", a, -1, b, {});
}
template <class S, ModelTree M>
  requires std::is_arithmetic_v<S>
M operator*(S s, const M& a) {
  M result = a;
  const detail::LeafList parameters = detail::parameters_of(result);
  detail::for_each_scalar<M>([&]<class T>() { detail::scale<T>(parameters, static_cast<double>(s)); });
  return result;
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
  M result = a;
  const detail::LeafList parameters = detail::parameters_of(result);
  detail::for_each_scalar<M>([&]<class U>() { detail::multiply<T, U>(parameters, factor); });
  return result;
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
  return detail::add_scaled("axpy", y, static_cast<double>(s), x, site);
}

/// Inner product of all parameters: sum over tensors and elements of a b, shape [].
template <ModelTree M>
Tensor<ModelScalar<M>> dot(const M& a, const M& b, Site site = Site::current()) {
  const detail::LeafList left = detail::parameters_of(a), right = detail::parameters_of(b);
  detail::check_same_shapes("dot", left, right, site);
  Tensor<ModelScalar<M>> total;
  detail::for_each_scalar<M>([&]<class T>() { detail::add_dot<ModelScalar<M>, T>(total, left, right); });
  return total.defined() ? total : zeros<ModelScalar<M>>({});
}

/// True when no parameter holds a NaN or an infinity.
template <Model M>
bool all_finite(const M& model) {
  bool other = false;
  for_each_parameter(
      [&](const auto& leaf) {
        if (!leaf.defined()) return;
        for (const auto value : host(leaf)) other |= !(value - value == 0);
      },
      model);
  return !other;
}

namespace detail {

/// Raises `largest` to the largest |number| of the parameters of element type T; NaN where there is one.
template <class T>
void raise_to_largest(const LeafList& parameters, double& largest) {
  for (const Leaf& leaf : parameters) {
    if (!leaf.holds<T>() || !leaf.tensor->defined()) continue;
    for (const T value : host(leaf.as<T>())) {
      const double size = std::fabs(static_cast<double>(value));
      if (!(size <= largest)) largest = size != size || largest != largest ? size + largest : size;
    }
  }
}
/// The root of a sum of squares; its gradient at 0 is 0.
template <class T>
Tensor<T> root_of_squares(const Tensor<T>& square) {
  return map([](auto s) { return where(s != 0, sqrt(where(s != 0, s, 1)), 0); }, square);
}
template <class T>
Tensor<T> clip_factor(const Tensor<T>& length, double largest) {
  return map([largest](auto x) { return minimum(largest / (x + 1e-6), 1); }, length);
}

}  // namespace detail

/// Euclidean norm over all parameters, sqrt(dot(m, m)), shape []; its gradient at 0 is 0. Where the squares leave the
/// range of the type the model is scaled by a power of two first.
template <ModelTree M>
Tensor<ModelScalar<M>> norm(const M& model) {
  using T = ModelScalar<M>;
  const Tensor<T> square = dot(model, model);
  const double plain = static_cast<double>(square.item());
  if (plain >= static_cast<double>(std::numeric_limits<T>::min()) &&
      plain <= static_cast<double>(std::numeric_limits<T>::max()))
    return detail::root_of_squares(square);
  const detail::LeafList parameters = detail::parameters_of(model);
  double largest = 0;
  detail::for_each_scalar<M>([&]<class U>() { detail::raise_to_largest<U>(parameters, largest); });
  if (!(largest > 0) || !std::isfinite(largest)) return detail::root_of_squares(square);
  const double scale = std::ldexp(1.0, std::ilogb(largest));
  const M small = (1 / scale) * model;
  return static_cast<T>(scale) * detail::root_of_squares(dot(small, small));
}

/// The gradient, scaled down to norm `largest` if its norm is above: gradient min(1, largest / (norm + 1e-6)).
template <ModelTree M>
M clip_by_norm(const M& gradient, double largest, Site site = Site::current()) {
  detail::check_option<ModelScalar<M>>("clip_by_norm", "the largest norm", largest, detail::Range::not_negative, site);
  return detail::clip_factor(norm(gradient), largest) * gradient;
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
