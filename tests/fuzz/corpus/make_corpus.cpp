// Writes the first files of the corpora into the folder that is its argument: read-* by graft's own writers, and
// refused-* of which each has one thing that a reader must not believe. Those that libFuzzer found lie beside them.
//
//     g++ -std=c++20 -I include tests/fuzz/corpus/make_corpus.cpp -o make_corpus && ./make_corpus tests/fuzz/corpus

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "graft/data/graph_labels.hpp"
#include "graft/data/node_labels.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/io/published.hpp"

using namespace graft;

namespace {

std::string folder;

/// The name of a file of that corpus.
std::string name(const std::string& file) {
  const std::string path = folder + "/" + file;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  return path;
}
void put(const std::string& file, const std::string& bytes) { write_text(name(file), bytes); }
std::string bytes_of(const std::string& file) { return InputFile(name(file)).read_text(); }

/// `bytes` with the first `from` replaced.
std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  const std::size_t at = bytes.find(from);
  if (at == std::string::npos) throw std::logic_error("nothing to replace: " + from);
  return bytes.replace(at, from.size(), to);
}
std::string little(std::uint64_t number, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) bytes += static_cast<char>(number >> (8 * i) & 0xFF);
  return bytes;
}
std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}
template <class T>
Array array(const std::vector<T>& values, const Shape& shape) {
  return make_array(values, shape);
}
template <class T>
Array list(const std::vector<T>& values) {
  return make_array(values, {static_cast<Index>(values.size())});
}

/// Writes an .npz file of that corpus with one of the arrays replaced: refused(file, array, other).
auto refused_of(const std::string& corpus, const std::map<std::string, Array>& arrays) {
  return [=](const std::string& file, const std::string& which, const Array& other) {
    std::map<std::string, Array> changed = arrays;
    changed[which] = other;
    write_npz(name(corpus + "/refused-" + file), changed);
  };
}

void npy() {
  write_npy(name("npy/read-whole"), list<std::int32_t>({1, -2, 3}));
  write_npy(name("npy/read-matrix"), array<double>({1, 2, 3, 4, 5, INFINITY}, {2, 3}));
  write_npy(name("npy/read-scalar"), array<float>({0.5f}, {}));
  write_npy(name("npy/read-none"), array<float>({}, {0, 5}));
  Array half = list<std::uint16_t>({0x3C00, 0x7E00, 0x8001});
  half.dtype = "<f2";
  write_npy(name("npy/read-half"), half);
  const auto file = [](const std::string& dict, const std::string& elements, int version = 1) {
    return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' + little(dict.size(), version == 1 ? 2 : 4) +
           dict + elements;
  };
  const auto shaped = [&](const std::string& type, const std::string& shape, const std::string& elements) {
    return file("{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }", elements);
  };
  const std::string dict = "{'shape':(1,),'fortran_order':False,'descr':\"|i1\"}";
  put("npy/read-version-3", file(dict, "a", 3));
  put("npy/refused-long-header", replaced(file(dict, "a", 2), little(dict.size(), 4), little(0xFFFFFFFF, 4)));
  put("npy/refused-huge", shaped("<f8", "1152921504606846975, 2", "abcdefgh"));
  put("npy/refused-overflow", shaped("<f8", "4294967296, 4294967296", ""));
  put("npy/refused-zero-overflow", shaped("<f8", "0, 4611686018427387904, 4611686018427387904", ""));
  put("npy/refused-beyond-64-bits", shaped("|i1", "99999999999999999999999999,", "a"));
  put("npy/refused-axes", shaped("|i1", "1, 1, 1, 1, 1, 1, 1", "a"));
  put("npy/refused-boolean", shaped("|b1", "2,", std::string("\1\2", 2)));
  put("npy/refused-type", shaped("", "1,", "a"));
  put("npy/refused-objects", shaped("|O", "1,", "aaaaaaaa"));
  put("npy/refused-cut", std::string("\x93NUMPY\x01", 7));
}

