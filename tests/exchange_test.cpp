// Tasks that hear one another: the board, the attention to it, and learners that use it.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"
#include "graft/protocol/exchange.hpp"
#include "graft/protocol/round.hpp"

using namespace graft;

namespace {

constexpr Index kWidth = 8, kWays = 3, kTasks = 4;

struct Encoder {
  Linear<> linear;
  GRAFT_FIELDS(linear)
  Tensor<> operator()(const Tensor<>& x, Context&) const { return tanh(linear(x)); }
};
using Head = GraphTransformer<>;
using Plain = EpisodeLearner<Encoder, Head>;
using Listening = ExchangeLearner<Encoder, Head>;
using Simple = ExchangeLearner<Encoder, ProtoNetHead>;

Plain make_plain() {
  return {{Linear<>(5, kWidth, Random(1))},
          Head(Random(2), {.width = kWidth,
                           .heads = 2,
                           .neighbours = 2,
                           .graph_layers = 1,
                           .transformer_layers = 1,
                           .hidden = 16,
                           .dropout = 0.1})};
}
Listening make_listening(const ExchangeOptions& o) { return {make_plain(), kTasks, kWays, Random(3), o}; }
ExchangeOptions options(double gate = 0.3) { return {.width = kWidth, .heads = 2, .gate = gate}; }

/// Classes around centres of the task's own, one shot, `scale` times as far apart.
Episode<> draw(Index task, const Random& random, double scale = 1) {
  const Tensor<> centres = scale * randn<float>({kWays, 5}, Random(9).stream("centres", task));
  const auto labels = [](Index each) { return episode_labels(kWays, each); };
  const auto items = [&](Index each, const char* name) {
    return gather(centres, labels(each)) + 0.4 * randn<float>({kWays * each, 5}, random.stream(name));
  };
  return {{items(1, "support"), labels(1)}, {items(2, "query"), labels(2)}, kWays};
}

const auto ask = [](const Listening& own, Index task, const Random& random) {
  Context context(Phase::training, random.stream("layers"));
  return own.train_answer(draw(task, random.stream("episode")), task, context);
};

using State = ProtocolState<Listening, Adam<Listening>>;
State start(const Listening& learner) { return start_protocol(learner, Adam<Listening>(learner), kTasks); }
State run(State state, int rounds, double rate = 1e-2) {
  for (int i = 0; i < rounds; ++i) run_round(state, ask, rate, {.tasks_per_round = 3, .seed = 4});
  return state;
}
bool equal_bits(const State& a, const State& b) {
  bool equal = same_bits(a.model.board.rows.value, b.model.board.rows.value) &&
               same_bits(a.model.board.filled, b.model.board.filled) &&
               same_bits(a.meter.figures.value, b.meter.figures.value) &&
               same_bits(a.meter.attention.value, b.meter.attention.value);
  const auto compare = [&](const auto& x, const auto& y) { equal = equal && same_bits(x, y); };
  for_each_parameter(compare, a.model, b.model);
  for_each_parameter(compare, a.optimizer, b.optimizer);
  return equal;
}

}  // namespace

TEST_CASE("a board holds the latest message of each task", "[exchange]") {
  TaskBoard board(3, {.rows = 2, .width = 2});
  CHECK(rows_of_others(board).tasks.empty());
  CHECK(!rows_of_others(board).rows.defined());
  board.post(2, tensor<float>({{1, 2}, {3, 4}}));
  board.post(0, tensor<float>({{5, 6}}));
  const TaskBoard before = board;
  BoardRows all = rows_of_others(board);
  CHECK(all.tasks == std::vector<Index>{0, 2, 2});
  CHECK(same_bits(all.rows, tensor<float>({{5, 6}, {1, 2}, {3, 4}})));
  CHECK(rows_of_others(board, 2).tasks == std::vector<Index>{0});
  CHECK(rows_of_others(board, 1).tasks.size() == 3);
  board.post(2, tensor<float>({{7, 8}}));  // shorter than the one before, of which nothing is left
  CHECK(same_bits(rows_of_others(board, 0).rows, tensor<float>({{7, 8}})));
  CHECK(board.rows.value.at({2, 1, 0}) == 0);
  CHECK(rows_of_others(before, 0).tasks.size() == 2);  // a copy keeps its own
  CHECK(rows_of_others(TaskBoard()).tasks.empty());

  CHECK_THROWS_AS(board.post(3, tensor<float>({{1, 2}})), IndexError);
  CHECK_THROWS_AS(board.post(0, zeros({3, 2})), ShapeError);
  CHECK_THROWS_AS(board.post(0, zeros({1, 3})), ShapeError);
  CHECK_THROWS_AS(board.post(0, zeros({0, 2})), ShapeError);
  CHECK_THROWS_AS(board.post(0, full<float>({1, 2}, std::numeric_limits<float>::infinity())), ValueError);
  CHECK_THROWS_AS(TaskBoard(0, {1, 1}), ValueError);
  CHECK_THROWS_AS(TaskBoard(2, {0, 1}), ValueError);
  CHECK_THROWS_AS(TaskBoard().post(0, zeros({1, 1})), IndexError);
}

