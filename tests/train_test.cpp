// The training loop: when it validates, which model it keeps, that a stopped and resumed run equals one that never
// stopped, and whose checkpoint is whose.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/train/early_stopping.hpp"
#include "graft/train/train.hpp"

using namespace graft;

namespace {

struct State {
  Tensor<double> model;
  GRAFT_FIELDS(model)
};
State start() { return {Tensor<double>(1.0)}; }
/// x -> 0.9 x + number: the state depends on every step and on its number.
StepReport advance(State& state, Index number) {
  const double x = state.model.item();
  state.model = Tensor<double>(0.9 * x + static_cast<double>(number));
  return {x, 0.5, 2, number % 3 == 0};
}
double rising(const Tensor<double>& model) { return model.item(); }
TrainOptions quiet(Index steps, Index validations = 4) {
  return {.name = "run", .steps = steps, .validations = validations, .quiet = true};
}
Identity identity(const std::string& seed) {
  Identity made;
  made.add("seed", seed);
  made.add("rate", "0.5");
  return made;
}

}  // namespace

TEST_CASE("validations are spread evenly and the best model is kept", "[train]") {
  std::vector<Index> when;
  Index done = 0;
  const auto counted = [&](State& state, Index number) {
    CHECK(number == done);
    ++done;
    return advance(state, number);
  };
  // The first of the two best figures is of the second validation, after step 5.
  const double figures[] = {-3, -1, -1, -2};
  const auto validate = [&](const Tensor<double>&) {
    when.push_back(done);
    return figures[when.size() - 1];
  };
  const auto trained = train(start(), counted, validate, quiet(10));
  CHECK(when == std::vector<Index>{3, 5, 8, 10});  // ceil(k 10 / 4)
  State expected = start();
  for (Index i = 0; i < 5; ++i) advance(expected, i);
  CHECK(trained.model.item() == expected.model.item());
  CHECK(trained.figure == -1);
  CHECK(trained.history == std::vector<double>{-3, -1, -1, -2});
  CHECK(trained.history_steps == std::vector<double>(when.begin(), when.end()));
  CHECK(trained.steps == 10);
  CHECK(trained.items == 20);
  CHECK(trained.dropped == 4);  // steps 0, 3, 6, 9
  CHECK(trained.seconds >= 0);

  when.clear();
  done = 0;
  train(
      start(), counted, [&](const Tensor<double>&) { return when.push_back(done), 1.0; }, quiet(3, 10));
  CHECK(when == std::vector<Index>{1, 2, 3});  // at most one a step
  for (const TrainOptions& wrong : {quiet(0), quiet(5, 0), TrainOptions{.patience = -1}})
    CHECK_THROWS_AS(train(start(), advance, rising, wrong), ValueError);
}

TEST_CASE("training ends early when validation gets no better", "[train]") {
  int validations = 0;
  const auto peak = [&](const Tensor<double>&) { return ++validations == 3 ? 1.0 : 0.0; };
  TrainOptions options = quiet(100, 20);
  options.patience = 4;
  const auto trained = train(start(), advance, peak, options);
  CHECK(validations == 3 + 4);
  CHECK(trained.steps == 35);
  CHECK(trained.history_steps == std::vector<double>{5, 10, 15, 20, 25, 30, 35});
  CHECK(trained.figure == 1);
}

TEST_CASE("a run that diverged says so", "[train]") {
  const auto all_dropped = [](State& state, Index number) -> StepReport {
    advance(state, number);
    return number < 4 ? StepReport{1, 1, 2, 0} : StepReport{0, 0, 0, 2};
  };
  const std::string text = message<Diverged>([&] { train(start(), all_dropped, rising, quiet(20, 10)); });
  CHECK_THAT(text, contains("run: diverged") && contains("step 6") && contains("last 4 items"));
  const auto nan = [](const Tensor<double>&) { return std::numeric_limits<double>::quiet_NaN(); };
  CHECK_THAT(message<Diverged>([&] { train(start(), advance, nan, quiet(4)); }), contains("no validation"));
  // A figure that is no number is never the best; a step that trains on nothing and drops nothing is no divergence.
  int validations = 0;
  const auto late = [&](const Tensor<double>&) {
    return ++validations == 2 ? -5 : std::numeric_limits<double>::quiet_NaN();
  };
  CHECK(train(start(), advance, late, quiet(8)).figure == -5);
  const auto idle = [](State&, Index) -> StepReport { return {0, 0, 0, 0}; };
  CHECK(train(start(), idle, rising, quiet(4)).items == 0);
}

