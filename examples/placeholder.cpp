// Placeholders beside a main task with few labels, against controls without what each promises: docs/placeholder.md.

#include "graft/data/glyphs.hpp"
#include "graft/data/scarce_labels.hpp"
#include "graft/evaluate/classification.hpp"
#include "graft/evaluate/controls.hpp"
#include "graft/graft.hpp"
#include "graft/placeholder/adversarial.hpp"
#include "graft/placeholder/objective.hpp"
#include "graft/placeholder/output_placeholder.hpp"
#include "graft/placeholder/sample_loss.hpp"
#include "graft/placeholder/slots.hpp"
#include "program.hpp"

using namespace graft;

const std::vector<ControlledMethod> types{{"slots", {"frozen_slots", "width"}}, {"random", {"smoothing"}},
                                          {"open_set", {"smoothing"}},          {"adversarial", {"noise"}},
                                          {"auxiliary", {"permuted"}},          {"output", {"log_prior"}}};

struct Settings : ScarceTaskOptions {
  std::vector<std::string> chosen = {"slots", "random", "open_set", "adversarial", "auxiliary", "output", "none"};
  std::string data = "glyphs";
  Index seeds = 20, steps = 150;
  double rho = 0.2;
};

/// Items as tokens, an attention layer with slots, the mean over tokens, and heads.
struct Net {
  Tensor<> places;  // [tokens, width]
  Linear<> embed, head, others;
  SlotStack<TransformerEncoderLayer<>> body;
  OutputPlaceholder<> output;
  GRAFT_FIELDS(places, embed, head, others, body, output)

  Tensor<> features(const Tensor<>& x, ContextRef c) const {
    return mean(body(embed(reshape(x, {x.size(0), places.size(0), -1})) + places, c), {1});
  }
  Tensor<> operator()(const Tensor<>& x, ContextRef c) const { return output(head(features(x, c)), c); }
};

Net make_net(const ScarceTask& task, Index slots, Index hidden, const Random& random) {
  const Index numbers = task.train.x.size(1), tokens = numbers % 14 == 0 ? 14 : 8, width = 32;
  const TransformerEncoderLayer<> layer(width, 4, hidden, random.stream("layer"));
  return {0.1f * randn({tokens, width}, random.stream("places")),
          {numbers / tokens, width, random.stream("embed")},
          {width, task.classes, random.stream("head")},
          {width, task.train.auxiliary.size(1), random.stream("others")},
          {{layer}, width, random.stream("slots"), {.slots = slots, .deviation = 1}},
          OutputPlaceholder<>(task.classes)};
}

/// Trains as `arm` says; the mean over classes of their accuracies in the test.
double run(const std::string& arm, const ScarceTask& task, const Settings& o, const Random& random) {
  const auto is = [&](const char* name) { return arm == name; };
  const auto& train = task.train;
  const Index items = train.x.size(0), slots = 4;  // with as many numbers as two hidden units
  Net net = make_net(task, is("slots") || is("frozen_slots") ? slots : 0, is("width") ? 64 + slots / 2 : 64, random);
  const Tensor<> prior = class_shares(train.y, task.classes);
  if (is("log_prior")) net.output.values = log(prior);
  if (!is("output")) net = freeze(net, {"output"});
  if (is("frozen_slots")) net = freeze(net, {"body.banks"});
  const auto main = [&](const Net& n, ContextRef c) {
    return cross_entropy(n(train.x, c), train.y, {.label_smoothing = is("smoothing") ? float(o.rho) : 0});
  };
  const auto samples = [&](const Net& n, ContextRef c) {
    const AdversarialOptions ball{.eps = 0.2, .alpha = 0.1, .steps = is("noise") ? 0 : 3};
    const Random own = c->stream("items");
    const auto some = is("random")     ? random_placeholders(task.unlabelled, items, uniform_target(task.classes), own)
                      : is("open_set") ? open_set_placeholders(task.others, items, task.classes, own)
                                       : adversarial_placeholders(n, LabelledSet<>{train.x, train.y}, ball, c);
    return cross_entropy(n(some.x, c), some.targets);
  };
  const auto mixed = from_vector(random.stream("mixed").permutation(items));
  const Tensor<> wanted = is("permuted") ? gather(train.auxiliary, mixed) : train.auxiliary;
  const auto auxiliary = [&](const Net& n, ContextRef c) {
    return binary_cross_entropy_with_logits(n.others(n.features(train.x, c)), wanted);
  };
  const auto output = [&](const Net& n, ContextRef) { return n.output.auxiliary_loss(prior); };
  const double share = is("random") || is("open_set") ? o.rho / (1 - o.rho) : is("adversarial") || is("noise") ? 1 : 0;
  const double tasks = is("auxiliary") || is("permuted") ? 1 : 0, alone = is("output") ? 1 : 0;
  const Objective<Net> objective{
      {{"main", 1, main}, {"samples", share, samples}, {"auxiliary", tasks, auxiliary}, {"output", alone, output}}};
  Adam<Net> optimizer(net);
  for (Index step = 0; step < o.steps && !examples::Program::stop()->requested(); ++step) {
    std::vector<Context> contexts = objective.contexts(Phase::training, random.stream("step", step));
    optimizer.step(net, grad([&](const Net& n) { return objective(n, contexts); }, net),
                   Schedule::cosine(3e-3, o.steps)(step));
  }
  return precision_recall(confusion_matrix(net(task.test.x, Context()), task.test.y), ClassAverage::macro).recall;
}

void compare(examples::Program& program, const Settings& o) {
  const auto items = o.data == "glyphs" ? character_items(make_glyphs({.alphabets = 10, .drawers = 40}))
                                        : read_multilabel_items(o.data);
  if (o.kind >= items.labels.size(1)) throw examples::UsageError("--label: the items have no such label");
  std::vector<ControlledMethod> methods = types;
  std::erase_if(methods, [&](const auto& m) { return std::count(o.chosen.begin(), o.chosen.end(), m.name) == 0; });
  const auto figures = figures_of(names_to_compare(methods, "none"), o.seeds, [&](const std::string& arm, Index seed) {
    const Random random = Random(program.seed).stream("seed", seed);
    return run(arm, draw_scarce_task(items, o, random.stream("task")), o, random.stream("model"));
  });
  if (program.stop()->requested()) throw Stopped("placeholder: stopped");
  std::printf("Mean accuracy of the classes in %%:\n\n%s", controlled_text(figures, methods, "none").c_str());
  program.record.add(controlled_rows(figures, methods, "none", "accuracy"));
}

int main(int argc, char** argv) {
  examples::Program program("placeholder", "A main task with few labels and placeholders beside it, against controls.");
  Settings o{{.tail = 4}};
  program.names("--type", o.chosen, "placeholders that are tried").choices = o.chosen;
  program.file("--data", o.data, "items with several labels, an .npz file; glyphs: generated characters");
  program.whole("--label", o.kind, "label of the main task, the others are auxiliary", 0, 1000);
  program.whole("--shots", o.shots, "labelled items of the first class", 2, 1000);
  program.real("--tail", o.tail, "times as many as of the last class", 1, 1000);
  program.real("--rho", o.rho, "share of placeholder samples, and label smoothing", 0, 0.99);
  program.whole("--seeds", o.seeds, "seeds of classes, items and initial values", 2, 1000);
  return program.run(argc, argv, [&] { compare(program, o); });
}