void npz() {
  write_npz(name("npz/read-whole"), {{"a", list<std::int32_t>({1, -2, 3})}, {"b", array<float>({1, 2}, {1, 2})}});
  write_npz(name("npz/read-none"), {});
  const std::string whole = bytes_of("npz/read-whole");
  const std::size_t directory = whole.find("PK\1\2"), second = whole.find("PK\1\2", directory + 1),
                    end = whole.find("PK\5\6");
  const auto with = [&](std::size_t at, std::uint64_t number, int width) {
    std::string bytes = whole;
    return bytes.replace(at, static_cast<std::size_t>(width), little(number, width));
  };
  put("npz/refused-checksum", with(directory + 16, 1, 4));
  put("npz/refused-compressed", with(directory + 10, 8, 2));
  put("npz/refused-size", with(directory + 20, 0xFFFFFFFE, 4));
  put("npz/refused-overlap", with(second + 42, 0, 4));
  put("npz/refused-offset", with(second + 42, 0xFFFFFFF0, 4));
  put("npz/refused-directory", with(end + 12, 0xFFFFFFFF, 4));
  put("npz/refused-count", with(end + 10, 3, 2));
  put("npz/refused-name", with(directory + 28, 0xFFFF, 2));
  put("npz/refused-no-end", whole.substr(0, end));
  // The 64-bit end record, and its locator, claim a directory that no memory holds.
  std::string large = whole.substr(0, end) + "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) + little(0, 8) +
                      little(2, 8) + little(2, 8) + little(std::uint64_t{1} << 62, 8) + little(directory, 8) +
                      "PK\6\7" + little(0, 4) + little(end, 8) + little(1, 4) + whole.substr(end);
  put("npz/refused-zip64", large);
}

void safetensors() {
  std::map<std::string, Array> all;
  for (const auto& [theirs, dtype] : detail::kSafetensorsDtypes) {
    Array one;
    one.dtype = std::string(dtype);
    one.shape = {2};
    one.data.resize(2 * detail::dtype_size(dtype));
    all.emplace(std::string(theirs), one);
  }
  write_safetensors(name("safetensors/read-types"), all);
  write_safetensors(name("safetensors/read-text"), {{"a", array<float>({1, 2}, {1, 2, 1})}}, {{"format", "pt"}});
  const auto file = [](const std::string& header, const std::string& elements) {
    return little(header.size(), 8) + header + elements;
  };
  const auto one = [](const std::string& array, const std::string& shape, const std::string& place) {
    return "\"" + array + "\":{\"dtype\":\"U8\",\"shape\":[" + shape + "],\"data_offsets\":[" + place + "]}";
  };
  put("safetensors/read-none", file("{}", ""));
  put("safetensors/read-escapes", file("{" + one("\\u0000\\n\\ud83d\\ude00", "", "0,1") + "}", "a"));
  put("safetensors/refused-length", little(std::numeric_limits<std::uint64_t>::max(), 8) + "{}");
  put("safetensors/refused-limit", little(100'000'001, 8) + "{}");
  put("safetensors/refused-overlap", file("{" + one("a", "2", "0,2") + "," + one("b", "2", "1,3") + "}", "abc"));
  put("safetensors/refused-gap", file("{" + one("a", "1", "0,1") + "," + one("b", "1", "2,3") + "}", "abc"));
  put("safetensors/refused-outside", file("{" + one("a", "4", "0,4") + "}", "abc"));
  put("safetensors/refused-backwards", file("{" + one("a", "0", "0,0") + "," + one("b", "1", "1,0") + "}", ""));
  put("safetensors/refused-huge", file("{" + one("a", "9223372036854775807,9223372036854775807", "0,1") + "}", "a"));
  put("safetensors/refused-negative", file("{" + one("a", "-1", "0,1") + "}", "a"));
  put("safetensors/refused-twice", file("{" + one("a", "1", "0,1") + "," + one("a", "1", "1,2") + "}", "ab"));
  put("safetensors/refused-nested", file("{\"a\":" + repeated("[", 3000), ""));
  put("safetensors/refused-objects", file(repeated("{\"a\":", 1000), ""));
  put("safetensors/refused-utf8", file("{" + one("\xFF", "1", "0,1") + "}", "a"));
  put("safetensors/refused-more", file("{} {}", ""));
}

