#pragma once
// What errors say.

#include <string>

#include "graft/core/errors.hpp"

/// The message of the E that `run` throws; empty if it throws none. Other exceptions go through.
template <class E = graft::Error, class Run>
std::string message(Run run) {
  try {
    run();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

/// What is wrong with how `run` is refused, "" if nothing is: it throws an E whose message is of `op`, says `text`, and
/// names the caller's line, which is that of the row or one of the three after it.
template <class E = graft::ValueError, class Run>
std::string refusal_fault(const std::string& op, const std::string& text, Run run,
                          graft::Site row = graft::Site::current()) {
  const std::string what = message<E>(run), file = row.file;
  if (what.rfind("graft: " + op + ": ", 0) != 0 || what.find(text) == std::string::npos) return "says " + what;
  for (int line = row.line; line < row.line + 4; ++line)
    if ((what + "\n").find("\n  at " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(line) + "\n") !=
        std::string::npos)
      return "";
  return "names another line than " + std::to_string(row.line) + ": " + what;
}
