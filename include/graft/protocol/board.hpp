#pragma once
// What tasks tell one another: each posts a few rows of numbers after its episode, and all read them a round later.

#include <algorithm>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/ops/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The largest message of a task.
struct BoardOptions {
  Index rows = 0;   ///< class prototypes: as many as an episode has ways
  Index width = 0;  ///< of a row: the embeddings'
};

/// The latest message of each task. Messages are constants: no gradient goes from the reader to who wrote them, so
/// tasks are computed on their own. A model with a member `TaskBoard board` takes part in the exchange: the rounds of
/// the protocol write what its tasks post there, after the step, and the model that is kept has the board of its time.
struct TaskBoard {
  Buffer<float> rows;           ///< [tasks, rows, width]; 0 where nothing was written
  Tensor<std::int64_t> filled;  ///< [tasks]: rows of the task's latest message; 0 before the first
  GRAFT_FIELDS(rows, filled)

  /// No tasks: nothing can be posted.
  TaskBoard() = default;
  /// An empty board. Throws ValueError for no tasks or a message of no numbers.
  TaskBoard(Index tasks, const BoardOptions& o, Site site = Site::current()) {
    if (tasks < 1 || o.rows < 1 || o.width < 1)
      fail("TaskBoard", {"messages of ", o.rows, " rows of ", o.width, " numbers of ", tasks, " tasks"}, {}, site);
    rows.value = zeros<float>({tasks, o.rows, o.width}, site);
    filled = zeros<std::int64_t>({tasks}, site);
  }

  Index tasks() const { return filled.defined() ? filled.count() : 0; }
  Index width() const { return tasks() > 0 ? rows.value.size(2) : 0; }
  /// The most rows of a message.
  Index capacity() const { return tasks() > 0 ? rows.value.size(1) : 0; }

  /// Throws IndexError for a task that is not on the board, ShapeError unless `message` is [1 .. capacity, width],
  /// ValueError for numbers that are not finite.
  void check(Index task, const Tensor<float>& message, Site site = Site::current()) const {
    if (task < 0 || task >= tasks()) fail<IndexError>("TaskBoard", {"task ", task, " of ", tasks()}, {}, site);
    if (message.rank() != 2 || message.size(1) != width() || message.size(0) < 1 || message.size(0) > capacity())
      fail<ShapeError>("TaskBoard",
                       {"a message of ", tasks(), " tasks has 1 to ", capacity(), " rows of ", width(), " numbers"},
                       {{"message", message.shape()}}, site);
    if (!all_finite(message)) fail("TaskBoard", "a message is not finite", {{"message", message.shape()}}, site);
  }

  /// Puts `message` in the place of the task's latest one. Throws as `check`.
  void post(Index task, const Tensor<float>& message, Site site = Site::current()) {
    check(task, message, site);
    const Index place = capacity() * width();
    detail::Overwrite<float> to(rows.value);
    if (to.to() != to.from()) std::copy_n(to.from(), tasks() * place, to.to());
    float* own = to.to() + task * place;
    const std::span<const float> numbers = host(message);
    std::fill(std::copy(numbers.begin(), numbers.end(), own), own + place, 0.0f);
    to.publish();
    List<std::int64_t> counts(host(filled));
    counts[task] = message.size(0);
    filled = from_vector(counts);
  }
};

/// Rows of a board behind one another, and whose they are.
struct BoardRows {
  Tensor<float> rows;        ///< [rows, width]; not defined for none
  std::vector<Index> tasks;  ///< [rows]
};

/// All rows that tasks other than `own` posted, task by task (own < 0: of all tasks).
inline BoardRows rows_of_others(const TaskBoard& board, Index own = -1) {
  BoardRows result;
  if (board.tasks() == 0) return result;
  const std::span<const std::int64_t> filled = host(board.filled);
  const std::span<const float> numbers = host(board.rows.value);
  const Index width = board.width(), place = board.capacity() * width;
  List<float> chosen;
  for (Index task = 0; task < board.tasks(); ++task) {
    const Index count = task == own ? 0 : filled[static_cast<std::size_t>(task)];
    const auto first = numbers.begin() + task * place;
    chosen.insert(chosen.end(), first, first + count * width);
    result.tasks.insert(result.tasks.end(), static_cast<std::size_t>(count), task);
  }
  if (!result.tasks.empty()) result.rows = from_vector(chosen, {static_cast<Index>(result.tasks.size()), width});
  return result;
}

/// A task's answer for one episode: the loss to differentiate, and a figure to report (accuracy, error); for the
/// exchange, what it posts and how much it listened to each task.
template <class T = float>
struct TaskAnswer {
  Tensor<T> loss;
  double metric = 0;
  Tensor<float> message = {};     ///< [rows, width] for the board of the model; not defined: none
  Tensor<double> attention = {};  ///< [tasks]: shares of the attention that each task's rows got; not defined: unknown
};

namespace detail {

/// The board of a model that has one.
template <class M>
auto board_of(M& model) {
  if constexpr (requires { requires std::is_same_v<std::remove_cvref_t<decltype(model.board)>, TaskBoard>; })
    return &model.board;
  else
    return static_cast<TaskBoard*>(nullptr);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
