#pragma once
// The safetensors format (github.com/huggingface/safetensors, README, "Format"): the length of the header in 8 bytes, the
// header as JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {text: text}},
// then all elements, little-endian and in C order, one array after another without gaps. No size that a file states is
// believed before it is compared with the file's real length.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/io/array.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

inline constexpr std::pair<std::string_view, std::string_view> kSafetensorsDtypes[] = {
    {"BOOL", "|b1"}, {"I8", "|i1"},  {"U8", "|u1"},  {"I16", "<i2"}, {"U16", "<u2"},
    {"I32", "<i4"},  {"U32", "<u4"}, {"I64", "<i8"}, {"U64", "<u8"}, {"F16", "<f2"},
    {"F32", "<f4"},  {"F64", "<f8"}, {"BF16", "bfloat16"}, {"F8_E4M3", "float8_e4m3fn"}, {"F8_E5M2", "float8_e5m2"}};
/// The format's own limit.
inline constexpr Index kSafetensorsHeaderLimit = 100'000'000;

/// What the header says of one array.
struct SafetensorsEntry {
  std::string name, dtype;  // the format's name of the dtype
  std::vector<Index> shape;
  Index begin = 0, end = 0;  // of its elements, counted from the end of the header
};

/// Takes the header's JSON as it is parsed, so that one that is nested or long beyond sense takes no memory.
class SafetensorsHeader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit SafetensorsHeader(const std::string& path) : path_(path) {}

  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (depth_ == 2 || in_list_) malformed();
    ++depth_;
    return true;
  }
  bool key(std::string& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) fail_file(path_, {"has two arrays ", in_quotes(name)});
      in_metadata_ = name == "__metadata__";
      if (!in_metadata_) entries.push_back({name, {}, {}});
      seen_.clear();
    } else if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets") {
      malformed();
    } else if (!seen_.insert(name).second) {
      malformed();
    }
    key_ = name;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !in_metadata_ && seen_.size() != 3) malformed();
    --depth_;
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ != 2 || in_list_ || (!in_metadata_ && key_ != "dtype")) malformed();
    if (in_metadata_)
      metadata[key_] = text;
    else
      entries.back().dtype = text;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_list_ || in_metadata_ || key_ == "dtype") malformed();
    in_list_ = true;
    numbers_.clear();
    return true;
  }
  bool number_unsigned(std::uint64_t number) override {
    if (!in_list_ || number > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) malformed();
    numbers_.push_back(static_cast<Index>(number));
    return true;
  }
  bool end_array() override {
    in_list_ = false;
    if (key_ == "shape") {
      entries.back().shape = numbers_;
    } else {
      if (numbers_.size() != 2) malformed();
      entries.back().begin = numbers_[0];
      entries.back().end = numbers_[1];
    }
    return true;
  }
  bool null() override { malformed(); }
  bool boolean(bool) override { malformed(); }
  bool number_integer(std::int64_t) override { malformed(); }
  bool number_float(double, const std::string&) override { malformed(); }
  bool binary(nlohmann::json::binary_t&) override { malformed(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { malformed(); }

 private:
  [[noreturn]] void malformed() const {
    if (depth_ == 2 && !in_metadata_) fail_file(path_, {"array ", in_quotes(entries.back().name), " has a malformed header"});
    fail_file(path_, "has a malformed safetensors header");
  }

  const std::string& path_;
  int depth_ = 0;  // of objects
  bool in_list_ = false, in_metadata_ = false;
  std::string key_;
  std::set<std::string> names_, seen_;
  std::vector<Index> numbers_;
};

/// The file's header, whose arrays lie one after another and fill the file, in that order; `start` becomes the place of
/// the first element.
inline SafetensorsHeader read_safetensors_header(const InputFile& file, Index& start) {
  const std::string& path = file.path();
  unsigned char size[8] = {};
  if (file.size() < 8) fail_file(path, "is no safetensors file (shorter than 8 bytes)");
  file.read(0, size, 8);
  std::uint64_t length = 0;
  for (int i = 8; i-- > 0;) length = length << 8 | size[i];
  if (length > static_cast<std::uint64_t>(std::min(kSafetensorsHeaderLimit, file.size() - 8)))
    fail_file(path, {"is no safetensors file, or truncated: it states a header of ", std::to_string(length), " bytes, ", file.size() - 8,
                     " follow (at most ", kSafetensorsHeaderLimit, " are read)"});
  std::string text(length, '\0');
  file.read(8, text.data(), static_cast<Index>(length));
  if (text.empty() || text[0] != '{') fail_file(path, "is no safetensors file (its header does not begin with '{')");
  SafetensorsHeader header(path);
  nlohmann::json::sax_parse(text, &header);
  start = 8 + static_cast<Index>(length);

  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
                     return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
                   });
  Index at = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != at || entry.end < entry.begin || entry.end > file.size() - start)
      fail_file(path, {"array ", in_quotes(entry.name), " has offsets ", entry.begin, " to ", entry.end,
                       ", expected from ", at, " up to at most ", file.size() - start});
    at = entry.end;
  }
  if (at != file.size() - start) fail_file(path, {"has ", file.size() - start - at, " bytes that belong to no array"});
  return header;
}

