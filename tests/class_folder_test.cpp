// Items from people's folders: averaged areas by hand, tables of numbers, one sub-folder a class.

#include <filesystem>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/class_folder.hpp"
#include "graft/data/resize.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

/// A file is read as an image of its length in bytes.
Tensor<> image_of(const std::string& path) {
  if (bytes_of(path).empty()) fail_file(path, "is empty");
  return full<float>({2, 2, 1}, static_cast<float>(bytes_of(path).size()));
}
void make(const std::string& folder) { std::filesystem::create_directories(folder); }
bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("area averaging by hand", "[data]") {
  const Tensor<> four = tensor<float>({{1, 2}, {3, 4}});
  CHECK(same_bits(area_average(four, 1), tensor<float>({{2.5}})));
  CHECK(same_bits(area_average(four, 2), four));
  CHECK(same_bits(area_average(four, 4), tensor<float>({{1, 1, 2, 2}, {1, 1, 2, 2}, {3, 3, 4, 4}, {3, 3, 4, 4}})));
  // Three become two: a new pixel has one old one and half of the middle one.
  const Tensor<> row = broadcast_to(tensor<float>({{3, 6, 12}}), {3, 3});
  CHECK(all_close(area_average(row, 2), broadcast_to(tensor<float>({{4, 10}}), {2, 2})));
  // Not square: in the middle, 0 around. 1 x 3 in 3 x 3, 2 x 4 in 4 x 4 made 2 x 2.
  CHECK(same_bits(area_average(tensor<float>({{1, 2, 3}}), 3), tensor<float>({{0, 0, 0}, {1, 2, 3}, {0, 0, 0}})));
  CHECK(same_bits(area_average(ones<float>({4, 2}), 2), tensor<float>({{0.5, 0.5}, {0.5, 0.5}})));
  // Ink is neither made nor lost, whatever the sizes; a batch is each of its images.
  const Tensor<> some = rand({3, 19, 31}, Random(1)), averaged = area_average(some, 7);
  CHECK(averaged.shape() == Shape{3, 7, 7});
  for (Index i = 0; i < 3; ++i) {
    const Tensor<> own = reshape(slice(some, 0, i, i + 1), {19, 31});
    CHECK(all_close(area_average(own, 7), reshape(slice(averaged, 0, i, i + 1), {7, 7})));
    CHECK(mean(area_average(own, 7)).item() * 31 * 31 == Approx(sum(own).item()).epsilon(1e-5));
  }
  CHECK_THROWS_AS(area_average(tensor<float>({1, 2}), 2), ShapeError);
  CHECK_THROWS_AS(area_average(four, 0), ValueError);
  CHECK_THROWS_AS(area_average(zeros<float>({0, 4}), 2), ValueError);
}

TEST_CASE("tables of numbers", "[io]") {
  const Folder folder;
  const std::string path = folder / "table.csv";
  const auto read = [&](const std::string& text) {
    put(path, text);
    return to_tensor<float>(read_csv(path));
  };
  CHECK(same_bits(read("1,2\n3,4\n"), tensor<float>({{1, 2}, {3, 4}})));
  CHECK(same_bits(read("x,y\r\n -1.5 ,\t+2e3\r\n\r\n3,4"), tensor<float>({{-1.5, 2000}, {3, 4}})));
  CHECK(same_bits(read("7"), tensor<float>({{7}})));
  const auto wrong = [&](const std::string& text) {
    put(path, text);
    return refusal(path, [&] { read_csv(path); });
  };
  CHECK(says(wrong("1,2\n3"), "line 2 has 1 numbers"));
  CHECK(says(wrong("1,2\n3,x"), "line 2: 'x' is no number"));
  CHECK(says(wrong("1,2\n3,"), "line 2: '' is no number"));
  CHECK(says(wrong("1,x"), "line 1: 'x'"));
  CHECK(says(wrong("1,nan"), "'nan' is not finite"));
  CHECK(says(wrong("1\n-inf"), "line 2: '-inf' is not finite"));
  CHECK(says(wrong("1;2"), "no rows"));  // names of columns, and nothing below
  CHECK(says(wrong("1,+-2"), "'+-2'"));
  CHECK(says(wrong(""), "no rows"));
  CHECK(says(refusal(folder / "none.csv", [&] { read_csv(folder / "none.csv"); }), "cannot open"));
}