void published() {
  const Bert<> bert(Random(0),
                    {.vocabulary = 3, .width = 2, .depth = 1, .heads = 1, .hidden = 1, .positions = 2, .types = 1});
  std::map<std::string, Array> weights;
  const detail::LeafList leaves = detail::leaves_of(bert);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const detail::PublishedPlace place = detail::published_place(leaves.names()[i], bert_names());
    Shape shape = leaves[i].as<float>().shape();
    shape[0] /= static_cast<Index>(place.names.size());
    for (const std::string& part : place.names)
      weights.emplace(part, array<float>(std::vector<float>(static_cast<std::size_t>(shape.count())), shape));
  }
  const std::string model = name("published/read-model"),
                    config =
                        R"({"hidden_act": "gelu", "vocab_size": 3, "hidden_size": 2,
"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 1, "max_position_embeddings": 2,
"type_vocab_size": 1, "hidden_dropout_prob": 0.1, "layer_norm_eps": 1e-12})";
  write_safetensors(model, weights);
  const std::string bytes = bytes_of("published/read-model");
  const auto with = [&](const std::string& from, const std::string& to) {
    return replaced(config, from, to) + '\0' + bytes;
  };
  put("published/read-model", config + '\0' + bytes);
  put("published/read-config", config);
  put("published/refused-vocabulary", with("\"vocab_size\": 3", "\"vocab_size\": 1073741824"));
  put("published/refused-depth", with("\"num_hidden_layers\": 1", "\"num_hidden_layers\": 1073741824"));
  put("published/refused-size", replaced(config, "\"hidden_size\": 2", "\"hidden_size\": 1e400"));
  put("published/refused-heads", replaced(config, "\"num_attention_heads\": 1", "\"num_attention_heads\": 3"));
  put("published/refused-dropout", replaced(config, "0.1", "1.5"));
  put("published/refused-eps", replaced(config, "1e-12", "-1e308"));
  put("published/refused-nested", repeated("{\"a\":[", 500));
  put("published/refused-utf8", replaced(config, "gelu", "\xC0\x80"));
  put("published/refused-empty", "");
}

void checkpoint() {
  Linear<> layer(3, 2, Random(1));
  save_checkpoint(name("checkpoint/read-whole"), layer,
                  {{"round", std::int64_t{7}}, {"seed", std::uint64_t{8}}, {"best", 0.5}, {"note", "a note"}});
  const std::map<std::string, Array> arrays = read_npz(name("checkpoint/read-whole")).arrays;
  const auto refused = refused_of("checkpoint", arrays);
  refused("version", "@version", array<std::int64_t>({std::numeric_limits<std::int64_t>::max()}, {}));
  refused("no-version", "@version", list<std::int64_t>({}));
  refused("frozen", "@frozen", array<float>({}, {0, 2}));
  refused("metadata", "@meta/round", list<std::int64_t>({1, 2}));
  refused("type", "weight", array<double>(std::vector<double>(6), {2, 3}));
  refused("shape", "weight", array<float>(std::vector<float>(6), {3, 2}));
  refused("more", "weight\n", array<float>({1}, {}));
}

