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
