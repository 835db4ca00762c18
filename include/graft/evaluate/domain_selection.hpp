#pragma once
// How the model that is tested in an unseen domain was chosen. Gulrajani, Lopez-Paz, "In search of lost domain
// generalization", ICLR 2021: figures of different rules are not to be compared, and one without its rule says nothing.

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a model is chosen by.
enum class DomainSelection {
  training_domains,      ///< items of the training domains that were held back, of all steps of all configurations
  leave_one_domain_out,  ///< each training domain in turn, by models of the same configuration and step that were
                         ///< trained without it
  oracle                 ///< items of the test domain, after the last step of each configuration: an upper bound, no
                         ///< method can be chosen like this
};

/// All three, in the order of the enumeration.
inline const std::vector<DomainSelection>& domain_selections() {
  static const std::vector<DomainSelection> all{DomainSelection::training_domains,
                                                DomainSelection::leave_one_domain_out, DomainSelection::oracle};
  return all;
}
/// "training domains", "leave one domain out" or "oracle".
inline std::string selection_name(DomainSelection rule) {
  return rule == DomainSelection::training_domains       ? "training domains"
         : rule == DomainSelection::leave_one_domain_out ? "leave one domain out"
                                                         : "oracle";
}

/// A model that may be chosen, with its figures, of which a higher one is better. A rule reads its own alone, so the
/// others may be missing: NaN, or an empty list.
struct DomainCandidate {
  std::string configuration;                                 ///< what was tuned, for messages and the choice
  Index step = 0;                                            ///< of training
  std::vector<double> training = {};                         ///< on held-back items of each training domain
  std::vector<double> left_out = {};                         ///< on each training domain, of models trained without it
  double oracle = std::numeric_limits<double>::quiet_NaN();  ///< on items of the test domain that are held back
  double test = std::numeric_limits<double>::quiet_NaN();    ///< on the others of the test domain: what is reported
};

/// The figures of a model that was trained on all domains but `one` and `other`, which may be the same.
struct DomainRun {
  std::string configuration;
  Index step = 0;
  Index one = 0, other = 0;
  std::vector<double> shown = {};      ///< [domains]: on the part of each domain that is trained on, where it is
  std::vector<double> held_back = {};  ///< [domains]: on the part that is not
};

/// What the rules choose from for the domain `test`: a candidate for every run without it alone, in their order, whose
/// figures when another domain is left out are those of the run of its configuration and step without both. Where there
/// is no such run for a domain, `left_out` is empty. Figures in a domain that a run was not trained on are those of
/// `shown`, the larger part, and those that the oracle reads of `held_back`. Throws ValueError for a domain that there
/// is not, lists of different lengths, and where no run leaves out `test` alone.
inline std::vector<DomainCandidate> domain_candidates(const std::vector<DomainRun>& runs, Index test,
                                                      Site site = Site::current()) {
  const char* op = "domain_candidates";
  const Index domains = runs.empty() ? 0 : std::ssize(runs[0].shown);
  const auto at = [](Index domain) { return static_cast<std::size_t>(domain); };
  if (test < 0 || test >= domains) fail(op, {"test domain ", test, " of ", domains}, {}, site);
  std::vector<DomainCandidate> candidates;
  for (const DomainRun& run : runs) {
    if (std::ssize(run.shown) != domains || std::ssize(run.held_back) != domains)
      fail(op, {"figures of ", run.shown.size(), " and ", run.held_back.size(), " domains, of others ", domains}, {},
           site);
    if (run.one < 0 || run.other < 0 || run.one >= domains || run.other >= domains)
      fail(op, {"a run without domains ", run.one, " and ", run.other, " of ", domains}, {}, site);
    if (run.one != test || run.other != test) continue;
    DomainCandidate candidate{run.configuration, run.step};
    candidate.oracle = run.held_back[at(test)];
    candidate.test = run.shown[at(test)];
    for (Index e = 0; e < domains; ++e) {
      if (e == test) continue;
      candidate.training.push_back(run.held_back[at(e)]);
      for (const DomainRun& both : runs) {
        const bool without_both = (both.one == test && both.other == e) || (both.one == e && both.other == test);
        if (!without_both || both.configuration != run.configuration || both.step != run.step) continue;
        candidate.left_out.push_back(both.shown[at(e)]);
        break;
      }
    }
    if (std::ssize(candidate.left_out) != domains - 1) candidate.left_out.clear();
    candidates.push_back(std::move(candidate));
  }
  if (candidates.empty()) fail(op, {"no run leaves out domain ", test, " alone"}, {}, site);
  return candidates;
}

/// A result with the rule it was chosen by.
struct DomainChoice {
  DomainSelection rule;
  std::size_t candidate = 0;  ///< its place in the list
  double validation = 0;      ///< the figure that it was chosen by
  double test = 0;

  /// "0.712 (oracle)"
  std::string text() const {
    char number[32];
    std::snprintf(number, sizeof number, "%.3f", test);
    return std::string(number) + " (" + selection_name(rule) + ")";
  }
};

/// The candidate that the rule prefers, the earlier of equals. Means over domains count every domain alike. By the
/// oracle only the last step of each configuration may be chosen. Throws ValueError, which names the configuration and
/// the step, for a candidate without the figures that the rule reads or the test figure, one that is not finite, lists
/// of different lengths, two candidates of one configuration and step, and for an empty list.
inline DomainChoice choose_by(DomainSelection rule, const std::vector<DomainCandidate>& candidates,
                              Site site = Site::current()) {
  const char* op = "choose_by";
  if (candidates.empty()) fail(op, "there are no candidates", {}, site);
  DomainChoice choice{rule};
  bool any = false;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const DomainCandidate& c = candidates[i];
    bool last = true;
    for (std::size_t j = 0; j < candidates.size(); ++j) {
      if (j == i || candidates[j].configuration != c.configuration) continue;
      last = last && candidates[j].step <= c.step;
      if (candidates[j].step == c.step)
        fail(op, {"there are two candidates of configuration '", c.configuration, "' after step ", c.step}, {}, site);
    }
    std::vector<double> figures{c.oracle};
    if (rule != DomainSelection::oracle) {
      const auto list =
          rule == DomainSelection::training_domains ? &DomainCandidate::training : &DomainCandidate::left_out;
      figures = c.*list;
      if (figures.empty() || figures.size() != (candidates[0].*list).size())
        fail(op,
             {selection_name(rule), " needs figures of as many domains of all candidates, but configuration '",
              c.configuration, "' has ", figures.size(), " after step ", c.step},
             {}, site);
    }
    double validation = 0;
    for (const double figure : figures) validation += figure / static_cast<double>(figures.size());
    const bool skipped = rule == DomainSelection::oracle && !last;
    if (!skipped && (!std::isfinite(validation) || !std::isfinite(c.test)))
      fail(op,
           {"configuration '", c.configuration, "' has after step ", c.step, " a figure of ", validation, " for ",
            selection_name(rule), " and ", c.test, " in the test domain"},
           {}, site);
    if (skipped || (any && !(validation > choice.validation))) continue;
    any = true;
    choice.candidate = i;
    choice.validation = validation;
    choice.test = c.test;
  }
  return choice;
}

}  // namespace GRAFT_ABI
}  // namespace graft
