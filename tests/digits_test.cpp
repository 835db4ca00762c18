// Digits from files of two layouts: levels of grey, sizes, and what is refused.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/digits.hpp"

using namespace graft;

namespace {

using Arrays = std::map<std::string, Array>;

/// `count` images of 2 x 2 pixels, image i of digit i % 10: `level` in the first pixel, i in the last.
void add_part(Arrays& to, const std::string& part, Index count, std::uint8_t level) {
  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels;
  for (Index i = 0; i < count; ++i) {
    for (const std::uint8_t pixel : {level, std::uint8_t{0}, std::uint8_t{0}, static_cast<std::uint8_t>(i)})
      images.push_back(pixel);
    labels.push_back(i % 10);
  }
  to[part + "images"] = make_array(images, {count, 2, 2});
  to[part + "labels"] = make_array(labels, {count});
}

}  // namespace

TEST_CASE("digits of one part: full ink is the largest value, images are area-averaged", "[data]") {
  const Folder folder;
  Arrays arrays;
  add_part(arrays, "", 12, 16);  // 17 levels of grey
  write_npz(folder / "digits.npz", arrays);
  const ItemSet set = load_digits(folder / "digits.npz", 4);
  REQUIRE(set.classes() == 10);
  CHECK(set.name(3) == "digit 3");
  CHECK(set.items[1].size() == 2);  // images 1 and 11
  CHECK(set.items[2].size() == 1);
  const std::vector<Index> items{8, 11}, classes{8, 1};
  const Tensor<> x = set.inputs(items, classes);
  REQUIRE(x.shape() == Shape{2, 4, 4, 1});
  for (Index i = 0; i < 2; ++i)
    for (Index row = 0; row < 2; ++row)
      for (Index column = 0; column < 2; ++column) {  // each old pixel is four new ones
        CHECK(x.at({i, row, column, 0}) == 1);
        CHECK(x.at({i, row, 2 + column, 0}) == 0);
        CHECK(x.at({i, 2 + row, 2 + column, 0}) == Approx((i == 0 ? 8 : 11) / 16.0).margin(0.51 / 255));
      }
  const Tensor<> one = load_digits(folder / "digits.npz", 1).inputs(items, classes);
  CHECK(one.at({0, 0, 0, 0}) == Approx(24 / 64.0).margin(0.51 / 255));
}

TEST_CASE("digits of two parts are one set, training images first", "[data]") {
  const Folder folder;
  Arrays arrays;
  add_part(arrays, "train_", 20, 255);
  add_part(arrays, "test_", 10, 51);
  write_npz(folder / "digits.npz", arrays);
  const ItemSet set = load_digits(folder / "digits.npz", 2);
  REQUIRE(set.items[4].size() == 3);
  CHECK(set.items[4][2] == 24);
  const std::vector<Index> items{4, 24}, classes{4, 4};
  const Tensor<> x = set.inputs(items, classes);
  CHECK(x.at({0, 0, 0, 0}) == 1);
  CHECK(x.at({1, 0, 0, 0}) == Approx(0.2));
}

TEST_CASE("files that hold no digits are refused", "[data]") {
  const Folder folder;
  const auto refused = [&](const Arrays& arrays) {
    write_npz(folder / "digits.npz", arrays);
    return file_error([&] { load_digits(folder / "digits.npz"); });
  };
  Arrays good;
  add_part(good, "", 10, 255);
  Arrays arrays = good;
  arrays.erase("labels");
  CHECK_THAT(refused(arrays), contains("labels"));
  arrays = good;
  arrays.erase("images");
  CHECK_THAT(refused(arrays), contains("images"));
  arrays = good;
  arrays["labels"] = make_array(std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 10}, {10});
  CHECK_THAT(refused(arrays), contains("item 9 has label 10 of 10 classes"));
  arrays["labels"] = make_array(std::vector<std::int64_t>{1}, {1});
  CHECK_THAT(refused(arrays), contains("labels"));
  arrays = good;
  arrays["images"] = make_array(std::vector<float>(40), {10, 2, 2});
  CHECK_THAT(refused(arrays), contains("images"));
  arrays["images"] = make_array(std::vector<std::uint8_t>(40), {10, 2, 2});
  CHECK_THAT(refused(arrays), contains("holds no ink"));
  arrays["images"] = make_array(std::vector<std::uint8_t>(), {0, 2, 2});
  arrays["labels"] = make_array(std::vector<std::int64_t>(), {0});
  CHECK_THAT(refused(arrays), contains("holds no images"));
  Arrays parts;
  add_part(parts, "train_", 10, 255);
  CHECK_THAT(refused(parts), contains("test_images"));
  parts["test_images"] = make_array(std::vector<std::uint8_t>(90, 1), {10, 3, 3});
  parts["test_labels"] = parts["train_labels"];
  CHECK_THAT(refused(parts), contains("test_images"));
  CHECK_THROWS_AS(load_digits(folder / "none.npz"), FileError);
  write_npz(folder / "digits.npz", good);
  CHECK_THROWS_AS(load_digits(folder / "digits.npz", 0), ValueError);
}