/// Product of the sizes and the element's bytes; nullopt beyond 64 bits.
inline std::optional<Index> bytes_of(const std::vector<Index>& shape, Index element) {
  Index bytes = element;
  bool empty = false;
  for (Index size : shape) {
    empty = empty || size == 0;
    if (size > 0 && __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return empty ? 0 : bytes;
}

}  // namespace detail

/// Reads the arrays of a .safetensors file: those of `only`, or all if it is empty. The others' elements are not looked
/// at. An array of a dtype that graft does not know, or of more than 6 axes, is passed over; asking for it by `at` says
/// so. Errors: FileError for a missing, truncated or malformed file, for arrays that overlap, leave gaps or lie outside
/// the file, and for one whose bytes are not what its dtype and shape need.
inline ArrayFile read_safetensors(const std::string& path, const std::vector<std::string>& only = {}) {
  const InputFile file(path);
  Index start = 0;
  const detail::SafetensorsHeader header = detail::read_safetensors_header(file, start);
  ArrayFile result{path, {}, {}};
  for (const detail::SafetensorsEntry& entry : header.entries) {
    const auto known = std::find_if(std::begin(detail::kSafetensorsDtypes), std::end(detail::kSafetensorsDtypes),
                                    [&](const auto& pair) { return pair.first == entry.dtype; });
    if (known == std::end(detail::kSafetensorsDtypes)) {
      result.unread.emplace(entry.name, "has dtype " + detail::in_quotes(entry.dtype) + ", which graft does not read");
      continue;
    }
    const auto bytes = detail::bytes_of(entry.shape, detail::dtype_size(known->second));
    Array array{std::string(known->second), {}, {}, path + ": array " + detail::in_quotes(entry.name)};
    if (!bytes || *bytes != entry.end - entry.begin)
      array.fail({"has ", entry.end - entry.begin, " bytes, which are not what its dtype and shape need"});
    if (entry.shape.size() > static_cast<std::size_t>(kMaxRank)) {
      result.unread.emplace(entry.name, "has more than " + detail::as_text(kMaxRank) + " axes, graft's highest rank");
      continue;
    }
    if (!only.empty() && std::find(only.begin(), only.end(), entry.name) == only.end()) {
      result.unread.emplace(entry.name, "was not asked for");
      continue;
    }
    for (Index size : entry.shape) array.shape.push_back(size);
    array.data.resize(static_cast<std::size_t>(*bytes));
    file.read(start + entry.begin, array.data.data(), *bytes);
    detail::check_booleans(array);
    result.arrays.emplace(entry.name, std::move(array));
  }
  return result;
}

/// The texts that a .safetensors file carries beside its arrays ("format": "pt"). Errors as of `read_safetensors`.
inline std::map<std::string, std::string> read_safetensors_metadata(const std::string& path) {
  Index start = 0;
  return detail::read_safetensors_header(InputFile(path), start).metadata;
}

/// Writes arrays, and texts beside them, to a .safetensors file: larger elements first, so that each array is aligned,
/// equal ones by name; equal contents give equal bytes. Errors: FileError if the file cannot be written (an older one
/// stays as it was); ValueError for an array whose dtype, shape and data do not fit together, for a name or text that is
/// not UTF-8, and for an array "__metadata__".
inline void write_safetensors(const std::string& path, const std::map<std::string, Array>& arrays,
                              const std::map<std::string, std::string>& metadata = {}) {
  std::vector<const std::pair<const std::string, Array>*> order;
  for (const auto& entry : arrays) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return detail::dtype_size(a->second.dtype) > detail::dtype_size(b->second.dtype);
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  Index at = 0;
  for (const auto* entry : order) {
    const auto& [name, array] = *entry;
    const auto known = std::find_if(std::begin(detail::kSafetensorsDtypes), std::end(detail::kSafetensorsDtypes),
                                    [dtype = array.dtype](const auto& pair) { return pair.second == dtype; });
    if (name == "__metadata__") fail("write_safetensors", "an array cannot be named '__metadata__'");
    if (known == std::end(detail::kSafetensorsDtypes))
      fail("write_safetensors", {"dtype '", array.dtype, "' is not one that graft writes"});
    const auto count = static_cast<Index>(array.data.size());
    if (array.shape.rank() > kMaxRank || array.shape.count() * detail::dtype_size(array.dtype) != count)
      fail("write_safetensors", {count, " bytes of ", array.dtype}, {{name.c_str(), array.shape}});
    header[name] = {{"dtype", known->first},
                    {"shape", std::vector<Index>(array.shape.begin(), array.shape.end())},
                    {"data_offsets", {at, at + count}}};
    at += count;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::type_error&) {
    fail("write_safetensors", "a name or text is not UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xFF);
  OutputFile file(path);
  file.write(length + text);
  for (const auto* entry : order)
    file.write(entry->second.data.data(), static_cast<Index>(entry->second.data.size()));
  file.commit();
}

}  // namespace GRAFT_ABI
}  // namespace graft
