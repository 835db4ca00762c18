#pragma once
// A model is a value and an element of a vector space: sums, multiples, inner product and norm of whole trees of
// tensors, the names of its parameters, and the frozen mark. All arithmetic records, so `phi - alpha * grad(loss, phi)`
// can be differentiated. Only parameters (float and double tensors) take part: buffers, index tensors, configuration
// and frozen marks of a result are those of the left operand.

#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/autodiff/grad.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// True for tensors, structs with GRAFT_FIELDS, and containers of nothing but these.
template <class M>
inline constexpr bool is_tree = is_tensor<M> || HasFields<M>;
template <class M, class A>
inline constexpr bool is_tree<std::vector<M, A>> = is_tree<M>;
template <class M, std::size_t N>
inline constexpr bool is_tree<std::array<M, N>> = is_tree<M>;
template <class M>
inline constexpr bool is_tree<std::optional<M>> = is_tree<M>;
template <class M, class... Ms>
inline constexpr bool is_tree<std::tuple<M, Ms...>> = is_tree<M> && (is_tree<Ms> && ...);
template <class A, class B>
inline constexpr bool is_tree<std::pair<A, B>> = is_tree<A>&& is_tree<B>;

/// Element type of the first parameter in field order; void where there is none.
template <class M>
struct FirstScalar {
  using type = void;
};
template <class M>
using FirstScalarOf = typename FirstScalar<std::remove_cvref_t<M>>::type;
template <Real T>
struct FirstScalar<Tensor<T>> {
  using type = T;
};
template <class M>
  requires(is_sequence<M> || is_optional<M>)
struct FirstScalar<M> : FirstScalar<typename M::value_type> {};
template <class M, class... Ms>
struct FirstScalar<std::tuple<M, Ms...>>
    : std::conditional_t<std::is_void_v<FirstScalarOf<M>>, FirstScalar<std::tuple<Ms...>>,
                         FirstScalar<std::remove_cvref_t<M>>> {};
template <class A, class B>
struct FirstScalar<std::pair<A, B>> : FirstScalar<std::tuple<A, B>> {};
template <HasFields M>
struct FirstScalar<M> : FirstScalar<decltype(std::declval<const M&>().graft_fields())> {};

}  // namespace detail

/// A model that is not itself a tensor: what the operators of this file are for.
template <class M>
concept ModelTree = detail::is_tree<M> && !detail::is_tensor<M>;

/// Element type of `dot`, `norm` and `to_vector` of a model: that of its first parameter, float if it has none.
template <Model M>
using ModelScalar = std::conditional_t<std::is_void_v<detail::FirstScalarOf<M>>, float, detail::FirstScalarOf<M>>;

/// Dotted names of the parameters, in field order: "encoder.layers.0.weight".
template <Model M>
std::vector<std::string> names(const M& model) {
  std::vector<std::string> list;
  for_each_named_parameter(
      [&](const std::string& path, const auto& leaf) {
        if (leaf.defined()) list.push_back(path);
      },
      model);
  return list;
}

/// Number of numbers in all parameters.
template <Model M>
Index count(const M& model) {
  Index total = 0;
  for_each_parameter(
      [&](const auto& leaf) {
        if (leaf.defined()) total += leaf.count();
      },
      model);
  return total;
}

namespace detail {

/// "the argument" or the name of parameter number `i` of the model, for errors.
template <class M>
std::string parameter_name(const M& model, std::size_t i) {
  std::string name = "the argument";
  for_each_named_parameter(
      [&](const std::string& path, const auto&) {
        if (i-- == 0 && !path.empty()) name = path;
      },
      model);
  return name;
}

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

/// `x` with or without the frozen mark; a tracked tensor stays on its tape.
template <class T>
Tensor<T> with_frozen_mark(Tensor<T> x, bool frozen) {
  if (!x.defined() || x.frozen() == frozen) return x;
  const bool unseen = x.body()->refs.load(std::memory_order_acquire) == 1;
  if (!unseen && x.tracked()) {
    Recording on(true);
    x = identity(x);
  } else if (!unseen) {
    x = view(x, x.shape(), 0);
  }
  x.body()->frozen = frozen;
  return x;
}

/// A set of dotted names, each of which stands for itself and everything below it.
class NameSet {
 public:
  explicit NameSet(std::vector<std::string> names) : names_(std::move(names)) {}

