// mutation [mutant rows]...: runs the gradient checks on the rows of a family or of a name, with a derivative broken.
// Prints a line a pair: mutant, rows run, failures, failures of gradients, and the first failure. Without arguments the
// family and op of every row that has derivatives.

#include <cstdio>
#include <cstdlib>

#include "../op_check.hpp"

int main(int count, char** arguments) {
  const auto op_of = [](const OpRow& row) { return row.name.substr(0, row.name.find(',')); };
  for (const OpRow& row : op_rows())
    if (count == 1 && row.orders > 0) std::printf("%s\t%s\n", row.family.c_str(), op_of(row).c_str());
  for (int i = 1; i + 1 < count; i += 2) {
    graft_mutant = std::atoi(arguments[i]);
    const std::string rows = arguments[i + 1];
    int run = 0, failures = 0, of_gradients = 0;
    std::string first;
    for (const OpRow& row : op_rows()) {
      if (row.family != rows && row.name != rows && op_of(row) != rows) continue;
      ++run;
      for (const std::string& failure : check_op(row, true).failures) {
        if (first.empty()) first = row.name + ": " + failure;
        ++failures;
        of_gradients += failure.find("gradient") != std::string::npos;
      }
    }
    for (char& c : first)
      if (c == '\n') c = ' ';
    std::printf("%d\t%d\t%d\t%d\t%s\n", graft_mutant, run, failures, of_gradients, first.c_str());
    std::fflush(stdout);
  }
}
