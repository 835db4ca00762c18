#pragma once
// What is chosen by name at run time: a list of names and factories, one line each.

#include <string>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

template <class Signature>
class Registry;

/// Factories R(Args...) by name. `kind` is what they make, for messages: "aggregator".
template <class R, class... Args>
class Registry<R(Args...)> {
 public:
  struct Entry {
    const char* name;
    R (*make)(Args...);
  };
  Registry(const char* kind, std::vector<Entry> entries) : kind_(kind), entries_(std::move(entries)) {}

  /// In the order of the list.
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const Entry& entry : entries_) list.push_back(entry.name);
    return list;
  }
  /// Makes the one of that name. Throws ValueError, which lists the names, where there is none.
  R make(const std::string& name, Args... args, Site site = Site::current()) const {
    for (const Entry& entry : entries_)
      if (name == entry.name) return entry.make(std::forward<Args>(args)...);
    fail(kind_, {"there is none named '", name, "'; there are ", detail::listed(names())}, {}, site);
  }

 private:
  const char* kind_;
  std::vector<Entry> entries_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
