#pragma once
// How libFuzzer changes .npz files: most times an array in one that is whole again afterwards, checksums and all, since
// what damages the archive is refused before anything reads the arrays.

#include <algorithm>
#include <iterator>
#include <random>
#include <string>

#include "graft/io/npz.hpp"
#include "target.hpp"

extern "C" [[gnu::weak]] std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace fuzz {

/// `bytes` as libFuzzer changes any, up to `room` more of them.
template <class Bytes>
void mutate(Bytes& bytes, std::size_t room) {
  const std::size_t size = bytes.size();
  bytes.resize(size + room);
  if (!bytes.empty()) bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, bytes.size()));
}

/// The last axis, or the lack of one, follows from the number of bytes; what is too much for the others is cut off.
inline void fit(graft::Array& array) {
  if (array.shape.rank() == 0) array.shape.push_back(1);
  const int last = array.shape.rank() - 1;
  const graft::Index row = array.shape.without(last).count() * graft::detail::dtype_size(array.dtype);
  array.shape[last] = row == 0 ? 0 : static_cast<graft::Index>(array.data.size()) / row;
  array.data.resize(row * array.shape[last]);
}

inline void change_one(std::map<std::string, graft::Array>& arrays, std::minstd_rand& draw) {
  const auto at = std::next(arrays.begin(), static_cast<std::ptrdiff_t>(draw() % arrays.size()));
  graft::Array& array = at->second;
  const char* const dtypes[] = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"};
  switch (draw() % 8) {
    case 0:  // another length
      mutate(array.data, 64);
      return fit(array);
    case 1:  // another type
      array.dtype = dtypes[draw() % std::size(dtypes)];
      return fit(array);
    case 2: {  // another name, or none
      std::string name = at->first;
      mutate(name, 16);
      auto node = arrays.extract(at);
      node.key() = name.substr(0, 1000);
      arrays.insert(std::move(node));
      return;
    }
    case 3: {  // an axis more or less
      graft::Shape& shape = array.shape;
      if (shape.rank() > 0 && draw() % 2)
        shape = shape.without(0);
      else if (shape.rank() < graft::kMaxRank)
        shape.push_back(1);
      return fit(array);
    }
    default: {  // other elements
      const std::size_t size = array.data.size();
      mutate(array.data, 0);
      array.data.resize(size);
    }
  }
}

}  // namespace fuzz

extern "C" [[gnu::used]] inline std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                                                    std::size_t max_size, unsigned int seed) {
  std::minstd_rand draw(seed);
  if (draw() % 4 > 0) try {
      const fuzz::MemoryFile file({reinterpret_cast<const char*>(data), size}), changed;
      std::map<std::string, graft::Array> arrays = graft::read_npz(file.path()).arrays;
      for (std::size_t changes = 1 + draw() % 3; changes > 0 && !arrays.empty(); --changes)
        fuzz::change_one(arrays, draw);
      graft::write_npz(changed.path(), arrays);
      const std::string bytes = graft::InputFile(changed.path()).read_text();
      if (bytes.size() <= max_size) {
        std::copy(bytes.begin(), bytes.end(), data);
        return bytes.size();
      }
    } catch (const graft::Error&) {  // not one that reads, or an unusable name
    }
  return LLVMFuzzerMutate(data, size, max_size);
}