TEST_CASE("messages are what their formulas say, and constants", "[exchange]") {
  Episode<> episode{{tensor<float>({{0, 0}, {2, 0}, {0, 4}, {0, 6}}), tensor<std::int64_t>({0, 0, 1, 1})},
                    {zeros({1, 2}), tensor<std::int64_t>({0})},
                    2};
  const Tensor<> means = tensor<float>({{1, 0}, {0, 5}});
  CHECK(all_close(task_message(TaskMessage::prototypes, episode), means, 1e-6));
  CHECK(same_bits(task_message(TaskMessage::soft_labels, episode), task_message(TaskMessage::prototypes, episode)));
  // Two unlabelled items as near to one class as to the other, |(x, y) - (1, 0)| = |(x, y) - (0, 5)|: half of each to
  // both.
  episode.unlabelled = tensor<float>({{0.5f, 2.5f}, {5.5f, 3.5f}});
  const Tensor<> refined =
      tensor<float>({{(0 + 2 + 3) / 3.0f, (0 + 0 + 3) / 3.0f}, {(0 + 0 + 3) / 3.0f, (4 + 6 + 3) / 3.0f}});
  CHECK(all_close(task_message(TaskMessage::soft_labels, episode), refined, 1e-5));
  CHECK(all_close(task_message(TaskMessage::prototypes, episode), means, 1e-6));
  // The summary: with m = (0.5, 2.5) the scores m . (x - m) / sqrt(2), up to a common number.
  double weights[4], total = 0, x = 0, y = 0;
  const double items[4][2] = {{0, 0}, {2, 0}, {0, 4}, {0, 6}};
  for (int i = 0; i < 4; ++i) total += weights[i] = std::exp((0.5 * items[i][0] + 2.5 * items[i][1]) / std::sqrt(2.0));
  for (int i = 0; i < 4; ++i) {
    x += weights[i] / total * items[i][0];
    y += weights[i] / total * items[i][1];
  }
  const Tensor<> summary = task_message(TaskMessage::summary, episode);
  CHECK(summary.shape() == Shape{1, 2});
  CHECK(summary.at({0, 0}) == Approx(x).margin(1e-5));
  CHECK(summary.at({0, 1}) == Approx(y).epsilon(1e-5));
  const Tensor<> tracked = variable(episode.support.x);
  for (const std::string& name : task_messages().names()) {
    Episode<> own = episode;
    own.support.x = tracked;
    CHECK(!task_message(task_messages().make(name), own).tracked());
  }
  CHECK_THROWS_WITH(task_messages().make("gossip"), contains("prototypes, summary, soft_labels"));
  episode.support.y = tensor<std::int64_t>({0, 0, 0, 0});
  CHECK_THROWS_WITH(task_message(TaskMessage::prototypes, episode), contains("class 1 of 2 has no support item"));
}

TEST_CASE("an exchange is chosen by the name of its message", "[exchange]") {
  CHECK(exchange_names() == std::vector<std::string>{"off", "prototypes", "summary", "soft_labels"});
  CHECK_FALSE(exchange_of("off").on);
  for (const std::string& name : task_messages().names()) {
    CHECK(exchange_of(name).on);
    CHECK(exchange_of(name).message == task_messages().make(name));
  }
  CHECK_THROWS_AS(exchange_of("gradients"), ValueError);
}

