// Damaged files, by the hundred: whatever a reader meets it refuses in one line that names the file, or reads arrays
// that are what they say. Damage is drawn from one seed, so a file is known by its number. GRAFT_FUZZ_FILES says how
// many (tests/long.sh asks for many more).

#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/io/safetensors.hpp"
#include "graft/nn/linear.hpp"
#include "npy_fixtures.hpp"

using namespace graft;

namespace {

std::size_t below(std::mt19937_64& random, std::size_t bound) { return bound == 0 ? 0 : random() % bound; }

/// One to six injuries: bytes changed, set to telling values, cut out, doubled, moved in from another file, the end
/// cut.
std::string damaged(std::string bytes, const std::string& other, std::mt19937_64& random) {
  for (std::size_t injuries = 1 + below(random, 6); injuries > 0 && !bytes.empty(); --injuries) {
    const std::size_t at = below(random, bytes.size()), length = 1 + below(random, 16);
    const std::size_t kind = below(random, 7);
    if (kind == 0) bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(random, 8));
    if (kind == 1) bytes[at] = static_cast<char>(random());
    if (kind == 2)
      for (std::size_t i = at; i < bytes.size() && i < at + length; ++i)
        bytes[i] = "\x00\x7F\x80\xFF"[below(random, 4)];
    if (kind == 3) bytes.erase(at, length);
    if (kind == 4) bytes.insert(at, bytes.substr(at, length));
    if (kind == 5) bytes.replace(at, length, other.substr(below(random, other.size()), length));
    if (kind == 6) bytes.resize(at);
  }
  return bytes;
}

}  // namespace

TEST_CASE("damaged files are refused in one line or read soundly, and a refused checkpoint changes nothing",
          "[io][fuzz]") {
  const Folder folder;
  const Random random(1);
  const Linear<> saved(3, 2, random.stream("saved")), before(3, 2, random.stream("before"));
  const auto equal = [](const Linear<>& a, const Linear<>& b) {
    return same_bits(a.weight, b.weight) && same_bits(*a.bias, *b.bias);
  };
  save_checkpoint(folder / "whole", saved, {{"round", std::int64_t{7}}, {"note", std::string("a note")}});
  put(folder / "three", kThree);
  write_npz(folder / "arrays", {{"three", read_npy(folder / "three")},
                                {"weights", make_array(saved.weight.span(), saved.weight.shape())}});
  write_safetensors(folder / "tensors", read_npz(folder / "arrays").arrays, {{"format", "pt"}});
  const std::string wholes[] = {kThree, bytes_of(folder / "arrays"), bytes_of(folder / "whole"),
                                bytes_of(folder / "tensors")};

  const std::string path = folder / "damaged";
  int refused = 0, read = 0;
  const int files = amount("GRAFT_FUZZ_FILES", 500);
  for (int number = 0; number < files; ++number) {
    std::mt19937_64 draw(static_cast<std::uint64_t>(number));
    const auto kind = static_cast<std::size_t>(number % 4);
    put(path, damaged(wholes[kind], wholes[below(draw, 4)], draw));
    Linear<> loaded = before;
    bool is_sound = true;
    const std::string refusal = file_error([&] {
      if (kind == 0) is_sound = sound(read_npy(path));
      if (kind == 1)
        for (const auto& [name, array] : read_npz(path).arrays) is_sound = is_sound && sound(array);
      if (kind == 2) load_checkpoint(path, loaded);
      if (kind == 3)
        for (const auto& [name, array] : read_safetensors(path).arrays) is_sound = is_sound && sound(array);
    });
    ++(refusal.empty() ? read : refused);
    if (!is_sound || (!refusal.empty() && !teaches(refusal, path))) FAIL_CHECK("file " << number << ": " << refusal);
    if (kind == 2 && !equal(loaded, refusal.empty() ? saved : before))
      FAIL_CHECK("file " << number << " left a model that is neither the old nor the saved one: " << refusal);
  }
  CHECK(refused > read);
  CHECK(read > 0);
}
