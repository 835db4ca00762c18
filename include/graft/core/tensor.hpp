#pragma once
// Tensor<T>: one reference-counted pointer to a shape and immutable row-major numbers. Copying a tensor copies the
// pointer. A tensor made by a recorded op also carries the tape node that says how to differentiate it (autodiff/).

#include <atomic>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"
#include "graft/core/memory.hpp"
#include "graft/core/random.hpp"
#include "graft/core/slow_build.hpp"
#include "graft/fwd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Element types. float and double are differentiable, int32, int64 and bool index and mask, uint8 and uint16 store.
template <class T>
concept Element = std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int32_t> ||
                  std::is_same_v<T, std::int64_t> || std::is_same_v<T, bool> || std::is_same_v<T, std::uint8_t> ||
                  std::is_same_v<T, std::uint16_t>;
/// Element types that gradients flow through.
template <class T>
concept Real = std::is_same_v<T, float> || std::is_same_v<T, double>;
/// Element types of whole numbers and truth values.
template <class T>
concept Whole = Element<T> && !Real<T>;
/// Numbers of the language: int, float, bool ...
template <class S>
concept Number = std::is_arithmetic_v<S>;
/// Those without a fraction, bool and characters among them.
template <class S>
concept WholeNumber = std::is_integral_v<S>;
/// Those with one: float, double, long double.
template <class S>
concept FractionNumber = std::is_floating_point_v<S>;
/// Element types of indices.
template <class T>
concept Integer = std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t>;

namespace detail {

/// What a tensor points to. Three kinds share it: a *block* (numbers behind the header in the same allocation), a
/// *view* (header only; the numbers belong to `owner`, always a block) and the head of a tape *node* (a view as well).
struct Body {
  enum class Kind : std::uint8_t { block, view, node };

  std::atomic<std::int32_t> refs{1};
  Kind kind;
  bool frozen = false;
  Shape shape;
  Index count = 0;
  void* data = nullptr;
  Body* owner = nullptr;        // null for a block
  union {
    std::size_t block_bytes = 0;  // of a block or view: size of this allocation
    void (*release_head)(Body*);  // of a node: called when the last handle is gone
  };