TEST_CASE("class nodes attend to the rows of other tasks", "[exchange]") {
  const TaskExchange<double> exchange(Random(1), {.width = 4, .heads = 2, .gate = 0.5});
  const Tensor<double> classes = randn<double>({3, 4}, Random(2));
  Context context;
  // A single row has all attention whatever the class: gate (W_l norm(row)) on every class; biases start at 0.
  const BoardRows one{randn<float>({1, 4}, Random(3)), {1}};
  const Tensor<double> alone =
      0.5 * matmul(exchange.norm_rows(cast<double>(one.rows)), exchange.attention.weight_l, {.transpose_b = true});
  CHECK(all_close(exchange(classes, one, context), broadcast_to(alone, {3, 4}), 1e-12));
  // Rows that say the same say it once.
  const BoardRows twice{concat<float>({one.rows, one.rows}), {0, 1}};
  CHECK(all_close(exchange(classes, twice, context), exchange(classes, one, context), 1e-12));
  CHECK(all_close(exchange.shares(classes, twice, 3), tensor<double>({0.5, 0.5, 0}), 1e-12));
  // The order of the rows is none; shares add up to 1; nobody there, nothing added.
  const Tensor<float> rows = randn<float>({5, 4}, Random(4));
  const BoardRows some{rows, {0, 0, 2, 2, 2}}, other{flip(rows, 0), {2, 2, 2, 0, 0}};
  CHECK(all_close(exchange(classes, some, context), exchange(classes, other, context), 1e-12));
  CHECK(sum(exchange.shares(classes, some, 3)).item() == Approx(1));
  CHECK(exchange.shares(classes, some, 3).at({1}) == 0);
  CHECK(all_close(exchange.shares(classes, some, 3), exchange.shares(classes, other, 3), 1e-12));
  CHECK(!exchange(classes, {}, context).defined());
  CHECK(!exchange.shares(classes, {}, 3).defined());
  // With so many neighbours that all are heard, nothing changes; with one, each class hears the nearest row alone.
  TaskExchange<double> nearest = exchange;
  nearest.options.neighbours = 5;
  CHECK(all_close(nearest(classes, some, context), exchange(classes, some, context), 1e-12));
  nearest.options.neighbours = 1;
  const Tensor<double> heard = nearest(classes, some, context);
  for (Index way = 0; way < 3; ++way) {
    const Tensor<double> gaps = squared_distances(slice(classes, 0, way, way + 1), cast<double>(rows));
    Index near = 0;
    for (Index row = 1; row < 5; ++row)
      if (gaps.at({0, row}) < gaps.at({0, near})) near = row;
    const BoardRows only{slice(rows, 0, near, near + 1), {0}};
    CHECK(all_close(slice(heard, 0, way, way + 1), exchange(slice(classes, 0, way, way + 1), only, context), 1e-12));
  }
  // The negative control hears everybody alike, and cannot learn otherwise.
  const TaskExchange<double> uniform(Random(1), {.width = 4, .heads = 2, .gate = 0.5, .uniform = true});
  CHECK(all_close(uniform.shares(classes, some, 3), tensor<double>({0.4, 0, 0.6}), 1e-12));
  const auto energy = [&](const TaskExchange<double>& own) { return sum(square(own(classes, some, context))); };
  CHECK(all_close(grad(energy, uniform).attention.att, zeros<double>({2, 2}), 0, 0));
  CHECK(max(abs(grad(energy, exchange).attention.att)).item() > 1e-6);
  const CheckGradientsResult derivatives = check_gradients(energy, exchange, {.step = 5e-4});  // away from kinks
  INFO(derivatives.errors[0] << " " << derivatives.errors[1]);
  CHECK(derivatives.passed);

  CHECK_THROWS_WITH(TaskExchange<>(Random(1), {.width = 6, .heads = 4}), contains("4 heads do not divide"));
  CHECK_THROWS_AS(TaskExchange<>(Random(1), {.neighbours = -1}), ValueError);
  CHECK_THROWS_AS(TaskExchange<>(Random(1), {.gate = std::numeric_limits<double>::quiet_NaN()}), ValueError);
}

