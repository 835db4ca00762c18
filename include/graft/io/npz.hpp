#pragma once
// NumPy's .npz container: a zip archive of stored (not compressed) .npy members (PKWARE APPNOTE 6.3, sections 4.3 to
// 4.5). Zip64 records are read; archives of 4 GiB and more are not written. Sizes and offsets come from the central
// directory, are held against the file's real length and one another, and every member's CRC-32 is checked.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/io/npy.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Tables of the reflected polynomial 0xEDB88320: entry [k][b] is byte b followed by k zero bytes.
inline constexpr auto kCrcTables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
    tables[0][byte] = value;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xFF];
  return tables;
}();

}  // namespace detail

/// CRC-32 of zip and PNG (ISO 3309), continued from `crc`; eight bytes a step (Kounavis and Berry, ISCC 2005).
inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc = 0) {
  const auto& tables = detail::kCrcTables;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  crc = ~crc;
  for (; left >= 8; left -= 8, data += 8) {
    std::uint32_t low, high;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + 4, 4);
    low ^= crc;
    crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^ tables[4][low >> 24] ^
          tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF] ^ tables[1][high >> 16 & 0xFF] ^ tables[0][high >> 24];
  }
  for (; left > 0; --left, ++data) crc = crc >> 8 ^ tables[0][(crc ^ *data) & 0xFF];
  return ~crc;
}

/// What lists of numbers or characters hold, for comparison: their checksum in hexadecimal digits.
template <class... Lists>
std::string fingerprint(const Lists&... lists) {
  std::uint32_t crc = 0;
  ((crc = crc32(std::as_bytes(std::span(lists)), crc)), ...);
  char text[16];
  std::snprintf(text, sizeof text, "%08x", crc);
  return text;
}

