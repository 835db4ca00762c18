#pragma once
// Inner products of gradients, [n, n], without the matrix that has a gradient in each row: what methods that weigh
// gradients against each other look at. Products are summed in double, slice by slice of the parameters in field order,
// so their bits depend on no thread; and they are symmetric exactly. They carry no gradient.

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `per_sample_gramian` goes about it.
struct GramianOptions {
  Index block = 16;  ///< gradients held at a time, twice: fewer take less memory and more backward passes
};

namespace detail {

/// Gradients, each a list of leaves: not defined where a leaf is zero or is not to be counted.
using GradientRows = std::vector<std::vector<AnyTensor>>;

/// How many numbers of each gradient are multiplied at a time.
inline constexpr Index kGramianSlice = Index{1} << 14;

/// Numbers [begin, end) of one leaf of every gradient, [rows, end - begin] in double.
template <class T>
Tensor<double> gradient_slices(const GradientRows& rows, std::size_t leaf, Index begin, Index end) {
  std::vector<Tensor<double>> parts;
  for (const auto& row : rows)
    parts.push_back(row[leaf].defined() ? cast<double>(slice(reshape(Tensor<T>(row[leaf]), {-1}), 0, begin, end))
                                        : zeros<double>({end - begin}));
  return stack(parts);
}

/// The inner products <a_i, b_j>, [rows of a, rows of b], of gradients with respect to these parameters.
template <class M>
Tensor<double> gradient_products(const LeafList& parameters, const GradientRows& a, const GradientRows& b) {
  const Recording off(false);
  Tensor<double> total = zeros<double>({static_cast<Index>(a.size()), static_cast<Index>(b.size())});
  for (std::size_t leaf = 0; leaf < parameters.size(); ++leaf)
    for_each_scalar<M>([&]<class T>() {
      const auto has = [&](const std::vector<AnyTensor>& row) { return row[leaf].defined(); };
      if (!parameters[leaf].holds<T>() || std::none_of(a.begin(), a.end(), has) ||
          std::none_of(b.begin(), b.end(), has))
        return;
      const Index numbers = parameters[leaf].tensor->body()->count;
      for (Index begin = 0; begin < numbers; begin += kGramianSlice) {
        const Index end = std::min(begin + kGramianSlice, numbers);
        const Tensor<double> x = gradient_slices<T>(a, leaf, begin, end);
        const Tensor<double> y = &a == &b ? x : gradient_slices<T>(b, leaf, begin, end);
        total = total + matmul(x, y, {.transpose_b = true});
      }
    });
  return total;
}

/// Writes the products of gradients [first, ..) with gradients [second, ..) to their places in a matrix [n, n], and to
/// the places across its diagonal. On the diagonal those below it count.
inline void put_products(const Tensor<double>& products, Index first, Index second, Index n, List<double>& matrix) {
  const auto values = host(products);
  std::size_t at = 0;
  for (Index i = first; i < first + products.size(0); ++i)
    for (Index j = second; j < second + products.size(1); ++j, ++at)
      if (first != second || j <= i) matrix[i * n + j] = matrix[j * n + i] = values[at];
}

/// The inner products of some gradients with each other, [rows, rows].
template <class M>
Tensor<double> symmetric_products(const LeafList& parameters, const GradientRows& rows) {
  const auto n = static_cast<Index>(rows.size());
  List<double> matrix(n * n);
  put_products(gradient_products<M>(parameters, rows, rows), 0, 0, n, matrix);
  return from_vector(matrix, {n, n});
}

}  // namespace detail

/// The inner products [n, n] in double of gradients that are models of one structure, or whatever models. Holds two
/// slices of 2^14 numbers a model besides them. Throws ValueError without models, ShapeError where shapes differ.
template <Model M>
Tensor<double> gramian(const std::vector<M>& gradients, Site site = Site::current()) {
  if (gradients.empty()) fail("gramian", "no gradients", {}, site);
  detail::GradientRows rows;
  for (const M& gradient : gradients) {
    detail::check_same_shapes("gramian", gradients[0], gradient, site);
    rows.emplace_back();
    for (const detail::Leaf& leaf : detail::parameters_of(gradient)) rows.back().push_back(*leaf.tensor);
  }
  return detail::symmetric_products<M>(detail::parameters_of(gradients[0]), rows);
}