  explicit Body(Kind k) : kind(k) {}
};
inline constexpr std::size_t kHeaderBytes = 128;
static_assert(sizeof(Body) <= kHeaderBytes);
/// Spare bytes behind the numbers: any kernel may load one whole batch from the last element on.
inline constexpr std::size_t kSpareBytes = 64;

inline void retain(Body* body) noexcept {
  if (body) body->refs.fetch_add(1, std::memory_order_relaxed);
}
/// Gives one reference back; true when it was the last. A handle that sees itself alone needs no atomic subtraction:
/// nobody else can be copying it.
inline bool give_back(Body* body) noexcept {
  return body->refs.load(std::memory_order_acquire) == 1 || body->refs.fetch_sub(1, std::memory_order_acq_rel) == 1;
}
[[gnu::noinline]] inline void destroy(Body* body) noexcept {
  if (body->owner && give_back(body->owner)) destroy(body->owner);
  if (body->kind == Body::Kind::node) {
    body->owner = nullptr;
    body->release_head(body);
  } else {
    free_block(body, body->block_bytes);
  }
}
inline void release(Body* body) noexcept {
  if (body && give_back(body)) destroy(body);
}

/// Element count of `shape`; throws when the rank is too high, a size is negative or the bytes overflow.
GRAFT_ONCE
[[gnu::noinline]] Index checked_count(const char* op, const Shape& shape, std::size_t element_bytes, Site site) {
  if (shape.rank() > kMaxRank) fail<ShapeError>(op, {"rank ", shape.rank(), " is above 6"}, {{"shape", shape}}, site);
  Index count = 1;
  bool overflow = false;
  for (Index size : shape) {
    if (size < 0) fail<ShapeError>(op, "negative size", {{"shape", shape}}, site);
    overflow |= __builtin_mul_overflow(count, size, &count);
  }
  Index bytes = 0;
  overflow |= __builtin_mul_overflow(count, static_cast<Index>(element_bytes), &bytes);
  if (overflow || bytes > (Index{1} << 43))
    fail<ShapeError>(op, "more bytes than can be addressed", {{"shape", shape}}, site);
  return count;
}

/// The shape that two arguments broadcast to; throws when there is none.
inline Shape checked_broadcast(const char* op, Arg x, Arg y, Site site) {
  Shape joined;
  if (!broadcast_shapes(x.shape, y.shape, joined)) [[unlikely]]
    fail<ShapeError>(op, "shapes do not broadcast", {x, y}, site);
  return joined;
}

[[gnu::noinline]] inline Body* new_block(const Shape& shape, Index count, std::size_t element_bytes) {
  const std::size_t used = static_cast<std::size_t>(count) * element_bytes;
  const std::size_t padded = (used + 63) / 64 * 64 + kSpareBytes;
  const std::size_t bytes = kHeaderBytes + padded;
  char* memory = static_cast<char*>(allocate_block(bytes));
  Body* body = new (memory) Body(Body::Kind::block);
  body->shape = shape;
  body->count = count;
  body->data = memory + kHeaderBytes;
  body->block_bytes = bytes;
  // The last 64 to 127 bytes, in two pieces of fixed length that need no call.
  std::memset(memory + kHeaderBytes + used, 0, kSpareBytes);
  std::memset(memory + bytes - kSpareBytes, 0, kSpareBytes);
  return body;
}

/// A header of its own over the numbers of `source`, from element `offset_bytes` on.
[[gnu::noinline]] inline Body* new_view(Body* source, const Shape& shape, Index count, std::size_t offset_bytes) {
  Body* owner = source->owner ? source->owner : source;
  retain(owner);
  Body* body = new (allocate_block(kHeaderBytes)) Body(Body::Kind::view);
  body->shape = shape;
  body->count = count;
  body->data = static_cast<char*>(source->data) + offset_bytes;
  body->owner = owner;
  body->block_bytes = kHeaderBytes;
  body->frozen = source->frozen;
  return body;
}

}  // namespace detail

