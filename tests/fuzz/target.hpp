#pragma once
// What the fuzz targets share. A target hands any bytes to a reader, which reads them soundly or refuses them with the
// error that its documentation names; all else, be it another exception, a report of a sanitizer or memory beyond the
// limit, is a finding. Each .cpp here is a program of libFuzzer (tests/long.sh); tests/fuzz_targets_test.cpp runs all
// of them over corpus/NAME.

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../array_checks.hpp"
#include "graft/core/errors.hpp"
#include "graft/io/array.hpp"

namespace fuzz {

struct Target {
  const char* name;
  bool (*run)(std::string_view bytes);  ///< true if the bytes were read, false if they were refused
};
/// Those of the program.
inline std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}
struct Registered {
  Registered(const char* name, bool (*run)(std::string_view)) { targets().push_back({name, run}); }
};

/// A property of the reader that did not hold is a finding, too.
inline void require(bool holds, const std::string& property) {
  if (!holds) throw std::logic_error("does not hold: " + property);
}

/// A file in memory, for as long as it lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes = {}) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(file_, bytes.data(), bytes.size());
      if (put <= 0) throw std::runtime_error("cannot write a file in memory");
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  ~MemoryFile() { ::close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

/// True if `read` ran to its end, false if it refused the file: with a FileError of one line that names it.
template <class Read>
bool reads(const std::string& path, Read read) {
  try {
    read();
    return true;
  } catch (const graft::FileError& error) {
    const std::string text = error.what();
    require(text.find(path) != std::string::npos && text.find('\n') == std::string::npos,
            "one line that names the file: " + text);
    return false;
  }
}

/// The array is what it says, and its numbers become those of tensors or are refused.
inline void check(const graft::Array& array) {
  require(sound(array), "an array has the bytes of its shape");
  const std::string path = array.origin.substr(0, array.origin.find(':'));
  const auto numbers = [&]<class T>(T) {
    reads(path, [&] { require(graft::to_tensor<T>(array).shape() == array.shape, "a tensor has its array's shape"); });
  };
  numbers(float{});
  numbers(std::int64_t{});
  numbers(std::uint8_t{});
}

/// `again` is what was read of `all` after it was written.
inline void check_again(const graft::ArrayFile& all, const graft::ArrayFile& again) {
  require(again.arrays.size() == all.arrays.size(), "all arrays are written");
  for (const auto& [name, array] : all.arrays)
    require(same(again.at(name), array), "what was read is written and read again");
}

}  // namespace fuzz

/// Defines the target `name`: what follows is the body of a function of `bytes`.
#define FUZZ_TARGET(name)                                              \
  static bool fuzz_##name(std::string_view bytes);                     \
  static const fuzz::Registered registered_##name(#name, fuzz_##name); \
  static bool fuzz_##name(std::string_view bytes)

/// What libFuzzer calls: the one target of its program.
extern "C" [[gnu::used]] inline int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::targets().front().run({reinterpret_cast<const char*>(data), size});
  return 0;
}
