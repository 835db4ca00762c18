#pragma once
// Which texts are fit to train on: rules of length, language and repetition, and a small classifier of quality. The
// rules are some of those of Rae et al., "Scaling language models: methods, analysis & insights from training Gopher",
// 2021, with their limits as public pipelines have them (the paper was not read). The classifier and the chance of
// keeping a text: Brown et al., "Language models are few-shot learners" (GPT-3), 2020, appendix A.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/data/labelled_text.hpp"
#include "graft/model/fields.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Rules that a text must keep; one whose limit is 0 (of a largest share: 1) cannot be broken. Words are those of
/// `words_of`, a word's length is in bytes.
struct TextFilterOptions {
  Index fewest_words = 50, most_words = 100000;
  double shortest_mean = 3, longest_mean = 10;  ///< mean length of the words
  double letters = 0.8;                         ///< least share of the words that have a letter
  Index stop_words = 2;                         ///< least number of different stop words, a sign of the language
  std::vector<std::string> language = {"the", "be", "to", "of", "and", "that", "have", "with"};  ///< its stop words
  double duplicate_lines = 0.3;                           ///< largest share of lines that stood before
  std::array<double, 3> most_common = {0.2, 0.18, 0.16};  ///< of all letters, largest share in the commonest run of 2,
                                                          ///< 3 and 4 words
};

namespace detail {

inline bool has_letter(const std::string& word) {
  return std::any_of(word.begin(), word.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c & 0x80); });
}

/// The share of lines that are not blank and stood before, 0 if there are none.
inline double duplicate_lines(std::string_view text) {
  std::map<std::string_view, int> seen;
  double lines = 0, again = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++lines;
    again += seen[line]++ > 0;
  }
  return lines > 0 ? again / lines : 0;
}

/// The share of all letters that stand in the commonest run of `length` words (the longest of equally common ones), 0
/// if every run stands once.
inline double commonest_run(const std::vector<std::string>& words, std::size_t length) {
  std::map<std::string, std::pair<double, double>> runs;  // how often, and letters of one
  double all = 0;
  for (const std::string& word : words) all += static_cast<double>(word.size());
  for (std::size_t at = 0; at + length <= words.size(); ++at) {
    std::string run;
    double letters = 0;
    for (std::size_t w = at; w < at + length; ++w) {
      run += words[w] + ' ';
      letters += static_cast<double>(words[w].size());
    }
    auto& [count, size] = runs[run];
    ++count;
    size = letters;
  }
  std::pair<double, double> most{1, 0};
  for (const auto& [run, one] : runs)
    if (one.first > 1) most = std::max(most, one);
  return all > 0 ? most.first * most.second / all : 0;
}

}  // namespace detail

/// Why a text is left out: the first rule that it breaks, with its figure, "" if it keeps all. Runs of words that
/// overlap themselves are counted at each place. Throws ValueError for limits that no text can keep.
inline std::string text_fault(std::string_view text, const TextFilterOptions& o = {}, Site site = Site::current()) {
  const char* op = "text_fault";
  const auto share = [](double x) { return x >= 0 && x <= 1; };
  if (o.fewest_words < 0 || o.most_words < o.fewest_words)
    fail(op, {o.fewest_words, " to ", o.most_words, " words"}, {}, site);
  if (!(o.shortest_mean >= 0 && o.longest_mean >= o.shortest_mean))
    fail(op, {"words of a mean length of ", o.shortest_mean, " to ", o.longest_mean}, {}, site);
  bool shares = share(o.letters) && share(o.duplicate_lines);
  for (const double limit : o.most_common) shares = shares && share(limit);
  if (!shares) fail(op, "a limit is no share of 1", {}, site);
  if (o.stop_words > std::ssize(o.language))
    fail(op, {o.stop_words, " stop words of a list of ", o.language.size()}, {}, site);

  const std::vector<std::string> words = words_of(text);
  const auto fault = [](const char* what, double figure) { return what + (" " + detail::as_text(figure)); };
  const double count = static_cast<double>(words.size());
  if (std::ssize(words) < o.fewest_words || std::ssize(words) > o.most_words) return fault("words:", count);
  double length = 0, with_letters = 0;
  for (const std::string& word : words) {
    length += static_cast<double>(word.size());
    with_letters += detail::has_letter(word);
  }
  const double mean = length / std::max(count, 1.0), lettered = with_letters / std::max(count, 1.0);
  if (!words.empty() && (mean < o.shortest_mean || mean > o.longest_mean)) return fault("mean length of words:", mean);
  if (!words.empty() && lettered < o.letters) return fault("share of words with letters:", lettered);
  Index found = 0;
  for (const std::string& word : o.language) found += std::find(words.begin(), words.end(), word) != words.end();
  if (found < o.stop_words) return fault("stop words:", static_cast<double>(found));
  if (const double again = detail::duplicate_lines(text); again > o.duplicate_lines)
    return fault("share of repeated lines:", again);
  for (std::size_t n = 0; n < o.most_common.size(); ++n)
    if (const double part = detail::commonest_run(words, n + 2); part > o.most_common[n])
      return fault(n == 0   ? "share of the commonest two words:"
                   : n == 1 ? "share of the commonest three words:"
                            : "share of the commonest four words:",
                   part);
  return "";
}

/// How a `QualityClassifier` is trained.
struct QualityOptions {
  Index buckets = 4096;     ///< numbers that there are for words; two words may share one
  double l2 = 1e-3;         ///< weight of |w|^2 / 2 beside the mean loss
  int iterations = 2000;    ///< at most
  double tolerance = 1e-6;  ///< of the largest slope
};