void wordpiece() {
  const std::string specials = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", zero(1, '\0');
  put("wordpiece/read-text",
      "ab, abba [MASK] \xC3\x89 e\xCC\x81 1\xE6\xBC\xA2\xF0\x9F\x98\x80\xEF\xBF\xBD\xE2\x80\x8B.");
  put("wordpiece/read-long", repeated("ab", 200) + " " + repeated("[MASK]", 20));
  put("wordpiece/read-accents", "a" + repeated("\xCC\x81", 200));
  put("wordpiece/read-vocabulary", specials + "##\n\n##a\r\na\n" + zero + "aaaa a\t\xC2\xA0");
  put("wordpiece/refused-twice", specials + "a\na\n" + zero + "a");
  put("wordpiece/refused-missing", "[PAD]\n[UNK]\n" + zero + "a");
  put("wordpiece/refused-empty", zero);
  put("wordpiece/refused-cut", "a\xF0\x9F\x98");
  put("wordpiece/refused-surrogate", "\xED\xA0\x80");
  put("wordpiece/refused-overlong", "\xC0\x80");
  put("wordpiece/refused-beyond", "\xF4\x90\x80\x80");
}

void node_labels() {
  using I = std::int64_t;
  using B = std::uint8_t;
  const std::map<std::string, Array> arrays = {{"edge_index", array<I>({0, 1, 1, 2, 1, 0, 2, 1}, {2, 4})},
                                               {"feature_indptr", list<I>({0, 1, 1, 2})},
                                               {"feature_indices", list<I>({1, 0})},
                                               {"feature_values", list<float>({1, 2})},
                                               {"feature_shape", list<I>({3, 2})},
                                               {"y", list<I>({1, 0, 2})},
                                               {"train_mask", list<B>({1, 0, 0})},
                                               {"val_mask", list<B>({0, 1, 0})},
                                               {"test_mask", list<B>({0, 0, 1})}};
  write_npz(name("node_labels/read-whole"), arrays);
  const auto refused = refused_of("node_labels", arrays);
  constexpr I highest = std::numeric_limits<I>::max(), lowest = std::numeric_limits<I>::min();
  refused("nodes", "feature_shape", list<I>({1 << 30, 2}));
  refused("most-nodes", "feature_shape", list<I>({highest, 2}));
  refused("width", "feature_shape", list<I>({3, 1 << 30}));
  refused("most-width", "feature_shape", list<I>({3, highest}));
  refused("edge", "edge_index", array<I>({0, highest, lowest, 1}, {2, 2}));
  refused("column", "feature_indices", list<I>({lowest, 0}));
  refused("offsets", "feature_indptr", list<I>({0, highest, lowest, 2}));
  refused("label", "y", list<I>({0, highest, 1}));
  refused("mask", "val_mask", list<B>({1, 0, 0}));
  refused("labelled", "labelled", list<B>({0, 1, 1}));
  refused("values", "feature_values", list<float>({1, NAN}));
}

void graph_labels() {
  using I = std::int64_t;
  const std::map<std::string, Array> arrays = {{"edge_index", array<I>({0, 1, 1, 0}, {2, 2})},
                                               {"graph_id", list<I>({0, 0, 1, 2})},
                                               {"node_label", list<I>({0, 1, 1, 0})},
                                               {"graph_label", list<I>({1, 0, 1})},
                                               {"fold", list<I>({0, -1, 1})}};
  write_npz(name("graph_labels/read-whole"), arrays);
  const auto refused = refused_of("graph_labels", arrays);
  constexpr I highest = std::numeric_limits<I>::max(), lowest = std::numeric_limits<I>::min();
  refused("edge", "edge_index", array<I>({0, highest, lowest, 1}, {2, 2}));
  refused("two-graphs", "edge_index", array<I>({0, 2}, {2, 1}));
  refused("owner", "graph_id", list<I>({0, 0, 2, 2}));
  refused("fewer-graphs", "graph_id", list<I>({0, 0, 1, 1}));
  refused("kind", "node_label", list<I>({0, highest, 1, 0}));
  refused("label", "graph_label", list<I>({1, lowest, 1}));
  refused("fold", "fold", list<I>({0, highest, 1}));
  refused("one-fold", "fold", list<I>({0, 0, 0}));
  refused("no-fold", "fold", list<I>({}));
}