TEST_CASE("a learner whose exchange is off is the learner without one, bit for bit", "[exchange]") {
  // The same rounds of the plain learner, asked in the usual way.
  Plain plain = make_plain();
  auto usual = start_protocol(plain, Adam<Plain>(plain), kTasks);
  const auto plainly = [](const Plain& own, Index task, const Random& random) {
    const Episode<> episode = draw(task, random.stream("episode"));
    Context context(Phase::training, random.stream("layers"));
    const Tensor<> logits = own(episode, context);
    return TaskAnswer<>{cross_entropy(logits, episode.query.y), accuracy(logits, episode.query.y)};
  };
  for (int i = 0; i < 12; ++i) run_round(usual, plainly, 1e-2, {.tasks_per_round = 3, .seed = 4});
  ExchangeOptions off = options();
  off.on = false;
  const State silent = run(start(make_listening(off)), 12);
  for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, silent.model.learner, usual.model);
  CHECK(!silent.model.exchange);
  CHECK(silent.model.board.tasks() == 0);
  const Episode<> test = draw(7, Random(5));
  CHECK(same_bits(silent.model(test, Context()), usual.model(test, Context())));
  // On, until somebody has posted, the answers are the same; and with the gate at 0 ever after.
  const Listening fresh = make_listening(options()), shut = run(start(make_listening(options(0))), 3, 0.0).model;
  CHECK(same_bits(fresh(test, Context()), make_plain()(test, Context())));
  CHECK(rows_of_others(shut.board).tasks.size() > 0);
  CHECK(same_bits(shut(test, Context()), make_plain()(test, Context())));
  // With a gate that is open they are not.
  const Listening open = run(start(make_listening(options())), 3, 0.0).model;
  CHECK(!same_bits(open(test, Context()), make_plain()(test, Context())));
}

TEST_CASE("without edges between tasks they are independent, with them a task hears the others", "[exchange]") {
  // Nothing is learned (rate 0), so a task can only hear of another's data by the board: task 1's grow tenfold. The
  // loss of task 0 in the second round, from the same draws.
  const auto second_loss = [](bool on, Index changed) {
    ExchangeOptions o = options();
    o.on = on;
    State state = start(make_listening(o));
    double loss = 0;
    int round = 0;
    const auto changing = [&](const Listening& own, Index task, const Random& random) {
      Context context(Phase::training, random.stream("layers"));
      TaskAnswer<> answer =
          own.train_answer(draw(task, random.stream("episode"), task == changed && round == 0 ? 10 : 1), task, context);
      if (task == 0) loss = static_cast<double>(answer.loss.item());
      return answer;
    };
    set_threads(1);
    for (; round < 2; ++round) run_round(state, changing, 0.0, {.tasks_per_round = kTasks, .seed = 8});
    set_threads(0);
    return loss;
  };
  CHECK(second_loss(false, 1) == second_loss(false, -1));
  CHECK(second_loss(true, 1) != second_loss(true, -1));
  CHECK(second_loss(true, 0) == second_loss(true, -1));  // nobody hears what it said itself
  CHECK(second_loss(true, 1) == second_loss(true, 1));
}

TEST_CASE("rounds with an exchange are resumed, on any number of threads, bit for bit", "[exchange][threads]") {
  const Folder folder;
  for (TaskMessage message : {TaskMessage::prototypes, TaskMessage::summary}) {
    ExchangeOptions o = options();
    o.message = message;
    o.dropout = 0.2;
    const auto begin = [&] { return start(make_listening(o)); };
    set_threads(1);
    const State whole = run(begin(), 9);
    for (int threads : {2, 3, 8}) {
      set_threads(threads);
      CHECK(equal_bits(run(begin(), 9), whole));
    }
    set_threads(0);
    for (int stop : {0, 1, 4, 9}) {
      save_checkpoint(folder / "state.npz", run(begin(), stop));
      State resumed = begin();
      load_checkpoint(folder / "state.npz", resumed);
      CHECK(equal_bits(run(std::move(resumed), 9 - stop), whole));
    }
    // The board is no parameter, and who heard whom is on record: nobody itself.
    for (const std::string& name : names(whole.model)) CHECK(name.find("board") == std::string::npos);
    const Tensor<double> heard = whole.meter.mean_attention();
    for (Index task = 0; task < kTasks; ++task) {
      CHECK(heard.at({task, task}) == 0);
      double total = 0;
      for (Index other = 0; other < kTasks; ++other) total += heard.at({task, other});
      CHECK(total == Approx(1));
    }
  }
}

TEST_CASE("a task that fails posts nothing, and what it said before stays", "[exchange]") {
  State state = run(start(make_listening(options())), 4);
  const TaskBoard before = state.model.board;
  const auto broken = [](const Listening& own, Index task, const Random& random) {
    TaskAnswer<> answer = ask(own, task, random);
    if (task == 1) answer.loss = answer.loss * std::numeric_limits<double>::quiet_NaN();
    if (task == 2) answer.message = zeros({kWays + 1, kWidth});  // more than the board has room for
    if (task == 3) answer.attention = zeros<double>({1});
    return answer;
  };
  const RoundReport report = run_round(state, broken, 1e-2, {.tasks_per_round = kTasks});
  CHECK(report.tasks == 1);
  REQUIRE(report.failures.size() == 3);
  CHECK_THAT(report.failures[0].reason, contains("not a number"));
  CHECK_THAT(report.failures[1].reason, contains("1 to 3 rows of 8 numbers"));
  CHECK_THAT(report.failures[2].reason, contains("one share of attention"));
  const auto of = [](const TaskBoard& board, Index task) { return slice(board.rows.value, 0, task, task + 1); };
  CHECK(!same_bits(of(state.model.board, 0), of(before, 0)));
  for (Index task : {1, 2, 3}) CHECK(same_bits(of(state.model.board, task), of(before, task)));
}

