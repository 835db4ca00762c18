// The list of methods of domain generalisation: every one trains a model that has what it needs.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "domain_cases.hpp"
#include "files.hpp"
#include "graft/generalise.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/optim/adam.hpp"

using namespace graft;
using Net = DomainNet<float>;

namespace {

double risk_of(const Net& net, const std::vector<LabelledSet<>>& domains) {
  return static_cast<double>(Erm().train_loss(net, domains, 0, Context()).item());
}

}  // namespace

TEST_CASE("every method of the list lowers the risk in the training domains", "[generalise]") {
  auto domains = domain_batches<float>(3, 24);
  for (auto& [x, y] : domains) x = x + 2.0f * one_hot(y, 4);  // something to learn
  const Net start = domain_net<float>();
  for (const std::string& name : domain_methods<Net>().names()) {
    INFO(name);
    DomainMethod<Net> method = make_domain_method<Net>(name, {.domains = 3, .steps = 60, .strength = 0.1});
    CHECK(method.needs.labels);
    Net net = start;
    Adam optimizer(net);
    for (Index step = 0; step < 60; ++step) {
      if (method.restarts_optimiser(step)) optimizer = Adam(net);
      Context context(Phase::training, Random(1).stream("step", step));
      optimizer.step(net, grad([&](const Net& at) { return method.train_loss(at, domains, step, context); }, net),
                     0.02f);
    }
    CHECK(risk_of(net, domains) < 0.7 * risk_of(start, domains));
  }
}

TEST_CASE("a method of the list is the method of its header, with its memory", "[generalise]") {
  const auto domains = domain_batches<float>(3);
  const Net net = domain_net<float>();
  DomainMethod<Net> method = make_domain_method<Net>("group_dro", {.domains = 3, .strength = 50});
  GroupDro own(3, {.eta = 0.5});
  const DomainMethod<Net> before = method;
  for (Index step = 0; step < 3; ++step)
    CHECK(method.train_loss(net, domains, step, Context()).item() ==
          own.train_loss(net, domains, step, Context()).item());
  DomainMethod<Net> again = before;  // a copy remembers for itself
  CHECK(again.train_loss(net, domains, 0, Context()).item() ==
        GroupDro(3, {.eta = 0.5}).train_loss(net, domains, 0, Context()).item());
  // An annealing is a tenth of the training, as of DomainBed's 5001 steps.
  const DomainMethod<Net> irm = make_domain_method<Net>("irm", {.steps = 1000});
  CHECK((irm.restarts_optimiser(99) && !irm.restarts_optimiser(98)));
  CHECK(make_domain_method<Net>("vrex").restarts_optimiser(500));
  CHECK(!make_domain_method<Net>("vrex", {.strength = 0}).restarts_optimiser(500));
}

TEST_CASE("what a method remembers is saved and read back", "[generalise]") {
  const Folder folder;
  const std::string file = folder / "method.npz";
  const auto domains = domain_batches<float>(3);
  const Net net = domain_net<float>();
  DomainMethod<Net> method = make_domain_method<Net>("group_dro", {.domains = 3, .strength = 50});
  for (Index step = 0; step < 3; ++step) method.train_loss(net, domains, step, Context());
  save_checkpoint(file, method);
  DomainMethod<Net> other = make_domain_method<Net>("group_dro", {.domains = 3, .strength = 50});
  load_checkpoint(file, other);
  CHECK(other.train_loss(net, domains, 3, Context()).item() == method.train_loss(net, domains, 3, Context()).item());
  DomainMethod<Net> wrong = make_domain_method<Net>("group_dro", {.domains = 2});
  CHECK_THROWS_AS(load_checkpoint(file, wrong), FileError);
}

TEST_CASE("strength zero is risk minimisation, of MLDG in its meta-train domains", "[generalise]") {
  const auto domains = domain_batches<float>(3);
  const Net net = domain_net<float>();
  for (const std::string& name : domain_methods<Net>().names()) {
    INFO(name);
    DomainMethod<Net> method = make_domain_method<Net>(name, {.domains = 3, .strength = 0});
    if (name.substr(0, 4) != "mldg")  // the risk of the meta-train domains alone
      CHECK(method.train_loss(net, domains, 0, domain_context()).item() ==
            Erm().train_loss(net, domains, 0, domain_context()).item());
  }
}

TEST_CASE("models without the parts are offered what is left; unknown names and sizes are refused", "[generalise]") {
  const auto has = [](const std::vector<std::string>& names, const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const auto plain = domain_methods<Linear<>>().names(), all = domain_methods<Net>().names();
  for (const char* name : {"coral", "mmd", "rsc", "fishr", "dann", "cdann"}) {
    CHECK(!has(plain, name));
    CHECK(has(all, name));
  }
  CHECK((has(plain, "irm") && has(plain, "mldg") && plain.size() + 6 == all.size()));
  CHECK_THROWS_WITH(make_domain_method<Net>("irn"), contains("there is none named 'irn'; there are erm, irm, vrex"));
  CHECK_THROWS_WITH(make_domain_method<Net>("irm", {.strength = -1}), contains("strength is -1"));
  CHECK_THROWS_WITH(make_domain_method<Net>("irm", {.steps = 0}), contains("steps is 0"));
  CHECK_THROWS_WITH(make_domain_method<Net>("irm", {.domains = -1}), contains("domains is -1"));
}