namespace detail {

/// Little-endian numbers out of a piece of a zip file.
inline std::uint64_t zip_number(const std::string& bytes, std::size_t at, int width) {
  std::uint64_t value = 0;
  for (int i = width; i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}
inline void append_number(std::string& bytes, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
}

struct ZipMember {
  std::string name;
  std::uint64_t offset, size;  // of the local header; of the content
  std::uint32_t crc;
  Index begin = 0;           // first byte of the content
  std::string refusal = {};  // why the content cannot be read; empty if it can
};

class ZipReader {
 public:
  explicit ZipReader(const InputFile& file) : file_(file) {}

  /// All members in the order of their bytes; their ranges lie inside the file and do not overlap.
  std::vector<ZipMember> members() {
    find_directory();
    std::vector<ZipMember> list = read_directory();
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    std::uint64_t end = 0;
    for (ZipMember& member : list) {
      if (member.offset < end) damaged("members overlap");
      check_local(member);
      end = static_cast<std::uint64_t>(member.begin) + member.size;
    }
    return list;
  }

 private:
  [[noreturn]] void damaged(const std::string& reason) const {
    fail_file(file_.path(), {"is a damaged npz file (", reason, ")"});
  }
  [[noreturn]] void bad_member(const ZipMember& member, const std::string& reason) const {
    fail_file(file_.path(), {"member ", in_quotes(member.name), " ", reason});
  }
  std::string piece(std::uint64_t offset, std::uint64_t count) const {
    const auto length = static_cast<std::uint64_t>(file_.size());
    if (offset > length || count > length - offset) damaged("a record lies outside the file");
    std::string bytes(count, '\0');
    file_.read(static_cast<Index>(offset), bytes.data(), static_cast<Index>(count));
    return bytes;
  }

  /// Finds the end record, which stands before a comment of at most 64 KiB, and its zip64 twin if there is one.
  void find_directory() {
    const auto length = static_cast<std::uint64_t>(file_.size());
    if (length == 0) fail_file(file_.path(), "is empty");
    const std::uint64_t tail_size = std::min<std::uint64_t>(length, 22 + 65535);
    const std::string tail = piece(length - tail_size, tail_size);
    std::size_t at = std::string::npos;
    for (std::size_t i = tail.size() < 22 ? 0 : tail.size() - 21; i-- > 0;)
      if (tail.compare(i, 4, "PK\5\6", 4) == 0 && i + 22 + zip_number(tail, i + 20, 2) == tail.size()) {
        at = i;
        break;
      }
    if (at == std::string::npos) {
      const std::string magic = piece(0, std::min<std::uint64_t>(length, 4));
      fail_file(file_.path(), magic == std::string("PK\3\4") ? "is truncated (no zip end record)"
                                                             : "is not an npz file (no zip records in it)");
    }
    std::uint64_t disks = zip_number(tail, at + 4, 2) | zip_number(tail, at + 6, 2);
    std::uint64_t here = zip_number(tail, at + 8, 2);
    count_ = zip_number(tail, at + 10, 2);
    size_ = zip_number(tail, at + 12, 4);
    offset_ = zip_number(tail, at + 16, 4);
    end_ = length - tail_size + at;
    const std::string locator = end_ >= 20 ? piece(end_ - 20, 20) : std::string(20, '\0');
    if (locator.compare(0, 4, "PK\6\7", 4) == 0) {
      const std::uint64_t where = zip_number(locator, 8, 8);
      const std::string record = piece(where, 56);
      if (record.compare(0, 4, "PK\6\6", 4) != 0) damaged("no zip64 end record");
      disks = zip_number(record, 16, 4) | zip_number(record, 20, 4) | zip_number(locator, 4, 4);
      here = zip_number(record, 24, 8);
      count_ = zip_number(record, 32, 8);
      size_ = zip_number(record, 40, 8);
      offset_ = zip_number(record, 48, 8);
      end_ = where;
    }
    if (disks != 0 || here != count_) fail_file(file_.path(), "is one part of a zip archive split over several files");
    if (offset_ > end_ || size_ > end_ - offset_) damaged("the directory lies outside the file");
  }

  std::vector<ZipMember> read_directory() const {
    const std::string directory = piece(offset_, size_);
    std::vector<ZipMember> list;
    std::size_t at = 0;
    while (at < directory.size()) {
      if (directory.size() - at < 46 || directory.compare(at, 4, "PK\1\2", 4) != 0) damaged("a directory entry is cut");
      const std::size_t name_size = zip_number(directory, at + 28, 2), extra_size = zip_number(directory, at + 30, 2),
                        comment_size = zip_number(directory, at + 32, 2);
      if (directory.size() - at - 46 < name_size + extra_size + comment_size) damaged("a directory entry is cut");
      ZipMember member{directory.substr(at + 46, name_size), zip_number(directory, at + 42, 4),
                       zip_number(directory, at + 24, 4),
                       static_cast<std::uint32_t>(zip_number(directory, at + 16, 4))};
      std::uint64_t packed = zip_number(directory, at + 20, 4);
      note_method(member, zip_number(directory, at + 8, 2), zip_number(directory, at + 10, 2));
      read_zip64(member, packed, directory.substr(at + 46 + name_size, extra_size));
      if (packed != member.size && member.refusal.empty()) bad_member(member, "has two different sizes");
      member.size = packed;
      list.push_back(std::move(member));
      at += 46 + name_size + extra_size + comment_size;
    }
    if (list.size() != count_) damaged("the number of members is wrong");
    return list;
  }

  static void note_method(ZipMember& member, std::uint64_t flags, std::uint64_t method) {
    if (method != 0) member.refusal = "is compressed; save the arrays with np.savez, not np.savez_compressed";
    if (flags & 1) member.refusal = "is encrypted";
  }

  /// Fields of the directory entry that hold 0xFFFFFFFF have their value in the zip64 extra field, in this order.
  void read_zip64(ZipMember& member, std::uint64_t& packed, const std::string& extra) const {
    std::uint64_t* const fields[] = {&member.size, &packed, &member.offset};
    std::size_t at = 0;
    while (extra.size() - at >= 4) {
      const std::size_t id = zip_number(extra, at, 2), size = zip_number(extra, at + 2, 2);
      at += 4;
      if (size > extra.size() - at) bad_member(member, "has a damaged extra field");
      if (id == 1) {
        std::size_t value = at;
        for (std::uint64_t* field : fields) {
          if (*field != 0xFFFFFFFFu) continue;
          if (at + size - value < 8) bad_member(member, "has a damaged zip64 field");
          *field = zip_number(extra, value, 8);
          value += 8;
        }
        return;
      }
      at += size;
    }
  }

  void check_local(ZipMember& member) const {
    const std::string header = piece(member.offset, 30);
    if (header.compare(0, 4, "PK\3\4", 4) != 0) bad_member(member, "has no local header");
    note_method(member, zip_number(header, 6, 2), zip_number(header, 8, 2));
    const std::uint64_t name_size = zip_number(header, 26, 2), extra_size = zip_number(header, 28, 2);
    if (piece(member.offset + 30, name_size) != member.name) bad_member(member, "has another name in its local header");
    const std::uint64_t begin = member.offset + 30 + name_size + extra_size;
    if (begin > offset_ || member.size > offset_ - begin) bad_member(member, "is truncated");
    member.begin = static_cast<Index>(begin);
  }

  const InputFile& file_;
  std::uint64_t count_ = 0, size_ = 0, offset_ = 0, end_ = 0;  // of the central directory
};

/// CRC-32 of a member's content, a piece at a time.
inline std::uint32_t crc_of(const InputFile& file, const ZipMember& member) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(member.size, 1 << 16));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < member.size; done += piece.size()) {
    const auto bytes = std::span(piece).first(std::min<std::uint64_t>(piece.size(), member.size - done));
    file.read(member.begin + static_cast<Index>(done), bytes.data(), static_cast<Index>(bytes.size()));
    crc = crc32(bytes, crc);
  }
  return crc;
}

}  // namespace detail

