#pragma once
// Exceptions that teach: every message names the op, what was wrong, the shapes that the caller passed and the caller's
// source line. Callers hand over pieces; one cold function puts them together, and only when something is wrong.

#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

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

/// `word(each)` of a range, a comma between.
template <class Range, class Word>
std::string joined(const Range& range, const Word& word, const char* between = ", ") {
  std::string text;
  bool first = true;
  for (const auto& each : range) {
    if (!first) text += between;
    first = false;
    text += word(each);
  }
  return text;
}

/// Names as a message lists them: "a, b, c", or "none".
template <class Names>
[[gnu::cold]] std::string listed(const Names& names) {
  const std::string text = joined(names, [](const auto& name) -> const auto& { return name; });
  return text.empty() ? "none" : text;
}

/// One link of the chain of named calls and layers that are under way on this thread.
struct Frame {
  const char* name;
  Site site;
  Frame* outer;
};
inline constinit thread_local Frame* innermost_frame = nullptr;

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

/// A piece of a message: words or a number.
class Piece {
 public:
  Piece(std::string_view words) : kind_(Kind::words), words_(words.data()), length_(words.size()) {}
  Piece(const char* words) : Piece(std::string_view(words)) {}
  Piece(const std::string& words) : Piece(std::string_view(words)) {}
  template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>
  Piece(N number) {
    if constexpr (std::is_floating_point_v<N>) {
      kind_ = Kind::real;
      real_ = static_cast<double>(number);
    } else {
      kind_ = Kind::whole;
      whole_ = static_cast<long long>(number);
    }
  }
  [[gnu::cold, gnu::noinline]] void append_to(std::string& text) const {
    if (kind_ == Kind::words) text.append(words_, length_);
    if (kind_ == Kind::whole) detail::append_number(text, whole_);
    if (kind_ == Kind::real) detail::append_number(text, real_);
  }

 private:
  enum class Kind { words, whole, real } kind_;
  const char* words_;
  union {
    std::size_t length_;
    long long whole_;
    double real_;
  };
};

namespace detail {

inline void append_pieces(std::string& text, std::initializer_list<Piece> pieces) {
  for (const Piece& piece : pieces) piece.append_to(text);
}

[[gnu::cold, gnu::noinline]] inline void append_path(std::string& text, const Frame* frame) {
  if (frame->outer) {
    append_path(text, frame->outer);
    text.append(" > ", 3);
  }
  text.append(frame->name, std::strlen(frame->name));
}

/// "graft: op: what", one line an argument, and the place: "at train.cpp:41" is the call's own line if it has one, else
/// the innermost named call's; "in encoder > attention" are the named calls under way.
[[gnu::cold, gnu::noinline]] inline std::string error_text(const char* op, std::initializer_list<Piece> what,
                                                           std::initializer_list<Arg> arguments, Site site) {
  std::string text("graft: ", 7);
  const auto add = [&](std::initializer_list<Piece> pieces) { append_pieces(text, pieces); };
  add({op, ": "});
  add(what);
  for (const Arg& argument : arguments) {
    add({"\n  ", argument.name, " "});
    append_shape(text, argument.shape);
  }
  for (const Frame* frame = innermost_frame; frame && !site.file; frame = frame->outer) site = frame->site;
  if (site.file) {
    const char* slash = std::strrchr(site.file, '/');
    add({"\n  at ", slash ? slash + 1 : site.file, ":", site.line});
  }
  if (innermost_frame) {
    add({"\n  in "});
    append_path(text, innermost_frame);
  }
  return text;
}

}  // namespace detail

/// Throws `E` with the text "graft: op: what", one line an argument, and the caller's place:
///
///     fail<IndexError>("squeeze", {"axis ", axis, " of rank ", x.rank()}, {{"x", x.shape()}}, site);
template <class E = ValueError>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const char* op, std::initializer_list<Piece> what,
                                                 std::initializer_list<Arg> arguments = {}, Site site = {}) {
  throw E(detail::error_text(op, what, arguments, site));
}
/// The same with one piece.
template <class E = ValueError>
[[noreturn]] void fail(const char* op, Piece what, std::initializer_list<Arg> arguments = {}, Site site = {}) {
  fail<E>(op, {what}, arguments, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
