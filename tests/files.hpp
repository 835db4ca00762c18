#pragma once
// Files for tests: a folder of one's own, bytes in and out, and what a FileError must say.

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "graft/io/file.hpp"
#include "messages.hpp"

/// A new folder that goes away with everything in it.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "graft-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  long files() const {
    return std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator());
  }
};

inline void put(const std::string& path, const std::string& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0)
    throw std::runtime_error("cannot write " + path);
}

inline std::string bytes_of(const std::string& path) { return graft::InputFile(path).read_text(); }

/// The message of the FileError that `run` throws; empty if it throws none.
template <class Run>
std::string file_error(Run run) {
  return message<graft::FileError>(run);
}

/// One line, which names the file.
inline bool teaches(const std::string& message, const std::string& path) {
  return message.find(path) != std::string::npos && message.find('\n') == std::string::npos;
}

/// The message of the FileError that `run` must throw, checked to teach.
template <class Run>
std::string refusal(const std::string& path, Run run) {
  const std::string text = file_error(run);
  INFO(text);
  CHECK(teaches(text, path));
  return text;
}
