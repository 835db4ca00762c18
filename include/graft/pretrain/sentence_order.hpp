#pragma once
// Two sentences: does the second follow the first? Next sentence prediction (NSP): Devlin, Chang, Lee, Toutanova,
// "BERT: pre-training of deep bidirectional transformers for language understanding", NAACL 2019; the second is any
// sentence of another document half of the time. Sentence order prediction (SOP): Lan et al., "ALBERT: a lite BERT for
// self-supervised learning of language representations", ICLR 2020; the two are swapped half of the time, so the topic
// tells nothing. Liu et al., "RoBERTa", 2019, found NSP of no use: compare with `none`.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What is asked of pairs of sentences; with `none` all pairs follow each other and the loss is 0.
enum class SentenceOrder { none, nsp, sop };

/// A pair of sentences.
struct SentencePair {
  Index first_document, first;  ///< document, and sentence in it
  Index second_document, second;
  Index label;  ///< 0: the second follows the first; 1: it does not
};

/// Options of `draw_sentence_pairs`.
struct SentencePairOptions {
  SentenceOrder order = SentenceOrder::nsp;
  double broken = 0.5;  ///< chance that a pair is not in order; the authors' half
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};
};

/// Draws `count` pairs of neighbours, all equally likely, from documents of so many sentences each, and breaks some: of
/// NSP the second is then any sentence of any other document, each document that has one as likely as another, of SOP
/// the two are swapped. Which are broken depends on a stream of its own. Throws ValueError for a negative number, a
/// share outside [0, 1], no document of two sentences, and NSP with nothing to draw from besides the only document.
inline std::vector<SentencePair> draw_sentence_pairs(const std::vector<Index>& sentences, Index count,
                                                     const Random& random, const SentencePairOptions& o = {},
                                                     Site site = Site::current()) {
  const char* op = "draw_sentence_pairs";
  if (count < 0) fail(op, {count, " pairs"}, {}, site);
  if (!(o.broken >= 0 && o.broken <= 1)) fail(op, {"broken is ", o.broken, ", expected a share of 1"}, {}, site);
  std::vector<Index> documents, before;  // with a sentence in them, and how many neighbours came before each document
  Index neighbours = 0;
  for (std::size_t d = 0; d < sentences.size(); ++d) {
    if (sentences[d] < 0) fail(op, {"document ", d, " has ", sentences[d], " sentences"}, {}, site);
    if (sentences[d] > 0) documents.push_back(static_cast<Index>(d));
    before.push_back(neighbours);
    neighbours += std::max(sentences[d] - 1, Index{0});
  }
  if (neighbours == 0) fail(op, {"none of ", sentences.size(), " documents has two sentences"}, {}, site);
  const auto others = static_cast<Index>(documents.size()) - 1;
  if (o.order == SentenceOrder::nsp && o.broken > 0 && others == 0)
    fail(op, "a single document with sentences: there is no other one to draw a sentence from", {}, site);

  const Random place = random.stream("place"), coin = random.stream("coin"), other = random.stream("other");
  std::vector<SentencePair> pairs;
  for (Index i = 0; i < count; ++i) {
    const auto draw = static_cast<std::uint64_t>(i);
    const Index at = place.below(draw, neighbours);
    const auto d = std::upper_bound(before.begin(), before.end(), at) - before.begin() - 1;
    const Index sentence = at - before[static_cast<std::size_t>(d)];
    SentencePair pair{d, sentence, d, sentence + 1, 0};
    if (o.order != SentenceOrder::none && coin.uniform(draw) < o.broken) {
      pair.label = 1;
      if (o.order == SentenceOrder::sop) {
        std::swap(pair.first, pair.second);
      } else {
        Index rank = other.below(2 * draw, others);
        if (documents[static_cast<std::size_t>(rank)] >= d) ++rank;
        pair.second_document = documents[static_cast<std::size_t>(rank)];
        pair.second = other.below(2 * draw + 1, sentences[static_cast<std::size_t>(pair.second_document)]);
      }
    }
    pairs.push_back(pair);
  }
  return pairs;
}

/// Tokens of documents: of each its sentences, of each its tokens.
using DocumentTokens = std::vector<std::vector<std::vector<std::int64_t>>>;

/// How pairs become rows of tokens; the defaults are of BERT's vocabulary.
struct PairTokensOptions {
  Index length = 128;  ///< tokens of a row, the three special ones among them
  Index cls = 101, sep = 102, pad = 0;
};

/// Pairs as a batch, for `Bert` and `mask_tokens`.
struct PairTokens {
  Tensor<std::int64_t> ids;       ///< [pairs, length]: [CLS] first [SEP] second [SEP] and padding
  Tensor<std::int64_t> segments;  ///< [pairs, length]: 1 for the second and what ends it, else 0
  Tensor<bool> mask;              ///< [pairs, length]: where there is a token
  Tensor<bool> maskable;          ///< [pairs, length]: where it is none of the special ones
  Tensor<std::int64_t> labels;    ///< [pairs]
};

