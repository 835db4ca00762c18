#pragma once
// The parts of a round, losses and gradients of its tasks, computed by several ranks.

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "graft/protocol/round.hpp"
#include "graft/protocol/transport.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// What a part says besides the numbers of its tensors, as it travels.
struct PartHeader {
  double loss = 0, metric = 0;
  std::int64_t has_gradient = 0, threw = 0;
  std::int64_t rows = -1, width = 0;  // of the message; -1: there is none
  std::int64_t attention = -1;        // its length
  std::int64_t failure = 0;           // its length
};

/// Appends numbers or characters, filled up to a multiple of 8 bytes, so that all numbers lie where they may be read.
template <class T>
void append_bytes(Bytes& to, std::span<const T> values) {
  const auto bytes = std::as_bytes(values);
  to.insert(to.end(), bytes.begin(), bytes.end());
  to.resize((static_cast<std::size_t>(to.size()) + 7) / 8 * 8);
}

/// Reads what `append_bytes` wrote. Throws Error where a block is not as long as it should be: the ranks do not train
/// the same model.
class BytesReader {
 public:
  explicit BytesReader(const Bytes& from) : left_(std::span(from)) {}
  template <class T>
  std::span<const T> take(Index count) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T), filled = (bytes + 7) / 8 * 8;
    if (count < 0 || filled > left_.size()) refuse();
    const auto* at = reinterpret_cast<const T*>(std::data(left_));
    left_ = left_.subspan(filled);
    return {at, static_cast<std::size_t>(count)};
  }
  void end() const {
    if (!left_.empty()) refuse();
  }

 private:
  [[noreturn]] static void refuse() {
    fail<Error>("run_round", "a part of another rank does not fit this rank's model: the ranks train different models");
  }
  std::span<const std::byte> left_;
};

/// A part as bytes: header, parameters of the gradient, message, attention, failure.
template <Model M>
Bytes part_bytes(const RoundPart<M>& part) {
  PartHeader header{part.loss, part.metric, part.gradient.has_value(), part.threw};
  if (part.message.defined()) {
    header.rows = part.message.size(0);
    header.width = part.message.size(1);
  }
  if (part.attention.defined()) header.attention = part.attention.count();
  header.failure = static_cast<std::int64_t>(part.failure.size());
  Bytes bytes;
  std::size_t numbers = sizeof header + part.failure.size();
  if (part.gradient)
    for (const Leaf& leaf : parameters_of(*part.gradient))
      for_each_scalar<M>([&]<class T>() {
        if (leaf.holds<T>() && leaf.tensor->defined())
          numbers += static_cast<std::size_t>(leaf.as<T>().count()) * sizeof(T) + 8;
      });
  bytes.reserve(numbers + 16);
  append_bytes(bytes, std::span<const PartHeader>(&header, 1));
  if (part.gradient)
    for (const Leaf& leaf : parameters_of(*part.gradient))
      for_each_scalar<M>([&]<class T>() {
        if (leaf.holds<T>() && leaf.tensor->defined()) append_bytes(bytes, host(leaf.as<T>()));
      });
  if (part.message.defined()) append_bytes(bytes, host(part.message));
  if (part.attention.defined()) append_bytes(bytes, host(part.attention));
  append_bytes(bytes, std::span<const char>(part.failure));
  return bytes;
}

/// The part that was made into these bytes, for a gradient with the shapes of `model`.
template <Model M>
RoundPart<M> part_from_bytes(const M& model, const Bytes& bytes) {
  BytesReader reader(bytes);
  PartHeader header;
  std::memcpy(&header, std::data(reader.take<PartHeader>(1)), sizeof header);
  RoundPart<M> part;
  part.loss = header.loss;
  part.metric = header.metric;
  part.threw = header.threw != 0;
  if (header.has_gradient) {
    part.gradient = model;  // its buffers, as a gradient has them
    for (const Leaf& leaf : parameters_of(*part.gradient))
      for_each_scalar<M>([&]<class T>() {
        if (!leaf.holds<T>() || !leaf.tensor->defined()) return;
        Tensor<T>& to = leaf.as<T>();
        to = from_span(reader.take<T>(to.count()), to.shape());
      });
  }
  if (header.rows >= 0)
    part.message = from_span(reader.take<float>(header.rows * header.width), {header.rows, header.width});
  if (header.attention >= 0) part.attention = from_span(reader.take<double>(header.attention), {header.attention});
  const std::span<const char> failure = reader.take<char>(header.failure);
  part.failure.assign(failure.begin(), failure.end());
  reader.end();
  return part;
}

}  // namespace detail

/// The `gather` of a round whose places are shared among ranks: place i is computed by rank i % ranks, on its threads,
/// and its part travels to all others while more are computed. Every rank calls `run_round` with the same state and
/// goes on with the same parts, so all aggregate, step and schedule the same bits as one process does:
///
///     run_round(state, answer, rate, options, RankParts{transport});
///
/// Null: this process alone. Throws RankLost, before anything has changed.
struct RankParts {
  Transport* transport = nullptr;

  template <Model M, class Compute>
  std::vector<RoundPart<M>> operator()(const M& model, Index places, const Compute& compute) const {
    if (!transport || transport->ranks() == 1) return LocalParts()(model, places, compute);
    std::vector<RoundPart<M>> parts(static_cast<std::size_t>(places));
    transport->share(
        places,
        [&](Index place) {
          RoundPart<M>& part = parts[static_cast<std::size_t>(place)];
          part = compute(place);
          return detail::part_bytes(part);
        },
        [&](Index place, const Bytes& bytes) {
          parts[static_cast<std::size_t>(place)] = detail::part_from_bytes(model, bytes);
        });
    return parts;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
