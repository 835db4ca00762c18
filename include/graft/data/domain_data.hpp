#pragma once
// Labelled items of several domains: from sets, in parts, and as the batches of a training step.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "graft/data/episodes.hpp"
#include "graft/data/item_set.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One labelled set a domain.
struct DomainData {
  std::vector<std::string> names;
  std::vector<LabelledSet<>> domains;
  Index classes = 0;
};

/// All items of a set with their classes as labels, class by class. Throws ValueError for a set without items.
inline LabelledSet<> labelled_items(const ItemSet& set, Site site = Site::current()) {
  std::vector<Index> items, classes;
  for (Index c = 0; c < set.classes(); ++c)
    for (const Index item : set.items[c]) {
      items.push_back(item);
      classes.push_back(c);
    }
  if (items.empty()) fail("labelled_items", {set.source, " has no items"}, {}, site);
  return {set.inputs(items, classes), from_vector(std::vector<std::int64_t>(classes.begin(), classes.end()))};
}

/// The items of several sets of one kind behind one another. Throws ValueError for none, ShapeError for items of
/// different shapes.
inline LabelledSet<> joined(const std::vector<LabelledSet<>>& sets, Site site = Site::current()) {
  std::vector<Tensor<>> items;
  std::vector<Tensor<std::int64_t>> labels;
  for (const auto& [x, y] : sets) {
    items.push_back(x);
    labels.push_back(y);
  }
  if (sets.empty()) fail("joined", "there are no sets", {}, site);
  return {concat(items, 0, site), concat(labels, 0, site)};
}

/// A domain in two: `second` holds a share of its items, drawn from `random`, and at least one; `first` the others.
struct SplitDomain {
  LabelledSet<> first, second;
};

/// DomainBed holds back 20 % of every domain for choosing. Throws ShapeError, ValueError for a share outside (0, 1) or
/// fewer than two items.
inline SplitDomain split_domain(const LabelledSet<>& domain, double share, const Random& random,
                                Site site = Site::current()) {
  const auto& [x, y] = domain;
  if (!x.defined() || !y.defined() || x.rank() < 1 || !(y.shape() == Shape{x.size(0)}))
    fail<ShapeError>("split_domain", "expected a label for each item",
                     {{"items", x.defined() ? x.shape() : Shape{0}}, {"labels", y.defined() ? y.shape() : Shape{0}}},
                     site);
  const Index items = x.size(0);
  if (!(share > 0 && share < 1) || items < 2)
    fail("split_domain", {"a share of ", share, " of ", items, " items"}, {}, site);
  const Index held =
      std::clamp(static_cast<Index>(std::lround(share * static_cast<double>(items))), Index{1}, items - 1);
  const std::vector<Index> order = random.permutation(items);
  const auto part = [&](auto from, auto to) -> LabelledSet<> {
    const Tensor<std::int64_t> places = from_vector(std::vector<std::int64_t>(from, to));
    return {gather(domain.x, places), gather(domain.y, places)};
  };
  return {part(order.begin() + held, order.end()), part(order.begin(), order.begin() + held)};
}

/// A batch of each domain: `batch` of its items, all different, drawn from `random`; all of them where it has no more.
/// Throws ShapeError, ValueError for a batch below 1.
inline std::vector<LabelledSet<>> draw_batches(const std::vector<LabelledSet<>>& domains, Index batch,
                                               const Random& random, Site site = Site::current()) {
  if (batch < 1) fail("draw_batches", {"batches of ", batch, " items"}, {}, site);
  std::vector<LabelledSet<>> batches;
  for (std::size_t e = 0; e < domains.size(); ++e) {
    const auto& [x, y] = domains[e];
    const Index items = x.size(0);
    if (items <= batch) {
      batches.push_back(domains[e]);
      continue;
    }
    const std::vector<Index> order = random.stream(static_cast<std::uint64_t>(e)).permutation(items, batch);
    const Tensor<std::int64_t> places = from_vector(std::vector<std::int64_t>(order.begin(), order.end()));
    batches.push_back({gather(x, places), gather(y, places)});
  }
  return batches;
}

}  // namespace GRAFT_ABI
}  // namespace graft
