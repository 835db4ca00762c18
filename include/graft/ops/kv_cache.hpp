#pragma once
// Keys and values of the tokens that a causal attention has seen, kept for those to come: for inference. The one type
// whose numbers grow in place.

#include "graft/ops/attention.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Keys and values [batch, key_heads, length, depth] of one attention layer, with room for more: appending copies the
/// new places alone until the room is used up, and then doubles it. A copy of a cache is independent and costs nothing
/// until one of the two grows. No gradients flow through a cache.
template <Real T = float>
class KvCache {
 public:
  KvCache() = default;

  /// Places that are kept.
  Index length() const { return length_; }
  /// Places that there is room for.
  Index capacity() const { return keys_.defined() ? keys_.shape()[2] : 0; }

  /// Adds places: keys [batch, key_heads, places, depth], values [batch, key_heads, places, value_depth]. Throws
  /// ShapeError when they do not go together, or not with what is kept, ValueError when they are on a tape.
  void append(const Tensor<T>& keys, const Tensor<T>& values, Site site = Site::current()) {
    const Shape &a = keys.shape(), &b = values.shape();
    const auto fits = [&](const Shape& kept, const Shape& more) {
      return kept[0] == more[0] && kept[1] == more[1] && kept[3] == more[3];
    };
    const bool together = a.rank() == 4 && b.rank() == 4 && a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
    if (!together || (keys_.defined() && !(fits(keys_.shape(), a) && fits(values_.shape(), b))))
      fail<ShapeError>("KvCache", "expected keys and values [batch, key_heads, places, depth] like those that are kept",
                       {{"keys", a},
                        {"values", b},
                        {"kept keys", keys_.defined() ? keys_.shape().with(2, length_) : Shape{}},
                        {"kept values", values_.defined() ? values_.shape().with(2, length_) : Shape{}}},
                       site);
    check_untracked(site, keys, values);
    const Index longer = length_ + a[2];
    make_room(keys_, a, longer, site);
    make_room(values_, b, longer, site);
    put(keys, keys_);
    put(values, values_);
    length_ = longer;
  }

  /// Room for `places` in all, so that appending allocates nothing until they are used up. Throws ValueError for an
  /// empty cache that knows no shapes yet: append first.
  void reserve(Index places, Site site = Site::current()) {
    if (!keys_.defined()) fail("KvCache", "nothing was appended yet, so the shapes are not known", {}, site);
    if (places <= capacity()) return;
    keys_ = moved(keys_, places, site);
    values_ = moved(values_, places, site);
  }

  /// Forgets all places from `length` on; the room stays. Throws IndexError for more places than there are.
  void truncate(Index length, Site site = Site::current()) {
    if (length < 0 || length > length_)
      fail<IndexError>("KvCache", {"cannot keep ", length, " of ", length_, " places"}, {}, site);
    length_ = length;
  }

  /// The keys and values that are kept, [batch, key_heads, length, depth]: copies, for looking at.
  Tensor<T> keys(Site site = Site::current()) const { return kept(keys_, site); }
  Tensor<T> values(Site site = Site::current()) const { return kept(values_, site); }

  /// softmax(scale q k^T) v over the kept keys: q [batch, heads, queries, depth] -> [batch, heads, queries,
  /// value_depth], as `scaled_dot_product_attention` of all keys and values at once; with `causal`, the last query sees
  /// all keys. Throws ShapeError when q does not fit, ValueError for a bias and when q is on a tape.
  Tensor<T> attend(const Tensor<T>& q, const AttentionOptions<T>& options = {}, Site site = Site::current()) const {
    if (!keys_.defined()) fail("KvCache", "nothing was appended yet", {{"q", q.shape()}}, site);
    const Shape &a = q.shape(), &k = keys_.shape();
    if (a.rank() != 4 || a[0] != k[0] || a[3] != k[3] || (a[1] != k[1] && (k[1] == 0 || a[1] % k[1] != 0)))
      fail<ShapeError>("KvCache", "expected q [batch, heads, queries, depth], the kept heads dividing heads",
                       {{"q", a}, {"kept keys", k.with(2, length_)}}, site);
    if (options.bias.defined()) fail("KvCache", "takes no bias", {{"q", a}, {"bias", options.bias.shape()}}, site);
    check_untracked(site, q);
    const detail::AttentionPlan<T> plan =
        detail::checked_plan<T>("KvCache", {a[0], a[1], a[2], length_}, a[3], options, site);
    const cpu::AttentionProblem<T> p = detail::attention_problem<T>(plan, q, keys_, values_, length_, nullptr);
    Tensor<T> value = detail::fresh<T>({p.batch, p.heads, p.queries, p.value_depth}, "KvCache", site);
    const Tensor<T> norms = detail::fresh<T>({2, p.batch * p.heads * p.queries});
    cpu::attention(p, detail::writable(value),
                   {detail::writable(norms), detail::writable(norms) + p.batch * p.heads * p.queries});
    return value;
  }

 private:
  static constexpr Index kFirstRoom = 16;

  template <class... Us>
  static void check_untracked(Site site, const Us&... x) {
    if (recorded(x...))
      fail("KvCache", "no gradients flow through a cache: pass detached tensors, or a detached model",
           {{"x", x.shape()}...}, site);
  }

  /// The kept places of `from` in a block with room for `places`.
  Tensor<T> moved(const Tensor<T>& from, Index places, Site site) const {
    const Shape& own = from.shape();
    Tensor<T> to = detail::fresh<T>(own.with(2, places), "KvCache", site);
    for (Index head = 0; head < own[0] * own[1]; ++head)
      std::copy_n(from.data() + head * own[2] * own[3], length_ * own[3],
                  detail::writable(to) + head * places * own[3]);
    return to;
  }
  /// Makes `kept` a block that nobody else sees, with room for `places`.
  void make_room(Tensor<T>& kept, const Shape& more, Index places, Site site) const {
    if (!kept.defined())
      kept = detail::fresh<T>(more.with(2, std::max(places, kFirstRoom)), "KvCache", site);
    else if (places > kept.shape()[2])
      kept = moved(kept, std::max(places, 2 * kept.shape()[2]), site);
    else if (!detail::sole_owner(kept))
      kept = moved(kept, kept.shape()[2], site);
  }
  /// Writes `more` behind the places that `kept` holds.
  void put(const Tensor<T>& more, const Tensor<T>& kept) const {
    const Index width = more.shape()[3], places = more.shape()[2], room = kept.shape()[2];
    for (Index head = 0; head < more.shape()[0] * more.shape()[1]; ++head)
      std::copy_n(more.data() + head * places * width, places * width,
                  detail::writable(kept) + (head * room + length_) * width);
  }
  Tensor<T> kept(const Tensor<T>& from, Site site) const {
    if (!from.defined()) fail("KvCache", "nothing was appended yet", {}, site);
    return moved(from, length_, site);
  }

  Tensor<T> keys_, values_;
  Index length_ = 0;
};

}  // namespace GRAFT_ABI
}  // namespace graft
