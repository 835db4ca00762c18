#pragma once
// How well scores tell what is known from what is to be rejected: items of new classes, out of distribution, or wrong.

#include <utility>
#include <vector>

#include "graft/evaluate/metrics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How scores separate known from unknown items.
struct RejectionFigures {
  double auroc = 0;      ///< the chance that a known item scores above an unknown one, equal scores counting half
  double fpr95 = 0;      ///< the share of unknown items that are accepted when 95 % of the known ones are
  double threshold = 0;  ///< at which they are: accepted is what scores as high or higher
};

namespace detail {

/// The highest threshold that `share` of the positive items or more reach, and the share of negative ones that do.
struct AcceptedAt {
  double threshold = 0, negatives = 0;
};
inline AcceptedAt accepted_at(const std::vector<ScoreTie>& ties, double share) {
  double positives = 0, negatives = 0;
  for (const ScoreTie& tie : ties) {
    positives += tie.positives;
    negatives += tie.negatives;
  }
  const double wanted = share * positives * (1 - 1e-12);  // 0.55 times 100 is a little more than 55
  ScoreTie accepted;
  for (const ScoreTie& tie : ties) {
    accepted.score = tie.score;
    accepted.positives += tie.positives;
    accepted.negatives += tie.negatives;
    if (accepted.positives >= wanted) break;
  }
  return {accepted.score, accepted.negatives / negatives};
}

}  // namespace detail

/// The share of items with label 0 that score at least t, where t is the highest score that `tpr` of the items with
/// label 1 or more reach (false positives at 95 % true positives: Liang, Li, Srikant, ICLR 2018). Items that tie with t
/// are accepted, nothing is interpolated. `scores` [items], `labels` [items] of 0 and 1. Throws ShapeError, IndexError
/// for any other label, ValueError for a NaN among the scores, if a label has no item, or unless 0 < tpr <= 1.
template <Real T>
double fpr_at_tpr(const Tensor<T>& scores, const Tensor<std::int64_t>& labels, double tpr = 0.95,
                  Site site = Site::current()) {
  if (!(tpr > 0 && tpr <= 1)) fail("fpr_at_tpr", {"tpr is ", tpr, ", expected one in (0, 1]"}, {}, site);
  const std::vector<detail::ScoreTie> ties = detail::score_ties("fpr_at_tpr", scores, labels, site);
  if (!detail::has_negatives(ties)) fail("fpr_at_tpr", "no item has the label 0", {{"labels", labels.shape()}}, site);
  return detail::accepted_at(ties, tpr).negatives;
}

/// AUROC and false positives at 95 % true positives of scores that are the higher the surer an item is known: the
/// largest softmax (Hendrycks, Gimpel, ICLR 2017), minus a distance. `known` [items] and `unknown` [others] are scores
/// of items to accept and to reject. Throws ShapeError unless both have one axis, ValueError for a NaN or none of
/// either.
template <Real T>
RejectionFigures rejection_figures(const Tensor<T>& known, const Tensor<T>& unknown, Site site = Site::current()) {
  const char* op = "rejection_figures";
  if (known.rank() != 1 || unknown.rank() != 1)
    fail<ShapeError>(op, "expected scores [items] and [others]",
                     {{"known", known.shape()}, {"unknown", unknown.shape()}}, site);
  if (known.count() == 0 || unknown.count() == 0)
    fail(op, "no scores", {{"known", known.shape()}, {"unknown", unknown.shape()}}, site);
  std::vector<std::pair<T, bool>> items;
  for (const bool is_known : {true, false}) {
    Index item = 0;
    for (const T score : host(is_known ? known : unknown)) {
      if (score != score)
        fail(op, {"the score of ", is_known ? "known" : "unknown", " item ", item, " is not a number"}, {}, site);
      items.emplace_back(score, is_known);
      ++item;
    }
  }
  const std::vector<detail::ScoreTie> ties = detail::sorted_ties(std::move(items));
  const detail::AcceptedAt at = detail::accepted_at(ties, 0.95);
  return {detail::auc_of(ties), at.negatives, at.threshold};
}

}  // namespace GRAFT_ABI
}  // namespace graft