void attributed_items() {
  using I = std::int64_t;
  const std::map<std::string, Array> arrays = {{"x", array<float>({1, 0, 2, 4, 0, 3, 1, 1}, {4, 2})},
                                               {"y", list<I>({1, 0, 0, 1})}};
  write_npz(name("attributed_items/read-whole"), arrays);
  const auto refused = refused_of("attributed_items", arrays);
  constexpr I highest = std::numeric_limits<I>::max(), lowest = std::numeric_limits<I>::min();
  refused("label", "y", list<I>({1, 0, 0, highest}));
  refused("negative-label", "y", list<I>({1, 0, 0, lowest}));
  refused("one-of-a-class", "y", list<I>({1, 0, 0, 0}));
  refused("no-items", "x", array<float>({}, {0, 2}));
  refused("no-attributes", "x", array<float>({}, {4, 0}));
  refused("number", "x", array<float>({1, 0, 2, 4, 0, 3, NAN, 1}, {4, 2}));
  refused("negative", "x", array<float>({1, 0, 2, 4, 0, 3, -1, 1}, {4, 2}));
}

void characters() {
  using I = std::int64_t;
  const std::map<std::string, Array> arrays = {
      {"images", array<std::uint8_t>(std::vector<std::uint8_t>(12, 9), {3, 2, 2})},
      {"character_id", list<I>({0, 1, 1})},
      {"alphabet_id", list<I>({1, 0, 0})},
      {"drawer_id", list<I>({0, 0, 1})},
      {"character_alphabet", list<I>({1, 0})},
      {"vinyals_split", list<I>({0, 1})}};
  write_npz(name("characters/read-whole"), arrays);
  const auto refused = refused_of("characters", arrays);
  constexpr I highest = std::numeric_limits<I>::max(), lowest = std::numeric_limits<I>::min();
  refused("character", "character_id", list<I>({0, 1, highest}));
  refused("no-image", "character_id", list<I>({1, 1, 1}));
  refused("alphabet", "character_alphabet", list<I>({highest, 0}));
  refused("other-alphabet", "alphabet_id", list<I>({1, 0, 1}));
  refused("drawer", "drawer_id", list<I>({0, lowest, 1}));
  refused("split", "vinyals_split", list<I>({0, 3}));
  refused("no-pixels", "images", array<std::uint8_t>({}, {3, I{1} << 62, 0}));
  refused("no-characters", "character_alphabet", list<I>({}));
}

void digits() {
  const std::map<std::string, Array> arrays = {
      {"images", array<std::uint8_t>(std::vector<std::uint8_t>(12, 16), {3, 2, 2})},
      {"labels", list<std::uint8_t>({9, 0, 0})}};
  write_npz(name("digits/read-whole"), arrays);
  const auto refused = refused_of("digits", arrays);
  write_npz(name("digits/read-parts"), {{"train_images", arrays.at("images")},
                                        {"train_labels", arrays.at("labels")},
                                        {"test_images", arrays.at("images")},
                                        {"test_labels", arrays.at("labels")}});
  refused("label", "labels", list<std::uint8_t>({9, 10, 0}));
  refused("labels", "labels", list<std::uint8_t>({9, 0}));
  refused("no-ink", "images", array<std::uint8_t>(std::vector<std::uint8_t>(12), {3, 2, 2}));
  refused("no-images", "images", array<std::uint8_t>({}, {0, std::int64_t{1} << 40, std::int64_t{1} << 40}));
  refused("type", "images", array<float>(std::vector<float>(12, 1), {3, 2, 2}));
}

void runs() {
  using I = std::int64_t;
  const Array images = array<std::uint8_t>(std::vector<std::uint8_t>(8, 100), {1, 2, 2, 2});
  const std::map<std::string, Array> arrays = {
      {"support", images}, {"query", images}, {"answers", array<I>({1, 0}, {1, 2})}};
  write_npz(name("runs/read-whole"), arrays);
  const auto refused = refused_of("runs", arrays);
  refused("answer", "answers", array<I>({1, 2}, {1, 2}));
  refused("fewer-answers", "answers", array<I>({1}, {1, 1}));
  refused("no-square", "support", array<std::uint8_t>(std::vector<std::uint8_t>(8), {1, 2, 4, 1}));
  refused("ink", "query", array<std::uint8_t>(std::vector<std::uint8_t>(8, 255), {1, 2, 2, 2}));
  refused("none", "support", array<std::uint8_t>({}, {0, 2, 2, 2}));
}

