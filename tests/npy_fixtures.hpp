#pragma once
// Byte-exact npy files and arrays to compare, for the tests of npy and npz.

#include <string>
#include <vector>

#include "array_checks.hpp"
#include "catch.hpp"
#include "graft/io/npy.hpp"

/// Version 1.0 or 2.0: magic, version, header length (2 or 4 bytes, little-endian), header, elements.
inline std::string npy(const std::string& dict, const std::string& elements, int version = 1) {
  const std::size_t length = dict.size();
  std::string bytes = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes += static_cast<char>(length >> (8 * i) & 0xFF);
  return bytes + dict + elements;
}

/// np.save of np.array([1, -2, 3], '<i4'), byte by byte: the header is 118 = 0x76 long, so the elements start at 128.
inline const std::string kThree = std::string("\x93NUMPY\x01\x00\x76\x00", 10) +
                                  "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }" + std::string(60, ' ') +
                                  "\n" + std::string("\x01\x00\x00\x00\xFE\xFF\xFF\xFF\x03\x00\x00\x00", 12);

/// The three numbers of kThree.
inline std::vector<std::int32_t> three(const graft::Array& array) {
  REQUIRE(array.shape == graft::Shape{3});
  const auto values = array.as<std::int32_t>();
  return {values.begin(), values.end()};
}
