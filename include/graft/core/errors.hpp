#pragma once
// Exceptions that teach: every message names the op, what was wrong, the shapes that the caller passed and the caller's
// source line. Messages are put together in cold functions without streams; nothing is built unless something is wrong.

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "graft/core/shape.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Base of every exception that graft throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// Shapes, ranks or sizes that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};
/// An index, axis, label or node id outside its range.
class IndexError : public Error {
 public:
  using Error::Error;
};
/// An argument whose value is outside its domain (a negative rate, an empty list, an untracked tensor ...).
class ValueError : public Error {
 public:
  using Error::Error;
};
/// A file that is missing, damaged, of an unknown kind or cannot be written; the message names the file.
class FileError : public Error {
 public:
  using Error::Error;
};

/// Where a named function was called: filled in by a defaulted last parameter `Site site = Site::current()`.
struct Site {
  const char* file = nullptr;
  int line = 0;
  static constexpr Site current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

namespace detail {

/// One link of the chain of named calls and layers that are under way on this thread.
struct Frame {
  const char* name;
  Site site;
  Frame* outer;
};
inline constinit thread_local Frame* innermost_frame = nullptr;

[[gnu::cold, gnu::noinline]] inline std::string short_file(const char* file) {
  const std::string_view path = file;
  const auto slash = path.find_last_of('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

/// " at train.cpp:41 in encoder > attention": the call's own line if it has one, else the innermost named call's.
[[gnu::cold, gnu::noinline]] inline std::string where_text(Site site) {
  std::string path;
  for (Frame* frame = innermost_frame; frame; frame = frame->outer) {
    path = frame->name + (path.empty() ? "" : " > " + path);
    if (!site.file && frame->site.file) site = frame->site;
  }
  std::string text;
  if (site.file) text += "\n  at " + short_file(site.file) + ":" + detail::as_text(site.line);
  if (!path.empty()) text += "\n  in " + path;
  return text;
}

}  // namespace detail

/// Names a call or layer for as long as it lives, so that errors thrown by operators inside it can say where they are.
class Named {
 public:
  explicit Named(const char* name, Site site = {}) : frame_{name, site, detail::innermost_frame} {
    detail::innermost_frame = &frame_;
  }
  ~Named() { detail::innermost_frame = frame_.outer; }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;

 private:
  detail::Frame frame_;
};

/// An argument as an error message shows it: its name and its shape.
struct Arg {
  const char* name;
  const Shape& shape;
};

namespace detail {

/// "graft: op: what", one line an argument, and the caller's place.
[[gnu::cold, gnu::noinline]] inline std::string error_text(const char* op, std::string_view what,
                                                           std::initializer_list<Arg> arguments, Site site) {
  std::string text = "graft: ";
  text += op;
  text += ": ";
  text += what;
  for (const Arg& argument : arguments) {
    text += "\n  ";
    text += argument.name;
    text += ' ';
    text += to_string(argument.shape);
  }
  return text + where_text(site);
}

}  // namespace detail

/// Throws `E` with the text "graft: op: what", one line an argument, and the caller's place.
template <class E = ValueError>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const char* op, std::string_view what,
                                                 std::initializer_list<Arg> arguments = {}, Site site = {}) {
  throw E(detail::error_text(op, what, arguments, site));
}

}  // namespace GRAFT_ABI
}  // namespace graft
