#pragma once
// Texts that are nearly the same, found without comparing all with all. Broder, "On the resemblance and containment of
// documents", SEQUENCES 1997 (shingles, MinHash); Indyk, Motwani, "Approximate nearest neighbors", STOC 1998 (locality
// sensitive hashing). For training texts: Lee et al., "Deduplicating training data makes language models better", ACL
// 2022.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/core/random.hpp"
#include "graft/data/labelled_text.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How texts are compared.
struct DuplicateOptions {
  Index shingle = 5;       ///< words in a row that make a shingle; a shorter text is one shingle
  double threshold = 0.8;  ///< share of their shingles that two texts must have in common
  Index hashes = 128;      ///< of a text
  /// Bands that the hashes are cut into; must divide them. Two texts are compared when all `hashes` / `bands` of one
  /// band agree: of texts that have a share J in common a part 1 - (1 - J^(hashes / bands))^bands is found.
  Index bands = 32;
  std::uint64_t seed = 0;  ///< of the hash functions
};

namespace detail {

inline void check_duplicate_options(const char* op, const DuplicateOptions& o, Site site) {
  if (o.shingle < 1) fail(op, {"shingles of ", o.shingle, " words"}, {}, site);
  if (!(o.threshold > 0 && o.threshold <= 1))
    fail(op, {"threshold is ", o.threshold, ", expected in (0, 1]"}, {}, site);
  if (o.hashes < 1 || o.bands < 1 || o.hashes % o.bands != 0)
    fail(op, {o.bands, " bands do not divide ", o.hashes, " hashes"}, {}, site);
}

}  // namespace detail

/// The different shingles of a text as numbers of 64 bits, ascending; none of a text without words. Words are those of
/// `words_of`. Throws ValueError for options out of range.
inline std::vector<std::uint64_t> shingles_of(std::string_view text, const DuplicateOptions& o = {},
                                              Site site = Site::current()) {
  detail::check_duplicate_options("shingles_of", o, site);
  const std::vector<std::string> words = words_of(text);
  std::vector<std::uint64_t> hashes, all;
  for (const std::string& word : words) {
    std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
    for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    hashes.push_back(hash);
  }
  const std::size_t each = std::min(static_cast<std::size_t>(o.shingle), hashes.size());
  for (std::size_t at = 0; each > 0 && at + each <= hashes.size(); ++at) {
    std::uint64_t hash = 0;
    for (std::size_t w = at; w < at + each; ++w) hash = detail::mix(hash, hashes[w]);
    all.push_back(hash);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// |A and B| / |A or B| of two ascending lists of shingles; 1 for two empty ones.
inline double jaccard(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  std::size_t common = 0;
  for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();)
    if (*x == *y) {
      ++common;
      ++x, ++y;
    } else if (*x < *y) {
      ++x;
    } else {
      ++y;
    }
  const std::size_t either = a.size() + b.size() - common;
  return either == 0 ? 1 : static_cast<double>(common) / static_cast<double>(either);
}

/// The MinHash signature, `hashes` numbers: of each hash function the least hash of a shingle (2^64 - 1 for none). Two
/// signatures agree at a place with a chance that is the Jaccard index of the sets, up to collisions of 64 bits. Throws
/// ValueError for options out of range.
inline std::vector<std::uint64_t> min_hash(std::span<const std::uint64_t> shingles, const DuplicateOptions& o = {},
                                           Site site = Site::current()) {
  detail::check_duplicate_options("min_hash", o, site);
  const Random keys = Random(o.seed).stream("min_hash");
  std::vector<std::uint64_t> least;
  for (Index h = 0; h < o.hashes; ++h) {
    const std::uint64_t key = keys.bits(static_cast<std::uint64_t>(h));
    std::uint64_t best = std::numeric_limits<std::uint64_t>::max();
    for (const std::uint64_t shingle : shingles) best = std::min(best, detail::mix(key, shingle));
    least.push_back(best);
  }
  return least;
}

/// The share of places at which two signatures agree: an unbiased estimate of the Jaccard index J with variance J (1 -
/// J) / hashes. Throws ShapeError for signatures of unequal length, or of none.
inline double estimated_jaccard(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b,
                                Site site = Site::current()) {
  if (a.size() != b.size() || a.empty())
    fail<ShapeError>("estimated_jaccard", {"signatures of ", a.size(), " and ", b.size(), " numbers"}, {}, site);
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.size(); ++i) equal += a[i] == b[i];
  return static_cast<double>(equal) / static_cast<double>(a.size());
}

/// What of a list of texts is new.
struct NearDuplicates {
  std::vector<Index> kept;      ///< texts that are like no kept one before, ascending
  std::vector<Index> original;  ///< [texts]: the first kept text that each is like; itself if it is kept
};

/// Goes through the texts in their order and keeps each that has less than `threshold` of its shingles in common with
/// every kept one. Candidates are found by bands of MinHash signatures and then compared shingle by shingle, so nothing
/// is dropped by chance; a pair just above the threshold may be missed, see `DuplicateOptions::bands`, one of equal
/// words never. Texts without words are all alike. The same on any number of threads. Throws ValueError for options out
/// of range.
inline NearDuplicates near_duplicates(std::span<const std::string> texts, const DuplicateOptions& o = {},
                                      Site site = Site::current()) {
  detail::check_duplicate_options("near_duplicates", o, site);
  const auto count = static_cast<Index>(texts.size());
  std::vector<std::vector<std::uint64_t>> sets(texts.size()), bands(texts.size());
  const Index rows = o.hashes / o.bands;
  parallel_tasks(count, [&](Index i) {
    const auto at = static_cast<std::size_t>(i);
    sets[at] = shingles_of(texts[at], o, site);
    const std::vector<std::uint64_t> signature = min_hash(sets[at], o, site);
    for (Index band = 0; band < o.bands; ++band) {
      std::uint64_t hash = static_cast<std::uint64_t>(band);
      for (Index r = 0; r < rows; ++r) hash = detail::mix(hash, signature[static_cast<std::size_t>(band * rows + r)]);
      bands[at].push_back(hash);
    }
  });
  NearDuplicates result;
  std::unordered_map<std::uint64_t, std::vector<Index>> buckets;
  for (Index i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    std::vector<Index> candidates;
    for (const std::uint64_t band : bands[at])
      if (const auto found = buckets.find(band); found != buckets.end())
        candidates.insert(candidates.end(), found->second.begin(), found->second.end());
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    const auto like = std::find_if(candidates.begin(), candidates.end(), [&](Index j) {
      return jaccard(sets[at], sets[static_cast<std::size_t>(j)]) >= o.threshold;
    });
    result.original.push_back(like == candidates.end() ? i : *like);
    if (like != candidates.end()) continue;
    result.kept.push_back(i);
    for (const std::uint64_t band : bands[at]) buckets[band].push_back(i);
  }
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
