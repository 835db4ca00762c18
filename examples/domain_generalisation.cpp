// Training on some domains for another that nobody has seen: digits whose colour goes with their label, but the other
// way round in one domain; digits turned by several angles; and digits of several sources. Methods of domain
// generalisation against plain risk minimisation, under three rules of choosing. See docs/generalise.md.

#include "graft/data/coloured_digits.hpp"
#include "graft/data/digits.hpp"
#include "graft/data/drawn_digits.hpp"
#include "graft/evaluate/domain_results.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/generalise.hpp"
#include "graft/nn/mlp.hpp"
#include "graft/optim/adam.hpp"
#include "program.hpp"

using namespace graft;
using Net = AdversarialModel<Mlp<>, Linear<>, Mlp<>>;

struct Settings {
  std::string digits = "coloured", data;
  std::vector<std::string> methods = {"erm", "irm", "vrex"};
  Index seeds = 3, configurations = 0, steps = 400, batch = 256, width = 0, drawings = 600;
};

/// The domains: of files in the folder, else of drawn digits.
DomainData make_domains(const Settings& o, const Random& random) {
  const auto read = [&](const char* file) { return labelled_items(load_digits(o.data + "/" + file, 14)); };
  const auto draw = [&](double pen, double slant, std::uint64_t seed) {
    return labelled_items(draw_digits({.each = o.drawings, .size = 14, .pen = pen, .slant = slant, .seed = seed}));
  };
  if (o.digits == "sources" && o.data.empty())
    return {{"thin", "thick", "slanted"}, {draw(1.5, 0, 1), draw(5, 0, 2), draw(2, 0.6, 3)}, 10};
  const LabelledSet<> mnist = o.data.empty() ? draw(2.4, 0.1, 1) : read("mnist/mnist_train10k.npz");
  if (o.digits == "sources")
    return {{"mnist", "usps", "8 x 8"}, {mnist, read("usps/usps.npz"), read("digits8x8/digits8x8.npz")}, 10};
  const LabelledSet<> all = o.data.empty() ? mnist : joined({mnist, read("mnist/mnist_test.npz")});
  return o.digits == "coloured" ? coloured_digits(all, random) : rotated_digits(all, random);
}

/// Training on all domains but those of `run`, by a method with its options, and what it makes of each domain after
/// some numbers of steps. Where one domain alone is left, it counts as two.
std::vector<DomainRun> train_without(DomainRun run, const std::vector<SplitDomain>& parts, Index classes,
                                     DomainMethod<Net> method, double rate, const Settings& o, const Random& random) {
  std::vector<LabelledSet<>> domains;
  for (Index e = 0; e < std::ssize(parts); ++e)
    if (e != run.one && e != run.other) domains.push_back(parts[e].first);
  if (domains.size() == 1) domains.push_back(domains[0]);
  const Random own = random.stream("initialisation");
  const Index pixels = domains[0].x.count() / domains[0].x.size(0), width = o.width;
  Net net{Mlp<>(pixels, width, own.stream("body"), {.hidden = {width, width}, .norm = false}),
          Linear<>(width, classes, own.stream("head")),
          Mlp<>(width, std::ssize(parts), own.stream("discriminator"), {.hidden = {width}, .norm = false}),
          randn({classes, width}, own.stream("embedding"))};
  Adam optimizer(net);
  std::vector<DomainRun> runs;
  for (Index step = 0; step < o.steps; ++step) {
    if (stop_requested(examples::Program::stop())) throw Stopped("graft: stopped in training");
    if (method.restarts_optimiser(step)) optimizer = Adam(net);
    const auto batches = draw_batches(domains, o.batch, random.stream("batches", step));
    Context context(Phase::training, random.stream("training", step));
    optimizer.step(net, grad([&](const Net& at) { return method.train_loss(at, batches, step, context); }, net), rate);
    if ((step + 1) * 5 / o.steps == step * 5 / o.steps) continue;  // five times
    runs.push_back({run.configuration, step + 1, run.one, run.other});
    for (const auto& [shown, held_back] : parts) {
      runs.back().shown.push_back(accuracy(net(shown.x, Context()), shown.y));
      runs.back().held_back.push_back(accuracy(net(held_back.x, Context()), held_back.y));
    }
  }
  return runs;
}

void generalise(examples::Program& program, Settings& o) {
  if (o.configurations == 0) o.configurations = program.full() ? 10 : 6;
  if (o.width == 0) o.width = program.full() ? 128 : 64;
  const Random root(program.seed);
  const DomainData named = make_domains(o, root);
  classes_of(named.domains);  // refuses what cannot be generalised from
  const Index domains = std::ssize(named.names), all = o.configurations * domains * domains;
  DomainResults results(named.names);
  for (Index seed = 0; seed < o.seeds; ++seed) {
    const Random random = root.stream("seed", seed);
    std::vector<SplitDomain> parts;
    for (const auto& domain : make_domains(o, random.stream("data")).domains)
      parts.push_back(split_domain(domain, 0.2, random.stream("split", std::ssize(parts))));
    for (const std::string& method : o.methods) {
      std::vector<std::vector<DomainRun>> found(all);
      parallel_tasks(all, [&](Index i) {
        const Index k = i / (domains * domains), one = i / domains % domains, other = i % domains;
        if (other < one) return;                               // the same two the other way round
        const Random draws = root.stream("configuration", k);  // the first one is the default
        const double strength = k == 0 ? 1 : std::pow(10, draws.uniform(0, -1, 3));
        const double rate = k == 0 ? 1e-3 : std::pow(10, draws.uniform(1, -3.5, -2.5));
        found[i] = train_without({std::to_string(k), 0, one, other}, parts, named.classes,
                                 make_domain_method<Net>(method, {.steps = o.steps, .strength = strength}), rate, o,
                                 random.stream("run", i));
      });
      std::vector<DomainRun> runs;
      for (const auto& some : found) runs.insert(runs.end(), some.begin(), some.end());
      results.add(method, runs);
    }
  }
  std::printf("%s", results.text().c_str());
  for (const ResultRow& row : results.rows()) program.record.add(row);
}

int main(int argc, char** argv) {
  examples::Program program("domain_generalisation", "Methods for unseen domains, chosen by each of three rules.");
  Settings o;
  program.word("--digits", o.digits, {"coloured", "rotated", "sources"}, "what tells the domains apart");
  program.file("--data", o.data, "folder with mnist, usps and digits8x8, .npz files; none: drawn digits");
  program.names("--method", o.methods, "methods; the others are compared with the first").choices =
      domain_methods<Net>().names();
  program.whole("--seeds", o.seeds, "seeds of data and training", 1, 1000);
  program.whole("--configurations", o.configurations, "strengths and rates tried of each, 0 as the profile says", 0);
  program.whole("--steps", o.steps, "steps of training", 5);
  program.whole("--width", o.width, "units of the hidden layers, 0 as the profile says", 0, 10000);
  program.whole("--drawings", o.drawings, "drawings of each digit, without files", 10, 100000);
  return program.run(argc, argv, [&] { generalise(program, o); });
}
