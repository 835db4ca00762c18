// Something to try examples/classify.cpp on: PNG drawings of characters that no learner has seen, three of each of
// three labelled, others to be told apart, some of which are of none of the three.

#include "graft/data/glyphs.hpp"
#include "png_images.hpp"
#include "program.hpp"

using namespace graft;

void draw_characters(const examples::Program& program, const std::string& folder, Index labelled) {
  if (std::filesystem::exists(folder)) fail_file(folder, "exists; a new folder is made");
  // Their alphabets are those of no seed that a learner was trained with.
  const CharacterImages drawn = make_glyphs({.alphabets = 6,
                                             .test_alphabets = 0,
                                             .characters_min = 1,
                                             .characters_max = 1,
                                             .drawers = labelled + 3,
                                             .seed = 1000000 + program.seed});
  const char* const names[] = {"first", "second", "third"};
  Index others = 0, known = 0;
  for (Index i = 0; i < drawn.image_count(); ++i) {
    const Index c = drawn.character_id[i], d = drawn.drawer_id[i];
    if (c >= 3 && d >= 2) continue;
    std::string place = folder + "/unlabelled";
    std::string name = "other-" + std::to_string(others + 1);
    if (c < 3) name = std::string(names[c]) + "-" + std::to_string(d + 1);
    if (c < 3 && d < labelled) place = folder + "/labelled/" + names[c];
    if (c < 3 && d >= labelled) ++known;
    if (c >= 3) ++others;
    std::error_code error;
    std::filesystem::create_directories(place, error);
    if (error) fail_file(place, {"cannot be made: ", error.message()});
    examples::write_png(place + "/" + name + ".png", drawn.image(i), drawn.width);
  }
  std::printf("%s/labelled: %d drawings of each of 3 characters\n%s/unlabelled: %d others of these, %d of none\n",
              folder.c_str(), int(labelled), folder.c_str(), int(known), int(others));
}

int main(int argc, char** argv) {
  examples::Program program("draw_characters",
                            "Draws characters of made-up alphabets into PNG files, to be classified.");
  std::string folder = "drawings";
  Index labelled = 3;
  program.word("--folder", folder, {}, "new folder for them");
  program.whole("--shots", labelled, "labelled drawings of each of three characters", 1, 1000);
  return program.run(argc, argv, [&] { draw_characters(program, folder, labelled); });
}