/// The pairs' tokens. Of pairs that are too long, the longer sentence loses its last token until they fit. Throws
/// IndexError for a sentence that there is not, ValueError for a length below 5.
inline PairTokens pair_tokens(const DocumentTokens& documents, const std::vector<SentencePair>& pairs,
                              const PairTokensOptions& o = {}, Site site = Site::current()) {
  if (o.length < 5) fail("pair_tokens", {"length is ", o.length, ", expected 5 or more"}, {}, site);
  const auto count = static_cast<Index>(pairs.size());
  const auto sentence = [&](Index d, Index s) -> const std::vector<std::int64_t>& {
    if (d < 0 || d >= std::ssize(documents) || s < 0 || s >= std::ssize(documents[static_cast<std::size_t>(d)]))
      fail<IndexError>("pair_tokens", {"there is no sentence ", s, " of document ", d}, {}, site);
    return documents[static_cast<std::size_t>(d)][static_cast<std::size_t>(s)];
  };
  List<std::int64_t> ids(count * o.length, o.pad), segments(count * o.length), labels;
  List<char> kinds(count * o.length);  // 0: nothing, 1: special, 2: a token
  for (Index i = 0; i < count; ++i) {
    const SentencePair& pair = pairs[static_cast<std::size_t>(i)];
    const auto &first = sentence(pair.first_document, pair.first),
               &second = sentence(pair.second_document, pair.second);
    Index a = std::ssize(first), b = std::ssize(second);
    while (a + b > o.length - 3) --(a > b ? a : b);
    Index at = i * o.length;
    const auto put = [&](std::int64_t token, Index segment, char kind) {
      ids[at] = token;
      segments[at] = segment;
      kinds[at++] = kind;
    };
    put(o.cls, 0, 1);
    for (Index t = 0; t < a; ++t) put(first[static_cast<std::size_t>(t)], 0, 2);
    put(o.sep, 0, 1);
    for (Index t = 0; t < b; ++t) put(second[static_cast<std::size_t>(t)], 1, 2);
    put(o.sep, 1, 1);
    labels.push_back(pair.label);
  }
  const Shape shape{count, o.length};
  const auto marks = [&](char least) {
    return generate(shape, [&](Index i, Index t) { return kinds[i * o.length + t] >= least; });
  };
  return {from_vector(ids, shape), from_vector(segments, shape), marks(1), marks(2), from_vector(labels)};
}

/// The head: classifier(tanh(pooler(h))) of the first token's vector h, with BERT's names.
template <class T = float>
struct SentenceOrderHead {
  Linear<T> pooler, classifier;  ///< width -> width -> 2
  GRAFT_FIELDS(pooler, classifier)

  SentenceOrderHead() = default;
  /// Initial values of `Linear`.
  SentenceOrderHead(Index width, const Random& random, Site site = Site::current())
      : pooler(width, width, random.stream("pooler"), {}, site),
        classifier(width, 2, random.stream("classifier"), {}, site) {}

  /// hidden [pairs, time, width], the class token first -> scores [pairs, 2]. Throws ShapeError.
  Tensor<T> operator()(const Tensor<T>& hidden, Site site = Site::current()) const {
    const Named here("SentenceOrderHead", site);
    if (hidden.rank() != 3 || hidden.size(1) < 1 || hidden.size(2) != pooler.weight.size(1))
      fail<ShapeError>("SentenceOrderHead", {"expected hidden [pairs, time, ", pooler.weight.size(1), "]"},
                       {{"hidden", hidden.shape()}}, site);
    const Tensor<T> first = reshape(slice(hidden, 1, 0, 1, 1, site), {hidden.size(0), hidden.size(2)});
    return classifier(tanh(pooler(first, site)), site);
  }
};

/// The cross-entropy of `head`'s scores, to be added to that of masked tokens: shape []. With `none` it is 0 and the
/// head is not asked. Throws ShapeError, IndexError for labels other than 0 and 1, ValueError for no pairs.
template <Real T>
Tensor<T> sentence_order_loss(const SentenceOrderHead<T>& head, const Tensor<T>& hidden,
                              const Tensor<std::int64_t>& labels, SentenceOrder order = SentenceOrder::nsp,
                              Site site = Site::current()) {
  if (order == SentenceOrder::none) return zeros<T>({});
  const Named here("sentence_order_loss", site);
  if (labels.count() == 0) fail("sentence_order_loss", "there are no pairs", {{"labels", labels.shape()}}, site);
  return cross_entropy(head(hidden, site), labels, {}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
