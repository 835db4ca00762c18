#pragma once
// What a training run was made from, so that a checkpoint is continued by the same run only.

#include <string>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Everything that training depends on, as named values: options by their values, data by checksums of their content
/// (a file may move; one that changed is another).
class Identity {
 public:
  /// Throws ValueError for a name that was added before, and for line ends in either.
  void add(const std::string& name, const std::string& value, Site site = Site::current()) {
    if ((name + value).find('\n') != std::string::npos || name.find(": ") != std::string::npos)
      fail("Identity::add", {"'", name, "' or its value cannot be one line 'name: value'"}, {}, site);
    for (const auto& entry : entries_)
      if (entry.first == name) fail("Identity::add", {"'", name, "' is added twice"}, {}, site);
    entries_.emplace_back(name, value);
  }
  /// The same for a list, each name after `prefix` and a space: "training images".
  void add(const std::string& prefix, const std::vector<std::pair<std::string, std::string>>& values,
           Site site = Site::current()) {
    for (const auto& [name, value] : values) add(prefix + " " + name, value, site);
  }

  /// One line an entry, "name: value".
  std::string text() const {
    std::string lines;
    for (const auto& [name, value] : entries_) lines += name + ": " + value + "\n";
    return lines;
  }
  /// What differs in an identity that `text` once gave: "seed 1, now 2"; empty if they are equal.
  GRAFT_ONCE std::string difference(const std::string& before) const {
    std::vector<std::pair<std::string, std::string>> old;
    for (std::size_t at = 0; at < before.size();) {
      const std::size_t end = std::min(before.find('\n', at), before.size()), colon = before.find(": ", at);
      if (colon < end) old.emplace_back(before.substr(at, colon - at), before.substr(colon + 2, end - colon - 2));
      at = end + 1;
    }
    const auto value = [](const auto& entries, const std::string& name) -> std::string {
      for (const auto& entry : entries)
        if (entry.first == name) return entry.second;
      return "unknown";
    };
    for (const auto& [name, now] : entries_)
      if (value(old, name) != now) return name + " " + value(old, name) + ", now " + now;
    for (const auto& [name, then] : old)
      if (value(entries_, name) != then) return name + " " + then + ", now unknown";
    return "";
  }

 private:
  std::vector<std::pair<std::string, std::string>> entries_;
};
GRAFT_HELD(std::string Identity::difference<>(const std::string&) const)

}  // namespace GRAFT_ABI
}  // namespace graft