  bool holds(const std::string& path) const {
    for (const std::string& name : names_)
      if (covers(name, path)) return true;
    return false;
  }
  /// Throws ValueError for a name that no parameter of the model has or begins with.
  template <class M>
  void check(const char* op, const M& model, Site site) const {
    const std::vector<std::string> valid = names(model);
    for (const std::string& name : names_) {
      bool found = false;
      for (const std::string& path : valid) found = found || covers(name, path);
      if (found) continue;
      std::string list;
      for (const std::string& path : valid) list += (list.empty() ? "" : ", ") + path;
      fail(op,
           {"no parameter is named '", name, "'; there are ", (list.empty() ? "none" : list),
            " (or a beginning of these, up to a dot)"},
           {}, site);
    }
  }

 private:
  static bool covers(const std::string& name, const std::string& path) {
    return path.compare(0, name.size(), name) == 0 && (path.size() == name.size() || path[name.size()] == '.');
  }
  std::vector<std::string> names_;
};

template <class M>
M marked(const char* op, const M& model, const std::vector<std::string>& names, bool frozen, Site site) {
  const NameSet chosen(names);
  chosen.check(op, model, site);
  M result = model;
  for_each_named_parameter(
      [&](const std::string& path, auto& leaf) {
        if (chosen.holds(path)) leaf = with_frozen_mark(leaf, frozen);
      },
      result);
  return result;
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

/// Marks parameters as frozen: their gradients are zeros and optimisers leave them alone. A name stands for everything
/// below it, "encoder" for "encoder.layers.0.weight". The mark travels with copies, arithmetic and checkpoints.
/// Throws ValueError for a name that the model does not have.
template <Model M>
[[nodiscard]] M freeze(const M& model, const std::vector<std::string>& names, Site site = Site::current()) {
  return detail::marked("freeze", model, names, true, site);
}
/// Takes the marks of `freeze` away from the named parameters.
template <Model M>
[[nodiscard]] M unfreeze(const M& model, const std::vector<std::string>& names, Site site = Site::current()) {
  return detail::marked("unfreeze", model, names, false, site);
}
/// Takes all marks away.
template <Model M>
[[nodiscard]] M unfreeze(const M& model) {
  M result = model;
  for_each_parameter([](auto& leaf) { leaf = detail::with_frozen_mark(leaf, false); }, result);
  return result;
}

/// The parts of a model that `grad` differentiates: `grad(f, model, only("head", "norm.bias"))`.
class Only {
 public:
  explicit Only(std::vector<std::string> names) : names(std::move(names)) {}
  detail::NameSet names;
};
template <class... Names>
Only only(const Names&... names) {
  return Only({std::string(names)...});
}

/// Value and gradient of `f(model)` with respect to the named parts; zeros elsewhere. See `value_and_grad(f, model)`.
template <class F, Model M>
auto value_and_grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  parts.names.check("grad", model, site);
  M aliases = model;
  std::vector<detail::Node*> nodes;
  for_each_named_parameter(
      [&](const std::string& path, auto& leaf) {
        const bool chosen = leaf.defined() && !leaf.frozen() && parts.names.holds(path);
        if (chosen) leaf = options.create_graph && leaf.tracked() ? identity(leaf) : variable(leaf);
        nodes.push_back(chosen ? detail::node_of(leaf) : nullptr);
      },
      aliases);
  auto value = [&] {
    Recording on(true);
    return f(std::as_const(aliases));
  }();
  detail::require_scalar("grad", value, site);
  auto shown = options.create_graph ? value : value.detach();
  auto seed = detail::one_like(value);
  std::vector<AnyTensor> gradients =
      detail::backward(std::move(value), std::move(seed), nodes, options.create_graph, true);
  bool any_reached = false;
  std::string missing;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    any_reached = any_reached || gradients[i].defined();
    if (nodes[i] && !gradients[i].defined())
      missing += (missing.empty() ? "" : ", ") + detail::parameter_name(model, i);
  }
  if (!missing.empty() && (options.strict || !any_reached))
    fail("grad", {"the value does not depend on: ", missing}, {}, site);
  return std::pair(std::move(shown), detail::gradients_as_model(model, std::move(gradients)));
}

/// The gradient alone.
template <class F, Model M>
M grad(F&& f, const M& model, const Only& parts, GradOptions options = {}, Site site = Site::current()) {
  return value_and_grad(f, model, parts, options, site).second;
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