TEST_CASE("a run that is stopped anywhere and resumed equals one that never stopped", "[train]") {
  const Folder folder;
  const std::string whole = folder / "whole", parts = folder / "parts";
  const auto expected = train(start(), advance, rising, quiet(7), Checkpoints(whole, false, identity("1"), {"run"}));
  for (Index stop_at = 0; stop_at <= 6; ++stop_at)
    for (bool in_validation : {false, true}) {
      INFO(stop_at << " " << in_validation);
      std::filesystem::remove_all(parts);
      StopFlag stop;
      TrainOptions options = quiet(7);
      options.stop = &stop;
      const auto stopping = [&](State& state, Index number) {
        if (number == stop_at) stop.request();
        return advance(state, number);
      };
      const auto validate = [&](const Tensor<double>& model) {
        if (in_validation && stop.requested()) throw Stopped("in the middle");
        return rising(model);
      };
      const std::string said = message<Stopped>(
          [&] { train(start(), stopping, validate, options, Checkpoints(parts, false, identity("1"), {"run"})); });
      if (stop_at < 6 || in_validation) CHECK_THAT(said, contains("run: stopped after step") && contains("--resume"));
      const auto resumed = train(start(), advance, rising, quiet(7), Checkpoints(parts, true, identity("1"), {"run"}));
      CHECK(resumed.model.item() == expected.model.item());
      CHECK(resumed.history == expected.history);
      CHECK(resumed.history_steps == expected.history_steps);
      CHECK(resumed.figure == expected.figure);
      CHECK(resumed.items == expected.items);
      CHECK(resumed.dropped == expected.dropped);
      const ArrayFile a = read_npz(parts + "/run.npz"), b = read_npz(whole + "/run.npz");
      for (const std::string& name : b.names())
        if (name != "@meta/seconds") CHECK(a.at(name).data == b.at(name).data);
    }
  // Without a folder nothing is saved, and the message promises nothing.
  StopFlag stop;
  stop.request();
  TrainOptions options = quiet(7);
  options.stop = &stop;
  CHECK(message<Stopped>([&] { train(start(), advance, rising, options); }) == "graft: run: stopped after step 0 of 7");
}

TEST_CASE("a checkpoint is continued by the run that it belongs to", "[train]") {
  const Folder folder;
  const std::string path = folder / "runs", file = path + "/run.npz";
  const auto open = [&](bool resume, const std::string& seed = "1", const std::string& where = "runs") {
    return Checkpoints(folder / where, resume, identity(seed), {"other", "run"});
  };
  CHECK_THAT(refusal(path, [&] { open(true); }), contains("no such folder"));
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(Checkpoints().file("run").empty());
  {
    const Checkpoints empty = open(false);
    CHECK(empty.file("run") == file);
    CHECK_THAT(refusal(path, [&] { open(false); }), contains("in use by process " + std::to_string(::getpid())));
  }
  CHECK_THAT(refusal(path, [&] { open(true); }), contains("no checkpoint"));
  train(start(), advance, rising, quiet(7), open(false));
  const std::string bytes = bytes_of(file);
  CHECK_THAT(refusal(file, [&] { open(false); }), contains("exists") && contains("--resume"));
  CHECK_THAT(refusal(file, [&] { open(true, "2"); }), contains("seed 1, now 2"));
  save_checkpoint(file, start(), {});
  CHECK_THAT(refusal(file, [&] { open(true); }), contains("not one of a training run"));
  put(file, bytes);
  open(true);
  CHECK(bytes_of(file) == bytes);
  CHECK(folder.files() == 1);
  put(folder / "file", "");
  CHECK_THAT(refusal(folder / "file", [&] { open(false, "1", "file"); }), contains("folder"));
}