TEST_CASE("a sub-folder is a class, a file an image", "[data]") {
  const Folder folder;
  const std::string top = folder / "letters";
  make(top + "/b");
  make(top + "/a");
  put(top + "/b/2.PNG", "12");
  put(top + "/b/1.png", "1");
  put(top + "/a/x.png", "123");
  put(top + "/a/.hidden", "1");
  put(top + "/.DS_Store", "1");
  const Shape item{2, 2, 1};
  const ClassFolder read = read_class_folder(top, item, image_of);
  CHECK(read.class_names == std::vector<std::string>{"a", "b"});
  CHECK(same_bits(read.labelled.y, tensor<std::int64_t>({0, 1, 1})));
  CHECK(read.labelled.x.shape() == Shape{3, 2, 2, 1});
  CHECK(same_bits(max(read.labelled.x, {1, 2, 3}), tensor<float>({3, 1, 2})));
  REQUIRE(read.items.size() == 2);
  CHECK((read.items[0].size() == 1 && read.items[1].size() == 2 && read.items[1][1] == 2));
  CHECK(read_folder(top + "/b", item, image_of).names == std::vector<std::string>{"1.png", "2.PNG"});

  const auto wrong = [&](const std::string& path) {
    return refusal(path, [&] { read_class_folder(top, item, image_of); });
  };
  put(top + "/stray.png", "1");
  CHECK(says(wrong(top + "/stray.png"), "sub-folders"));
  std::filesystem::remove(top + "/stray.png");
  put(top + "/a/y.jpg", "1");
  CHECK(says(wrong(top + "/a/y.jpg"), ".png"));
  std::filesystem::remove(top + "/a/y.jpg");
  put(top + "/a/y.png", "");
  CHECK(says(wrong(top + "/a/y.png"), "is empty"));
  std::filesystem::remove(top + "/a/y.png");
  make(top + "/a/deeper");
  CHECK(says(wrong(top + "/a/deeper"), "is a folder"));
  std::filesystem::remove(top + "/a/deeper");
  make(top + "/c");
  CHECK(says(wrong(top + "/c"), "no items"));
  std::filesystem::remove_all(top + "/c");
  std::filesystem::remove_all(top + "/b");
  CHECK(says(wrong(top), "two classes"));
  std::filesystem::remove_all(top);
  CHECK(says(wrong(top), "does not exist"));
  put(top, "file");
  CHECK(says(wrong(top), "is no folder"));
}

TEST_CASE("vectors are rows of csv, npy and npz files", "[data]") {
  const Folder folder;
  const std::string top = folder / "flowers";
  make(top + "/iris");
  make(top + "/rose");
  put(top + "/iris/a.csv", "w,h\n1,2\n3,4\n");
  write_npz(top + "/iris/b.npz", {{"any", make_array(std::vector<double>{5, 6}, {1, 2})}});
  write_npz(top + "/rose/c.npz", {{"x", make_array(std::vector<std::int64_t>{7, 8}, {2})},
                                  {"other", make_array(std::vector<float>{1}, {1})}});
  const auto no_image = [](const std::string& path) -> Tensor<> { fail_file(path, "is no image"); };
  const auto read = [&] { return read_class_folder(top, {2}, no_image); };
  CHECK(same_bits(read().labelled.x, tensor<float>({{1, 2}, {3, 4}, {5, 6}, {7, 8}})));
  CHECK(same_bits(read().labelled.y, tensor<std::int64_t>({0, 0, 0, 1})));
  CHECK(read_folder(top + "/iris", {2}, no_image).names == std::vector<std::string>{"a.csv:1", "a.csv:2", "b.npz"});

  const auto wrong = [&](const std::string& name, const std::string& text) {
    put(top + "/rose/" + name, text);
    const std::string said = refusal(top + "/rose/" + name, read);
    std::filesystem::remove(top + "/rose/" + name);
    return said;
  };
  CHECK(says(wrong("d.csv", "1,2,3"), "expected [-1, 2]"));
  CHECK(says(wrong("d.csv", "1,inf"), "not finite"));
  CHECK(says(wrong("d.png", "1"), "vectors of 2 numbers"));
  CHECK(says(wrong("d.npz", "1"), "d.npz"));
  write_npz(top + "/rose/e.npz", {{"x", make_array(std::vector<float>{1, NAN}, {1, 2})}});
  CHECK(says(refusal(top + "/rose/e.npz", read), "number 1 of row 0"));
  write_npz(top + "/rose/e.npz",
            {{"p", make_array(std::vector<float>{1, 2}, {1, 2})}, {"q", make_array(std::vector<float>{1, 2}, {1, 2})}});
  CHECK(says(refusal(top + "/rose/e.npz", read), "no array 'x'"));
}
