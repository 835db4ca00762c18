#pragma once
// Tables of numbers as text: one row a line, numbers separated by commas.

#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "graft/io/array.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// The number that a cell says, blanks around it left out; false if it says none.
inline bool csv_number(const std::string& line, std::size_t begin, std::size_t end, float& value) {
  const auto blank = [&](std::size_t at) { return line[at] == ' ' || line[at] == '\t'; };
  while (begin < end && blank(begin)) ++begin;
  while (begin < end && blank(end - 1)) --end;
  if (begin + 1 < end && line[begin] == '+' && line[begin + 1] != '-') ++begin;
  const char *from = std::data(line) + begin, *to = std::data(line) + end;
  const auto [stop, error] = std::from_chars(from, to, value);
  return error == std::errc() && stop == to;
}

}  // namespace detail

/// Reads numbers [rows, columns], "<f4". Empty lines are left out, and so is a first line that holds no number at all:
/// the names of the columns. Errors: FileError that names the line for a cell that is no number or not finite, and for
/// a row of another length; FileError for a file without rows.
inline Array read_csv(const std::string& path) {
  std::vector<float> values;
  Index rows = 0, columns = 0, number = 0;
  for (const std::string& line : read_lines(path)) {
    ++number;
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    std::vector<float> row;
    Index cells = 0;
    std::string wrong;
    for (std::size_t at = 0; at <= line.size();) {
      const std::size_t comma = std::min(line.find(',', at), line.size());
      float value = 0;
      ++cells;
      if (!detail::csv_number(line, at, comma, value))
        wrong = wrong.empty() ? detail::in_quotes(line.substr(at, comma - at)) + " is no number" : wrong;
      else if (!std::isfinite(value))
        fail_file(path, {"line ", number, ": ", detail::in_quotes(line.substr(at, comma - at)), " is not finite"});
      else
        row.push_back(value);
      at = comma + 1;
    }
    if (number == 1 && row.empty()) continue;
    if (!wrong.empty()) fail_file(path, {"line ", number, ": ", wrong});
    if (rows > 0 && cells != columns)
      fail_file(path, {"line ", number, " has ", cells, " numbers, the lines before have ", columns});
    columns = cells;
    ++rows;
    values.insert(values.end(), row.begin(), row.end());
  }
  if (rows == 0) fail_file(path, "holds no rows of numbers");
  Array array = make_array(values, {rows, columns});
  array.origin = path;
  return array;
}

}  // namespace GRAFT_ABI
}  // namespace graft
