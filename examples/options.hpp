#pragma once
// The options of a program, each stated once: the command line, --help and the record read them here.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "graft/evaluate/record.hpp"

namespace examples {

using namespace graft;

/// What the user of a program can put right: one line, exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// `work()`, in which the value of `option` is put to use: a ValueError there becomes a UsageError.
template <class Work>
auto as_usage(const std::string& option, Work work) {
  try {
    return work();
  } catch (const ValueError& error) {
    std::string line = error.what();
    line = line.substr(0, line.find('\n'));
    throw UsageError(option + ": " + (line.starts_with("graft: ") ? line.substr(7) : line));
  }
}

/// Names as an option takes them: "a,b,c".
inline std::string with_commas(const std::vector<std::string>& names) {
  return detail::joined(names, [](const std::string& name) { return name; }, ",");
}

/// One option: where its value goes, and what it may be.
struct Option {
  using Place =
      std::variant<bool*, std::int64_t*, std::uint64_t*, int*, double*, std::string*, std::vector<std::string>*>;
  std::string name, text;  // "--rounds", one line of help
  Place place;
  double low = 0, high = 0;          // of numbers
  std::vector<std::string> choices;  // of a word or of each name; empty: any
  std::string shown;                 // the default as --help shows it
  bool in_identity = true;           // false: training does not depend on it
  bool is_file = false;              // that exists and is read
  bool given = false;

  bool is_flag() const { return std::holds_alternative<bool*>(place); }
  OptionValue value() const {
    return std::visit(
        [](auto* at) -> OptionValue {
          if constexpr (std::is_same_v<decltype(at), int*>)
            return std::int64_t{*at};
          else
            return *at;
        },
        place);
  }

  /// The value as it would be given.
  std::string text_of_value() const {
    if (const auto* names = std::get_if<std::vector<std::string>*>(&place)) return with_commas(**names);
    if (const auto* word = std::get_if<std::string*>(&place)) return **word;
    return to_json(value());
  }

  /// Puts in what was given on the command line. Throws UsageError.
  void set(const std::string& given_text) {
    if (given) throw UsageError(name + ": given twice");
    given = true;
    if (given_text.empty() && !is_flag()) throw UsageError(name + ": the value is empty");
    std::visit([&](auto* at) { read(given_text, *at); }, place);
  }

 private:
  /// Decimal and nothing else, in the option's range: "010" is ten, "0x10", "1e3" and "-0" are none.
  template <class N>
  void read(const std::string& given_text, N& value) const {
    const char *begin = std::data(given_text), *end = begin + given_text.size();
    N number{};
    const auto [stop, error] = std::from_chars(begin, end, number);
    const auto as_real = static_cast<double>(number);
    if (error != std::errc() || stop != end || !std::isfinite(as_real) || as_real < low || as_real > high)
      throw UsageError(name + ": " + given_text + " is not a " + (std::is_integral_v<N> ? "whole " : "") +
                       "number from " + bound(low) + " to " + bound(high));
    value = number;
  }
  void read(const std::string&, bool& value) const { value = true; }
  void read(const std::string& given_text, std::string& value) const {
    check_choice(given_text);
    value = given_text;
  }
  void read(const std::string& given_text, std::vector<std::string>& value) const {
    value.clear();
    for (std::size_t at = 0; at <= given_text.size();) {
      const std::size_t comma = std::min(given_text.find(',', at), given_text.size());
      if (comma == at) throw UsageError(name + ": a name in " + given_text + " is empty");
      value.push_back(given_text.substr(at, comma - at));
      check_choice(value.back());
      at = comma + 1;
    }
  }
  void check_choice(const std::string& word) const {
    if (choices.empty() || std::find(choices.begin(), choices.end(), word) != choices.end()) return;
    throw UsageError(name + ": " + word + " is none of " + detail::listed(choices));
  }
  std::string bound(double value) const {
    if (std::holds_alternative<double*>(place)) return json_number(value);
    if (value >= 0x1p64) return std::to_string(std::numeric_limits<std::uint64_t>::max());
    return std::to_string(static_cast<std::int64_t>(value));
  }
};

/// The list of a program's options.
class Options {
 public:
  Option& add(std::string name, Option::Place place, std::string text) {
    list_.push_back({std::move(name), std::move(text), place, 0, 0, {}, "", true, false, false});
    return list_.back();
  }
  const std::vector<Option>& list() const { return list_; }
  std::vector<Option>& list() { return list_; }

  /// Reads "--name value", "--name=value" and "--flag"; true if help was asked for. Throws UsageError.
  bool parse(int argc, char** argv) {
    for (Option& option : list_)
      if (option.shown.empty()) option.shown = default_of(option);
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--help" || word == "-h") return true;
      const std::size_t equals = word.find('=');
      Option* const option = find(word.substr(0, equals));
      if (!option) throw UsageError(word.substr(0, equals) + ": there is no such option; --help lists them");
      if (option->is_flag()) {
        if (equals != std::string::npos) throw UsageError(option->name + ": takes no value");
        option->set("");
      } else if (equals != std::string::npos) {
        option->set(word.substr(equals + 1));
      } else {
        if (++i >= argc || std::string(argv[i]).rfind("--", 0) == 0) throw UsageError(option->name + ": needs a value");
        option->set(argv[i]);
      }
    }
    return false;
  }

  /// What --help prints.
  std::string help(const std::string& program, const std::string& about) const {
    std::string page = about + "\n\nUsage: " + program + " [OPTIONS]\n\nOptions:\n";
    for (const Option& option : list_) {
      std::string line = "  " + option.name + (option.is_flag() ? "" : " " + kind(option));
      line += std::string(line.size() < 30 ? 30 - line.size() : 1, ' ') + option.text;
      page += line + (option.shown.empty() ? "" : " [" + option.shown + "]") + "\n";
      if (kind(option) == "NAME") page += choices_in_lines(option.choices);
    }
    return page + "  --help                      print this and end\n";
  }

 private:
  Option* find(const std::string& name) {
    for (Option& option : list_)
      if (option.name == name) return &option;
    return nullptr;
  }
  static std::string kind(const Option& option) {
    if (std::holds_alternative<std::vector<std::string>*>(option.place)) return "NAME,...";
    if (!option.choices.empty()) {
      std::string list;
      for (const std::string& choice : option.choices) list += (list.empty() ? "" : "|") + choice;
      return list.size() < 25 ? list : "NAME";
    }
    if (std::holds_alternative<std::string*>(option.place)) return "TEXT";
    return std::holds_alternative<double*>(option.place) ? "NUMBER" : "N";
  }
  /// "one of a, b, c" under the text of an option, in lines of at most 110 characters.
  static std::string choices_in_lines(const std::vector<std::string>& choices) {
    const std::string indent(30, ' ');
    std::string page, line = indent + "one of";
    for (const std::string& choice : choices) {
      const std::string next = " " + choice + (&choice == &choices.back() ? "" : ",");
      if (line.size() + next.size() > 110) {
        page += line + "\n";
        line = indent.substr(1);
      }
      line += next;
    }
    return page + line + "\n";
  }
  static std::string default_of(const Option& option) { return option.is_flag() ? "" : option.text_of_value(); }

  std::vector<Option> list_;
};

}  // namespace examples