void few_shot_vectors() {
  using I = std::int64_t;
  const std::map<std::string, Array> arrays = {{"x", array<float>(std::vector<float>(14, 1), {7, 2})},
                                               {"y", list<I>({0, 1, 2, 3, 4, 5, 0})}};
  write_npz(name("few_shot_vectors/read-whole"), arrays);
  const auto refused = refused_of("few_shot_vectors", arrays);
  constexpr I highest = std::numeric_limits<I>::max(), lowest = std::numeric_limits<I>::min();
  refused("label", "y", list<I>({0, 1, 2, 3, 4, 5, highest}));
  refused("large-label", "y", list<I>({0, 1, 2, 3, 4, 5, I{1} << 40}));
  refused("negative-label", "y", list<I>({0, 1, 2, 3, 4, 5, lowest}));
  refused("five-classes", "y", list<I>({0, 1, 2, 3, 4, 4, 0}));
  refused("labels", "y", list<I>({0, 1, 2, 3, 4, 5}));
  refused("number", "x", array<float>({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, INFINITY}, {7, 2}));
  refused("images", "x", array<float>(std::vector<float>(28, 1), {7, 2, 2}));
}

void multilabel_items() {
  using I = std::int64_t;
  const std::map<std::string, Array> arrays = {{"x_train", array<float>({1, 5, 3, 5, 8, 5}, {3, 2})},
                                               {"y_train", array<I>({0, 1, 1, 0, 1, 1}, {3, 2})},
                                               {"x_test", array<float>({2, 6}, {1, 2})},
                                               {"y_test", array<I>({1, 1}, {1, 2})}};
  write_npz(name("multilabel_items/read-whole"), arrays);
  const auto refused = refused_of("multilabel_items", arrays);
  refused("label", "y_test", array<I>({1, -1}, {1, 2}));
  refused("number", "x_train", array<float>({1, 5, 3, NAN, 8, 5}, {3, 2}));
  refused("test-number", "x_test", array<float>({2, INFINITY}, {1, 2}));
  refused("width", "x_test", array<float>({2}, {1, 1}));
  refused("kinds", "y_test", array<I>({2}, {1, 1}));
  refused("no-items", "x_train", array<float>({}, {0, 2}));
}

void labelled_text() {
  put("labelled_text/read-whole", "1\tone, two\n0\t\n2\tThree\xC3\xA9\r\n1\tx\ty");
  put("labelled_text/read-highest", "999999\ta\n");
  put("labelled_text/refused-empty", "");
  put("labelled_text/refused-no-tab", "1\ta\n2\n");
  put("labelled_text/refused-no-number", "\ta\n");
  put("labelled_text/refused-long-number", "1000000\ta\n");
  put("labelled_text/refused-negative", "-1\ta\n");
  put("labelled_text/refused-empty-line", "1\ta\n\n2\tb\n");
}

void csv() {
  put("csv/read-whole", "1, 2.5e1,-3\r\n\n +4 ,\t5,6\n");
  put("csv/read-names", "width,height\n1,2");
  put("csv/refused-empty", "");
  put("csv/refused-names", "width,height\n");
  put("csv/refused-row", "1,2\n3\n");
  put("csv/refused-no-number", "1,2\n3,x\n");
  put("csv/refused-cell", "1,2\n3,\n");
  put("csv/refused-not-finite", "1,nan\n");
  put("csv/refused-overflow", "1,1e999\n");
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  folder = words[1];
  for (const auto& corpus :
       {npy, npz, safetensors, published, checkpoint, wordpiece, node_labels, graph_labels, attributed_items,
        characters, digits, runs, few_shot_vectors, multilabel_items, labelled_text, csv})
    corpus();
}