TEST_CASE("identities name what differs", "[train]") {
  Identity now = identity("1");
  now.add("training", {{"images", "0a"}, {"labels", "0b"}});
  CHECK(now.text() == "seed: 1\nrate: 0.5\ntraining images: 0a\ntraining labels: 0b\n");
  CHECK(now.difference(now.text()).empty());
  CHECK(now.difference(identity("1").text()) == "training images unknown, now 0a");
  CHECK(identity("1").difference(now.text()) == "training images 0a, now unknown");
  CHECK(now.difference("seed: 1\nrate: 0.5\ntraining images: 0a\ntraining labels: 0c\n") ==
        "training labels 0c, now 0b");
  CHECK(now.difference("") == "seed unknown, now 1");
  CHECK_THROWS_WITH(now.add("seed", "2"), contains("'seed' is added twice"));
  CHECK_THROWS_AS(now.add("two\nlines", "2"), ValueError);
  CHECK_THROWS_AS(now.add("lines", "2\n3"), ValueError);
}

TEST_CASE("a claim ends with its process, however that ends", "[train]") {
  const Folder folder;
  const std::string path = folder.path.string();
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const FolderClaim claim(path);
    const char byte = 1;
    if (::write(ready[1], &byte, 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK_THAT(refusal(path, [&] { FolderClaim claim(path); }), contains("in use by process " + std::to_string(owner)));
  REQUIRE(::kill(owner, SIGKILL) == 0);
  REQUIRE(::waitpid(owner, nullptr, 0) == owner);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK(folder.files() == 1);  // what is left is no claim
  {
    const FolderClaim claim(path);
    CHECK(bytes_of(folder / "in-use") == std::to_string(::getpid()) + "\n");
  }
  CHECK(folder.files() == 0);
  CHECK_THAT(refusal(folder / "missing", [&] { FolderClaim claim(folder / "missing"); }), contains("cannot write"));
}

TEST_CASE("training ends when the loss is above the mean of the last ones", "[train]") {
  // Kipf and Welling's rule, by hand: with a window of 2 the first epoch that can end it is the fourth.
  EarlyStopping stopping{.window = 2};
  const auto look = [&](double loss) {
    stopping.look(loss, 0);
    CHECK(stopping.counts);  // the last model is the one
    return stopping.ends;
  };
  CHECK_FALSE(look(1));
  CHECK_FALSE(look(3));
  CHECK_FALSE(look(9));  // above the mean of 1 and 3, but not yet looked at
  CHECK_FALSE(look(6));  // the mean of 3 and 9
  CHECK(look(7.6));      // above 7.5
}

TEST_CASE("training ends when neither loss nor accuracy was as good for long", "[train]") {
  EarlyStopping stopping{.patience = 2};
  const auto look = [&](double loss, double accuracy) {
    stopping.look(loss, accuracy);
    return std::pair(stopping.counts, stopping.ends);
  };
  CHECK(look(1, 0.5) == std::pair(true, false));
  CHECK(look(1, 0.5) == std::pair(true, false));   // as good is good
  CHECK(look(2, 0.6) == std::pair(false, false));  // one of the two is not the best
  CHECK(look(3, 0.1) == std::pair(false, false));
  CHECK(look(0.5, 0.1) == std::pair(false, false));  // a better loss starts the count anew
  CHECK(look(0.5, 0.6) == std::pair(true, false));
  CHECK(look(0.6, 0.5) == std::pair(false, false));
  CHECK(look(0.6, 0.5) == std::pair(false, true));
  EarlyStopping never;
  for (int epoch = 0; epoch < 100; ++epoch) never.look(epoch, 0);
  CHECK((never.counts && !never.ends));
  // A loss that is not a number is no improvement and cannot hide that the others are worse.
  EarlyStopping diverged{.patience = 1};
  diverged.look(1, 0.5);
  diverged.look(std::numeric_limits<double>::quiet_NaN(), 0.1);
  CHECK(diverged.ends);
}
