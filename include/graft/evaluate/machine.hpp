#pragma once
// What a run says about the machine and the process that it ran on.

#include <sys/resource.h>
#include <sys/utsname.h>

#include <cstdio>
#include <string>
#include <thread>

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Highest resident set of this process so far, in bytes.
inline Index peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<Index>(usage.ru_maxrss) * 1024;
}

/// CPU model, number of cores and system, as the system names them: "AMD EPYC 9B14, 2 cores, Linux".
inline std::string machine_name() {
  std::string model = "unknown CPU";
  if (std::FILE* file = std::fopen("/proc/cpuinfo", "rbe")) {
    char line[256];
    while (std::fgets(line, sizeof line, file)) {
      const std::string text = line;
      if (text.rfind("model name", 0) != 0) continue;
      const auto colon = text.find(": ");
      if (colon != std::string::npos) model = text.substr(colon + 2, text.find('\n', colon) - colon - 2);
      break;
    }
    std::fclose(file);
  }
  utsname system{};
  uname(&system);
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, " + system.sysname;
}

}  // namespace GRAFT_ABI
}  // namespace graft