TEST_CASE("a task never trained on joins by its support alone", "[exchange]") {
  const Listening learner = run(start(make_listening(options())), 6).model;
  const Episode<> episode = draw(17, Random(6));
  const Tensor<> together = learner(episode, Context());
  const auto adapted = learner.adapt(episode.support);
  CHECK(all_close(adapted.predict(episode.query.x), together, 1e-5, 1e-5));
  for (Index query = 0; query < together.size(0); ++query)  // each query by itself: inductive
    CHECK(same_bits(adapted.predict(slice(episode.query.x, 0, query, query + 1)),
                    slice(adapted.predict(episode.query.x), 0, query, query + 1)));
  Listening deaf = learner;
  deaf.board = TaskBoard(kTasks, {kWays, kWidth});
  CHECK(!same_bits(deaf(episode, Context()), together));
  CHECK(same_bits(deaf(episode, Context()), learner.learner(episode, Context())));
}

TEST_CASE("what other tasks know helps where one's own support says little", "[exchange]") {
  // All tasks have the same three classes, in an order of their own each time, and see one item of each amid much
  // noise: the others' messages say where classes are. Without them a prototype is one noisy item.
  constexpr Index many = 6;
  const Tensor<> centres = randn<float>({kWays, 5}, Random(12));
  const auto draw_shared = [&](const Random& random) {
    std::vector<std::int64_t> order;
    for (Index c : random.stream("order").permutation(kWays)) order.push_back(c);
    const Tensor<> own = gather(centres, from_vector(order));
    const auto items = [&](Index each, const char* name) {
      return gather(own, episode_labels(kWays, each)) + 1.6 * randn<float>({kWays * each, 5}, random.stream(name));
    };
    return Episode<>{
        {items(1, "support"), episode_labels(kWays, 1)}, {items(10, "query"), episode_labels(kWays, 10)}, kWays};
  };

  const auto accuracy_with = [&](bool on, bool hears) {
    ExchangeOptions o = options(0.5);
    o.on = on;
    const EpisodeLearner<Encoder, ProtoNetHead> plain{{Linear<>(5, kWidth, Random(1))}, {}};
    const Simple learner(plain, many, kWays, Random(3), o);
    auto state = start_protocol(learner, Adam<Simple>(learner), many);
    const auto answer = [&](const Simple& own, Index task, const Random& random) {
      Context context(Phase::training, random.stream("layers"));
      return own.train_answer(draw_shared(random.stream("episode")), task, context);
    };
    for (int round = 0; round < 400; ++round) run_round(state, answer, 1e-2, {.tasks_per_round = many, .seed = 2});
    if (!hears) state.model.board = TaskBoard(many, {kWays, kWidth});
    std::vector<double> right;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      const Episode<> episode = draw_shared(Random(99).stream(i));
      right.push_back(accuracy(state.model(episode, Context()), episode.query.y));
    }
    return right;
  };
  const std::vector<double> off = accuracy_with(false, false), on = accuracy_with(true, true);
  const std::vector<double> deaf = accuracy_with(true, false);  // it is the messages, not the rest of the learner
  for (const std::vector<double>& other : {off, deaf}) {
    std::vector<double> gains;
    for (std::size_t i = 0; i < on.size(); ++i) gains.push_back(on[i] - other[i]);
    const Interval gain = mean_interval(gains);
    INFO(mean_interval(off).mean << " to " << mean_interval(on).mean << ", gain " << gain.mean << " +- " << gain.ci95);
    CHECK(gain.mean - gain.ci95 > 0.005);
  }
}

TEST_CASE("a board of fewer tasks than the protocol is refused before training", "[exchange]") {
  const Listening learner = make_listening(options());
  CHECK_THROWS_WITH(start_protocol(learner, Adam<Listening>(learner), kTasks + 1),
                    contains("board is of 4 tasks, the protocol of 5"));
}