/// Logistic regression on the counts of a text's hashed words, over their norm: how much a text is like the good ones.
struct QualityClassifier {
  Tensor<double> weights;  ///< [buckets]
  Tensor<double> bias;     ///< []
  GRAFT_FIELDS(weights, bias)

  /// The chance that the text is one of the good ones, if both kinds were equally common. Throws ValueError before
  /// training.
  double operator()(std::string_view text, Site site = Site::current()) const;
};

namespace detail {

/// A text's words: (bucket, count / norm of all counts), ascending.
inline std::vector<std::pair<std::size_t, double>> word_features(std::string_view text, Index buckets) {
  std::map<std::size_t, double> counts;
  for (const std::string& word : words_of(text)) {
    std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    ++counts[static_cast<std::size_t>(mix(0, hash) % static_cast<std::uint64_t>(buckets))];
  }
  double squares = 0;
  for (const auto& [bucket, count] : counts) squares += count * count;
  std::vector<std::pair<std::size_t, double>> features;
  for (const auto& [bucket, count] : counts) features.emplace_back(bucket, count / std::sqrt(squares));
  return features;
}

}  // namespace detail

inline double QualityClassifier::operator()(std::string_view text, Site site) const {
  if (!weights.defined()) fail("QualityClassifier", "called before it was trained", {}, site);
  const auto w = host(weights);
  double z = bias.item();
  for (const auto& [bucket, x] : detail::word_features(text, weights.count())) z += w[bucket] * x;
  return 1 / (1 + std::exp(-z));
}

/// Trains on texts that are good and others, each kind with half of the weight whatever its size: the minimum of the
/// mean logistic loss + l2 |w|^2 / 2 (the bias is free), by accelerated gradient descent (Nesterov 1983) that starts
/// anew when it climbs (O'Donoghue, Candes 2015). Nothing is drawn. Throws ValueError for no texts of a kind and
/// options out of range.
inline QualityClassifier train_quality(std::span<const std::string> good, std::span<const std::string> others,
                                       const QualityOptions& o = {}, Site site = Site::current()) {
  const char* op = "train_quality";
  if (good.empty() || others.empty()) fail(op, {good.size(), " good texts and ", others.size(), " others"}, {}, site);
  if (o.buckets < 1 || o.iterations < 1) fail(op, {o.buckets, " buckets, ", o.iterations, " iterations"}, {}, site);
  detail::check_option<double>(op, "l2", o.l2, detail::Range::positive, site);
  detail::check_option<double>(op, "tolerance", o.tolerance, detail::Range::positive, site);
  struct Text {
    std::vector<std::pair<std::size_t, double>> features;
    double target, weight;
  };
  std::vector<Text> texts;
  for (const auto& [list, target] : {std::pair(good, 1.0), std::pair(others, 0.0)})
    for (const std::string& text : list)
      texts.push_back({detail::word_features(text, o.buckets), target, 0.5 / static_cast<double>(list.size())});
  const auto size = static_cast<std::size_t>(o.buckets);
  std::vector<double> w(size + 1), ahead(size + 1), slope(size + 1);  // the bias comes last
  const double step = 1 / (0.5 + o.l2);  // features and the 1 of the bias have squares of at most 2, times 1/4
  double momentum = 1;
  for (int iteration = 0; iteration < o.iterations; ++iteration) {
    for (std::size_t k = 0; k < size; ++k) slope[k] = o.l2 * ahead[k];
    slope[size] = 0;
    for (const Text& text : texts) {
      double z = ahead[size];
      for (const auto& [bucket, x] : text.features) z += ahead[bucket] * x;
      const double error = text.weight * (1 / (1 + std::exp(-z)) - text.target);
      for (const auto& [bucket, x] : text.features) slope[bucket] += error * x;
      slope[size] += error;
    }
    double largest = 0, climbs = 0;
    const double next = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
    std::vector<double> moved(size + 1);
    for (std::size_t k = 0; k <= size; ++k) {
      moved[k] = ahead[k] - step * slope[k];
      largest = std::max(largest, std::abs(slope[k]));
      climbs += slope[k] * (moved[k] - w[k]);
    }
    const double keep = climbs > 0 ? 0 : (momentum - 1) / next;
    momentum = climbs > 0 ? 1 : next;
    for (std::size_t k = 0; k <= size; ++k) ahead[k] = moved[k] + keep * (moved[k] - w[k]);
    w = std::move(moved);
    if (largest < o.tolerance) break;
  }
  const Tensor<double> bias(w.back());
  w.pop_back();
  return {from_vector(std::move(w)), bias};
}

/// The chance of keeping a text of that quality, (2 - score)^(-alpha): a Pareto draw above 1 - score, so that some of
/// what the classifier dislikes stays. Brown et al. take 9: a score of 1 is always kept, one of 0 with 0.2 %. Throws
/// ValueError for a score outside [0, 1] and an alpha below 0.
inline double keep_chance(double score, double alpha = 9, Site site = Site::current()) {
  if (!(score >= 0 && score <= 1)) fail("keep_chance", {"score is ", score, ", expected 0 to 1"}, {}, site);
  detail::check_option<double>("keep_chance", "alpha", alpha, detail::Range::not_negative, site);
  return std::pow(2 - score, -alpha);
}

}  // namespace GRAFT_ABI
}  // namespace graft