/// A reference-counted handle to any tensor, whatever its element type; empty by default.
class AnyTensor {
 public:
  AnyTensor() = default;
  explicit AnyTensor(detail::Body* adopted) : body_(adopted) {}
  AnyTensor(const AnyTensor& other) : body_(other.body_) { detail::retain(body_); }
  AnyTensor(AnyTensor&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  AnyTensor& operator=(AnyTensor other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~AnyTensor() { detail::release(body_); }

  /// False for a default-constructed handle.
  bool defined() const { return body_ != nullptr; }
  /// True when gradients flow through this tensor: it is a variable or was computed from one.
  bool tracked() const { return body_ && body_->kind == detail::Body::Kind::node; }
  detail::Body* body() const { return body_; }

 protected:
  detail::Body* body_ = nullptr;
};

/// Numbers of type T with a run-time shape of rank 0 to 6, row-major and contiguous. Data never changes once published.
template <class T>
class Tensor : public AnyTensor {
  static_assert(Element<T>, "graft::Tensor holds float, double, int32, int64, bool, uint8 or uint16");

 public:
  using Scalar = T;

  Tensor() = default;
  /// Takes over one reference. A template, so that the number 0 is no pointer.
  template <class B>
    requires std::is_base_of_v<detail::Body, B>
  explicit Tensor(B* adopted) : AnyTensor(adopted) {}
  explicit Tensor(AnyTensor any) : AnyTensor(std::move(any)) {}
  /// A scalar, shape [].
  explicit Tensor(T value) : AnyTensor(detail::new_block(Shape{}, 1, sizeof(T))) {
    *static_cast<T*>(body_->data) = value;
  }

  const Shape& shape() const { return checked()->shape; }
  int rank() const { return shape().rank(); }
  /// Size of an axis; negative axes count from the end.
  Index size(int axis) const {
    const Shape& sizes = shape();
    if (axis < -sizes.rank() || axis >= sizes.rank())
      fail<IndexError>("Tensor::size", {"axis ", axis, " of rank ", sizes.rank()}, {{"tensor", sizes}});
    return sizes[axis];
  }
  /// Number of elements.
  Index count() const { return checked()->count; }

  const T* data() const { return static_cast<const T*>(checked()->data); }
  /// All elements in row-major order. Valid while a handle lives; never writable.
  std::span<const T> span() const& { return {data(), static_cast<std::size_t>(count())}; }
  /// Not of a temporary: its numbers may be gone before the span is read.
  void span() && = delete;

  /// The value of a tensor with exactly one element.
  T item(Site site = Site::current()) const {
    if (count() != 1) fail<ShapeError>("Tensor::item", "needs exactly one element", {{"tensor", shape()}}, site);
    return *data();
  }
  /// The element at (i, j, ...), one index an axis; negative ones count from the end.
  T at(std::initializer_list<Index> position, Site site = Site::current()) const {
    const Shape& sizes = shape();
    if (static_cast<int>(position.size()) != sizes.rank())
      fail<IndexError>("Tensor::at", {position.size(), " indices"}, {{"tensor", sizes}}, site);
    Index offset = 0;
    int axis = 0;
    for (Index i : position) {
      const Index size = sizes[axis];
      if (i < -size || i >= size)
        fail<IndexError>("Tensor::at", {"index ", i, " on axis ", axis}, {{"tensor", sizes}}, site);
      offset = offset * size + (i < 0 ? i + size : i);
      ++axis;
    }
    return data()[offset];
  }

  /// The same numbers outside any tape.
  Tensor detach() const {
    if (!tracked()) return *this;
    return Tensor(detail::new_view(body_, body_->shape, body_->count, 0));
  }
  /// True when `freeze` marked it: it gets zero gradients and optimisers leave it alone.
  bool frozen() const { return body_ && body_->frozen; }

 private:
  detail::Body* checked() const {
    if (!body_) [[unlikely]]
      fail("Tensor", "used before it was given a value");
    return body_;
  }
};

namespace detail {

/// A tensor whose numbers are still to be written, by whoever made it and before anybody else sees it.
template <class T>
Tensor<T> fresh(const Shape& shape, const char* op = "tensor", Site site = {}) {
  return Tensor<T>(new_block(shape, checked_count(op, shape, sizeof(T), site), sizeof(T)));
}
template <class T>
T* writable(const Tensor<T>& tensor) {
  return static_cast<T*>(tensor.body()->data);
}
/// True when `tensor` is the only handle to its numbers, so that they may be overwritten unseen.
template <class T>
bool sole_owner(const Tensor<T>& tensor) {
  const Body* body = tensor.body();
  return body && body->kind == Body::Kind::block && body->refs.load(std::memory_order_acquire) == 1;
}
template <class T>
Tensor<T> view(const Tensor<T>& tensor, const Shape& shape, Index offset) {
  return Tensor<T>(new_view(tensor.body(), shape, shape.count(), static_cast<std::size_t>(offset) * sizeof(T)));
}

}  // namespace detail

/// All elements `value`.
template <class T = float>
Tensor<T> full(const Shape& shape, std::type_identity_t<T> value, Site site = Site::current()) {
  Tensor<T> result = detail::fresh<T>(shape, "full", site);
  T* out = detail::writable(result);
  for (Index i = 0; i < result.count(); ++i) out[i] = value;
  return result;
}
/// All elements 0.
template <class T = float>
Tensor<T> zeros(const Shape& shape, Site site = Site::current()) {
  return full<T>(shape, T(0), site);
}
/// All elements 1.
template <class T = float>
Tensor<T> ones(const Shape& shape, Site site = Site::current()) {
  return full<T>(shape, T(1), site);
}
namespace detail {

/// Whether f can be called with as many indices as the sequence has numbers.
template <class F, std::size_t... A>
constexpr bool takes_indices(std::index_sequence<A...>) {
  return std::is_invocable_v<F&, decltype(static_cast<Index>(A))...>;
}
/// The fewest indices, one or more, that f can be called with; 0 if it takes none.
template <class F, std::size_t N = 1>
constexpr std::size_t indices_taken() {
  if constexpr (takes_indices<F>(std::make_index_sequence<N>()))
    return N;
  else if constexpr (N < kMaxRank)
    return indices_taken<F, N + 1>();
  else
    return 0;
}
template <class F, std::size_t... A>
auto call_at(F& f, const Index* at, std::index_sequence<A...>) {
  return f(at[A]...);
}

}  // namespace detail

/// The results of f: f(i, j) with an index for each axis, or f(i) with the place in row-major order, whatever the rank.
/// f is called for one element after another in that order, and its result's type is the element type:
///
///     const Tensor<double> hilbert = generate({3, 3}, [](Index i, Index j) { return 1.0 / (i + j + 1); });
///
/// Throws ShapeError when f takes several indices, but not one for each axis.
template <class F>
auto generate(const Shape& shape, F f, Site site = Site::current()) {
  constexpr std::size_t taken = detail::indices_taken<F>();
  static_assert(taken > 0, "generate calls f(i) or f(i, j, ...) with numbers of type Index");
  constexpr std::make_index_sequence<taken> indices{};
  using T = decltype(detail::call_at(f, static_cast<const Index*>(nullptr), indices));
  if (taken > 1 && static_cast<int>(taken) != shape.rank())
    fail<ShapeError>("generate", {"f takes ", taken, " indices"}, {{"shape", shape}}, site);
  Tensor<T> result = detail::fresh<T>(shape, "generate", site);
  T* out = detail::writable(result);
  Index at[kMaxRank] = {};
  for (Index i = 0; i < result.count(); ++i) {
    if constexpr (taken == 1) at[0] = i;
    out[i] = detail::call_at(f, at, indices);
    if constexpr (taken > 1)
      for (int axis = shape.rank() - 1; axis >= 0 && ++at[axis] == shape[axis]; --axis) at[axis] = 0;
  }
  return result;
}
/// 0, 1, ..., count-1.
template <class T = float>
Tensor<T> arange(Index count, Site site = Site::current()) {
  Tensor<T> result = detail::fresh<T>({count}, "arange", site);
  for (Index i = 0; i < count; ++i) detail::writable(result)[i] = static_cast<T>(i);
  return result;
}
/// The identity matrix [n, n].
template <class T = float>
Tensor<T> eye(Index n, Site site = Site::current()) {
  Tensor<T> result = zeros<T>({n, n}, site);
  for (Index i = 0; i < n; ++i) detail::writable(result)[i * n + i] = T(1);
  return result;
}
/// A copy of `values` with the given shape.
template <class T, std::size_t N>
Tensor<std::remove_const_t<T>> from_span(std::span<T, N> values, const Shape& shape, Site site = Site::current()) {
  using V = std::remove_const_t<T>;
  const Index count = detail::checked_count("from_span", shape, sizeof(V), site);
  if (count != static_cast<Index>(values.size()))
    fail<ShapeError>("from_span", {values.size(), " values for ", count, " elements"}, {{"shape", shape}}, site);
  Tensor<V> result = detail::fresh<V>(shape, "from_span", site);
  if (count > 0) std::memcpy(detail::writable(result), values.data(), static_cast<std::size_t>(count) * sizeof(V));
  return result;
}
/// A copy of `values` with the given shape (default: one axis).
template <class T, class Allocator = std::allocator<T>>
Tensor<T> from_vector(const std::vector<T, Allocator>& values, const Shape& shape, Site site = Site::current()) {
  const auto count = static_cast<Index>(values.size());
  if (count != detail::checked_count("from_vector", shape, sizeof(T), site))
    fail<ShapeError>("from_vector", {count, " values"}, {{"shape", shape}}, site);
  Tensor<T> result = detail::fresh<T>(shape, "from_vector", site);
  // One by one: std::vector<bool> has no array of bool inside.
  for (Index i = 0; i < count; ++i) detail::writable(result)[i] = values[static_cast<std::size_t>(i)];
  return result;
}
template <class T, class Allocator = std::allocator<T>>
Tensor<T> from_vector(const std::vector<T, Allocator>& values, Site site = Site::current()) {
  return from_vector(values, Shape{static_cast<Index>(values.size())}, site);
}
/// A vector [n] or, with nested braces, a matrix [rows, columns]: `tensor<float>({{1, 2}, {3, 4}})`.
template <class T = float>
Tensor<T> tensor(std::initializer_list<T> values, Site site = Site::current()) {
  return from_span(std::span<const T>(values.begin(), values.size()), {static_cast<Index>(values.size())}, site);
}
template <class T = float>
Tensor<T> tensor(std::initializer_list<std::initializer_list<T>> rows, Site site = Site::current()) {
  std::vector<T> values;
  for (const auto& row : rows) {
    if (row.size() != rows.begin()->size()) fail<ShapeError>("tensor", "rows of unequal length", {}, site);
    values.insert(values.end(), row.begin(), row.end());
  }
  const Index columns = rows.size() == 0 ? 0 : static_cast<Index>(rows.begin()->size());
  return from_vector(values, {static_cast<Index>(rows.size()), columns}, site);
}
/// Standard normal numbers; element i is draw i of `random`.
template <Real T = float>
Tensor<T> randn(const Shape& shape, const Random& random, Site site = Site::current()) {
  Tensor<T> result = detail::fresh<T>(shape, "randn", site);
  for (Index i = 0; i < result.count(); ++i)
    detail::writable(result)[i] = static_cast<T>(random.normal(static_cast<std::uint64_t>(i)));
  return result;
}
/// Uniform numbers in [low, high); element i is draw i of `random`.
template <Real T = float>
Tensor<T> rand(const Shape& shape, const Random& random, double low = 0, double high = 1, Site site = Site::current()) {
  Tensor<T> result = detail::fresh<T>(shape, "rand", site);
  for (Index i = 0; i < result.count(); ++i)
    detail::writable(result)[i] = static_cast<T>(random.uniform(static_cast<std::uint64_t>(i), low, high));
  return result;
}

/// The numbers of `x` for reading on the host, in row-major order. How everything above the ops reads numbers: on the
/// CPU they are the tensor's own. Valid while a handle lives.
template <class T>
std::span<const T> host(const Tensor<T>& x) {
  return x.span();
}
template <class T>
std::span<const T> host(Tensor<T>&&) = delete;

/// Equal shapes and bits.
template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.count()) * sizeof(T)) == 0;
}
/// Equal shapes and |a - b| <= absolute + relative |b| everywhere; NaN equals nothing.
template <class T>
bool all_close(const Tensor<T>& a, const Tensor<T>& b, double relative = 1e-5, double absolute = 1e-8) {
  if (!(a.shape() == b.shape())) return false;
  for (Index i = 0; i < a.count(); ++i) {
    const double x = static_cast<double>(a.data()[i]), y = static_cast<double>(b.data()[i]);
    const double gap = x > y ? x - y : y - x, size = y > 0 ? y : -y;
    const bool finite = gap - gap == 0;
    if (!(x == y || (finite && gap <= absolute + relative * size))) return false;
  }
  return true;
}

}  // namespace GRAFT_ABI
}  // namespace graft