/// The inner products [items, items] in double of the gradients of losses [items] = f(model) with respect to all
/// parameters: J J^T of their Jacobian J [items, n], which is never stored. From one forward pass, whose graph is kept,
/// and about items^2 / (2 block) + items backward passes; at most 2 block gradients of n numbers each stand in memory
/// beside the graph, and `block` slices. Frozen parameters count nothing. Throws ShapeError unless f gives one axis,
/// ValueError for a block below 1, and when the losses do not depend on the model.
template <class F, Model M>
requires std::invocable<F&, const M&> Tensor<double> per_sample_gramian(F&& f, const M& model,
                                                                        const GramianOptions& options = {},
                                                                        Site site = Site::current()) {
  const char* op = "per_sample_gramian";
  if (options.block < 1) fail(op, {"block is ", options.block, ", expected 1 or more"}, {}, site);
  const M aliases = detail::tracked_aliases(model, false);
  const auto losses = detail::differentiable_value(f, aliases);
  using T = typename std::remove_const_t<decltype(losses)>::Scalar;
  if (losses.rank() != 1)
    fail<ShapeError>(op, "the function must give one loss an item, [items]", {{"losses", losses.shape()}}, site);
  if (!losses.tracked())
    fail(op, "the losses do not depend on the model (does the function use a captured model instead of its argument?)",
         {{"losses", losses.shape()}}, site);
  const detail::LeafList parameters = detail::parameters_of(aliases);
  const std::vector<detail::Node*> nodes = detail::nodes_of(parameters);
  const Recording off(false);
  const Index items = losses.size(0), block = std::min(options.block, std::max(items, Index{1}));
  const auto gradients = [&](Index begin) {
    detail::GradientRows rows;
    for (Index i = begin; i < std::min(begin + block, items); ++i)
      rows.push_back(detail::backward(losses, one_hot<T>(Tensor<std::int64_t>(i), items), nodes, false, true));
    return rows;
  };
  List<double> matrix(items * items);
  for (Index first = 0; first < items; first += block) {
    const detail::GradientRows rows = gradients(first);
    detail::put_products(detail::gradient_products<M>(parameters, rows, rows), first, first, items, matrix);
    for (Index second = first + block; second < items; second += block)
      detail::put_products(detail::gradient_products<M>(parameters, rows, gradients(second)), first, second, items,
                           matrix);
  }
  return from_vector(matrix, {items, items}, site);
}

/// The same of a linear head z = x W^T + b, from its logits [samples, out] and inputs x [samples, in], without its
/// gradients: <d loss_s / d W, d loss_t / d W> + <d loss_s / d b, d loss_t / d b> = <g_s, g_t> (<x_s, x_t> + 1) with
/// g = d sum_s loss_s / d z (see `per_sample_gradients`). `loss` maps logits to one loss a sample [samples], which must
/// depend on its own row alone. Holds two more matrices [samples, samples]. Throws ShapeError.
template <class Loss, Real T>
Tensor<double> per_sample_gramian(Loss&& loss, const Tensor<T>& logits, const Tensor<T>& x,
                                  Site site = Site::current()) {
  const char* op = "per_sample_gramian";
  if (logits.rank() != 2 || x.rank() != 2 || logits.size(0) != x.size(0))
    fail<ShapeError>(op, "needs logits [samples, out] and x [samples, in]",
                     {{"logits", logits.shape()}, {"x", x.shape()}}, site);
  const Index samples = x.size(0);
  const auto total = [&](const Tensor<T>& z) {
    const Tensor<T> losses = loss(z);
    if (!(losses.shape() == Shape{samples}))
      fail<ShapeError>(op, "the function must give one loss a sample",
                       {{"losses", losses.shape()}, {"logits", logits.shape()}}, site);
    return sum(losses);
  };
  const Recording off(false);
  const Tensor<double> g = cast<double>(grad(total, logits.detach(), {}, site)), inputs = cast<double>(x.detach());
  const Tensor<double> products =
      matmul(g, g, {.transpose_b = true}) * (matmul(inputs, inputs, {.transpose_b = true}) + 1.0);
  List<double> matrix(samples * samples);
  detail::put_products(products, 0, 0, samples, matrix);
  return from_vector(matrix, {samples, samples}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
