#pragma once
// Items whose classes are told of by several tokens, of which one says what the class is: how well a method finds it is
// known beforehand.

#include <cmath>

#include "graft/core/list.hpp"
#include "graft/core/tensor.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/sampling.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of `make_described_items`.
struct DescribedItemsOptions {
  Index classes = 200;
  Index items = 10;    ///< of each class
  Index tokens = 8;    ///< of each description
  Index width = 32;    ///< of items and tokens
  Index meaning = 12;  ///< numbers that say what a class is, at most the width less 1
  double noise = 1;    ///< deviation of items from what their class says, each of its numbers having deviation 1
};

/// Items and descriptions.
struct DescribedItems {
  Tensor<> x;                        ///< [items, width], by class
  Tensor<std::int64_t> labels;       ///< [items]
  Tensor<> tokens;                   ///< [classes, tokens, width]
  Tensor<std::int64_t> informative;  ///< [classes], the place of the token that says what the class is
};

/// Each class has a meaning u, normal numbers. An item is A (u + noise) and the informative token B u, with A and B of
/// orthonormal columns drawn once; the other tokens are B u' of meanings that belong to nobody. A direction that is at
/// right angles to B tells them apart: it is in the informative token with +2, in the others with -2. So the mean over
/// tokens has one part of u in as much as it has others', while whoever finds the informative token knows u. Meanings
/// of classes and of other tokens have the same distribution. Throws ValueError for sizes out of range.
inline DescribedItems make_described_items(const Random& random, const DescribedItemsOptions& o = {},
                                           Site site = Site::current()) {
  if (o.classes < 1 || o.items < 1 || o.tokens < 1 || o.meaning < 1 || o.meaning >= o.width || !(o.noise >= 0))
    fail("make_described_items",
         {o.classes, " classes of ", o.items, " items, ", o.tokens, " tokens, width ", o.width, ", meanings of ",
          o.meaning, ", noise ", o.noise},
         {}, site);
  // Gram and Schmidt's orthonormal rows, of normal ones.
  const auto frame = [&](const char* name, Index rows) {
    const Random own = random.stream(name);
    List<List<double>> found;
    for (Index r = 0; r < rows; ++r) {
      List<double> row(o.width);
      for (Index i = 0; i < o.width; ++i) row[i] = own.normal(2 * static_cast<std::uint64_t>(r * o.width + i));
      for (int twice = 0; twice < 2; ++twice)
        for (const List<double>& other : found) {
          double inner = 0;
          for (Index i = 0; i < o.width; ++i) inner += row[i] * other[i];
          for (Index i = 0; i < o.width; ++i) row[i] -= inner * other[i];
        }
      double squares = 0;
      for (const double v : row) squares += v * v;
      for (double& v : row) v /= std::sqrt(squares);
      found.push_back(row);
    }
    return generate({rows, o.width}, [&](Index r, Index i) { return static_cast<float>(found[r][i]); });
  };
  const Tensor<> a = frame("items", o.meaning), b = frame("tokens", o.meaning + 1);
  const Tensor<> meanings = randn<float>({o.classes, o.meaning}, random.stream("meanings"));
  DescribedItems result;
  result.labels = generate({o.classes * o.items}, [&](Index i) { return i / o.items; });
  const Tensor<> noise = randn<float>({o.classes * o.items, o.meaning}, random.stream("noise"));
  result.x = matmul(gather(meanings, result.labels) + static_cast<float>(o.noise) * noise, a);
  const Random places = random.stream("places");
  result.informative =
      generate({o.classes}, [&](Index c) { return places.below(static_cast<std::uint64_t>(c), o.tokens); });
  const auto at = host(result.informative);
  const Tensor<bool> tells =
      generate({o.classes, o.tokens, 1}, [&](Index c, Index t, Index) { return at[static_cast<std::size_t>(c)] == t; });
  const Tensor<> others = randn<float>({o.classes, o.tokens, o.meaning}, random.stream("others"));
  const Tensor<> own = broadcast_to(reshape(meanings, {o.classes, 1, o.meaning}), others.shape());
  const Tensor<> marks = where(tells, full<float>(tells.shape(), 2), -2);
  const Tensor<> flat =
      reshape(concat<float>({where(tells, own, others), marks}, 2), {o.classes * o.tokens, o.meaning + 1});
  result.tokens = reshape(matmul(flat, b), {o.classes, o.tokens, o.width});
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