/// Reads the arrays of an .npz file: those of `only`, or all if it is empty. The others are not looked at, and an array
/// of a kind that graft has no type for (text, complex numbers, Fortran order ...) is passed over; asking for one of
/// them by `at` says so. Errors: FileError for a missing, truncated or damaged file, and for a member to be read that
/// is compressed or no .npy array.
GRAFT_ONCE ArrayFile read_npz(const std::string& path, const std::vector<std::string>& only = {}) {
  const InputFile file(path);
  ArrayFile result{path, {}, {}};
  for (const detail::ZipMember& member : detail::ZipReader(file).members()) {
    const std::size_t stem = member.name.size() - std::min<std::size_t>(member.name.size(), 4);
    const bool array_name = stem > 0 && member.name.compare(stem, 4, ".npy") == 0;
    const std::string name = array_name ? member.name.substr(0, stem) : member.name;
    if (!only.empty() && std::find(only.begin(), only.end(), name) == only.end()) {
      if (array_name) result.unread.emplace(name, "was not asked for");
      continue;
    }
    if (!member.refusal.empty()) fail_file(path, {"member ", detail::in_quotes(member.name), " ", member.refusal});
    if (!array_name) fail_file(path, {"member ", detail::in_quotes(member.name), " is not an .npy array"});
    if (result.contains(name)) fail_file(path, {"has two arrays ", detail::in_quotes(name)});
    const std::string origin = path + ": array " + detail::in_quotes(name);
    std::uint32_t crc = 0;
    try {
      result.arrays.emplace(name,
                            detail::read_npy_at(file, member.begin, static_cast<Index>(member.size), origin,
                                                [&](std::span<const std::byte> bytes) { crc = crc32(bytes, crc); }));
    } catch (const detail::UnreadKind& kind) {
      result.unread.emplace(name, std::string(kind.what()).substr(std::string("graft: ").size() + origin.size() + 2));
      crc = detail::crc_of(file, member);
    }
    if (crc != member.crc) fail_file(path, {"array ", detail::in_quotes(name), " is damaged (wrong CRC-32)"});
  }
  return result;
}
GRAFT_HELD(ArrayFile read_npz<>(const std::string&, const std::vector<std::string>&))

/// Writes arrays to an .npz file, in the order of their names and without a time stamp: equal arrays give equal bytes.
/// Errors: FileError if the file cannot be written (an older one stays as it was) or would reach 4 GiB; ValueError for
/// an array whose dtype, shape and data do not fit together, or an unusable name.
GRAFT_ONCE void write_npz(const std::string& path, const std::map<std::string, Array>& arrays) {
  constexpr std::uint64_t limit = 0xFFFFFFFFu;
  std::vector<std::string> headers;
  std::uint64_t total = 22;
  for (const auto& [name, array] : arrays) {
    if (name.empty() || name.size() > 1000) fail("write_npz", {"an array's name has ", name.size(), " bytes"});
    headers.push_back(detail::npy_header(array));
    total += 76 + 2 * (name.size() + 4) + headers.back().size() + array.data.size();
  }
  if (total >= limit || arrays.size() >= 0xFFFF)
    fail_file(path, "would be an npz file of 4 GiB or more, or of 65535 or more arrays; write several files");

  OutputFile file(path);
  std::string directory;
  std::uint64_t offset = 0;
  auto header = headers.begin();
  for (const auto& [name, array] : arrays) {
    const std::uint32_t crc = crc32(array.data, crc32(std::as_bytes(std::span(*header))));
    const std::uint64_t size = header->size() + array.data.size();
    bool ascii = true;
    for (char c : name) ascii = ascii && static_cast<unsigned char>(c) < 0x80;
    std::string common;                                   // what the local header and the directory entry share
    detail::append_number(common, 20, 2);                 // needs version 2.0
    detail::append_number(common, ascii ? 0 : 0x800, 2);  // the name is UTF-8
    detail::append_number(common, 0, 2);                  // stored
    detail::append_number(common, 0, 2);                  // 00:00:00
    detail::append_number(common, 0x21, 2);               // 1980-01-01, the first day of zip's calendar
    detail::append_number(common, crc, 4);
    detail::append_number(common, size, 4);
    detail::append_number(common, size, 4);
    detail::append_number(common, name.size() + 4, 2);
    detail::append_number(common, 0, 2);  // no extra field
    const std::string local = "PK\3\4" + common + name + ".npy";
    file.write(local);
    file.write(*header);
    file.write(array.data.data(), static_cast<Index>(array.data.size()));

    directory += "PK\1\2";
    detail::append_number(directory, 20, 2);  // made by version 2.0
    directory += common;
    directory.append(10, '\0');  // no comment, disk 0, no attributes
    detail::append_number(directory, offset, 4);
    directory += name + ".npy";
    offset += local.size() + size;
    ++header;
  }
  std::string end = "PK\5\6";
  detail::append_number(end, 0, 4);  // disk 0 of one
  detail::append_number(end, arrays.size(), 2);
  detail::append_number(end, arrays.size(), 2);
  detail::append_number(end, directory.size(), 4);
  detail::append_number(end, offset, 4);
  detail::append_number(end, 0, 2);
  file.write(directory + end);
  file.commit();
}
GRAFT_HELD(void write_npz<>(const std::string&, const std::map<std::string, Array>&))

}  // namespace GRAFT_ABI
}  // namespace graft
