// Vectors of sentences by a published encoder (Reimers, Gurevych, "Sentence-BERT", EMNLP 2019): which sentences mean the
// same, and how many are encoded a second.

#include <algorithm>
#include <numeric>

#include "graft/graft.hpp"
#include "graft/io/published.hpp"
#include "graft/io/wordpiece.hpp"
#include "program.hpp"

using namespace graft;

const std::vector<std::string> kSentences = {
    "A man is playing a guitar on the stage.",      "Someone performs music with an instrument.",
    "The stock market fell sharply on Monday.",     "Shares lost much of their value this week.",
    "The cat sleeps on the warm windowsill.",       "A kitten naps in the sun by the window.",
    "How do I reset the password of my account?",   "I forgot my login and need a new one.",
    "Graph attention weighs the edges of a graph.", "Water boils at one hundred degrees Celsius."};

struct Settings {
  std::string model = "all-MiniLM-L6-v2", text, vectors;
  Index batch = 32, longest = 256, repeat = 1;
};

void encode(examples::Program& program, const Settings& o) {
  const WordPiece words(o.model + "/vocab.txt");
  const Bert<> bert = load_bert(o.model);
  const std::vector<std::string> texts = o.text.empty() ? kSentences : read_lines(o.text);
  if (texts.empty()) fail_file(o.text, "holds no line of text");
  const auto count = static_cast<Index>(texts.size());
  // Sentences of about one length go together: a batch is as long as its longest.
  List<Index> order(count);
  std::iota(order.begin(), order.end(), Index{0});
  const auto length = [&](Index i) { return texts[i].size(); };
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return length(a) > length(b); });

  std::vector<Tensor<>> parts;
  Index truncated = 0;
  const double start = program.record.seconds();
  for (Index turn = 0; turn < o.repeat; ++turn) {
    parts.clear();
    truncated = 0;
    for (Index first = 0; first < count; first += o.batch) {
      if (stop_requested(program.stop())) throw Stopped("stopped while sentences were encoded");
      std::vector<std::string> batch;
      for (Index i = first; i < std::min(count, first + o.batch); ++i) batch.push_back(texts[order[i]]);
      const TokenBatch tokens = words.encode(batch, o.longest);
      truncated += tokens.truncated;
      parts.push_back(sentence_vectors(bert(tokens.ids, tokens.mask, Context()), tokens.mask));
    }
  }
  const double seconds = program.record.seconds() - start, rate = static_cast<double>(count * o.repeat) / seconds;
  List<std::int64_t> place(count);  // of each sentence among the sorted ones
  for (Index i = 0; i < count; ++i) place[order[i]] = i;
  const Tensor<> vectors = gather(concat(parts, 0), generate({count}, [&](Index i) { return place[i]; }));
  if (!o.vectors.empty()) write_npy(o.vectors, make_array(host(vectors), vectors.shape()));

  const Tensor<> products = matmul(vectors, vectors, {.transpose_b = true});
  const std::span<const float> cosines = host(products);
  std::printf("%d sentences, vectors of %d numbers, %.0f sentences a second%s\n\n", int(count), int(vectors.size(1)),
              rate, truncated > 0 ? (", " + std::to_string(truncated) + " cut at the longest length").c_str() : "");
  for (Index i = 0; i < std::min(count, Index{20}) && count > 1; ++i) {
    const auto cosine = [&](Index j) { return cosines[i * count + j]; };
    Index nearest = i == 0;
    for (Index j = 0; j < count; ++j)
      if (j != i && cosine(j) > cosine(nearest)) nearest = j;
    std::printf("%6.3f  %s\n        %s\n", double(cosine(nearest)), texts[i].c_str(), texts[nearest].c_str());
  }
  program.record.add({"sentence encoder", "sentences_per_second", rate, 0, count * o.repeat, seconds});
}

int main(int argc, char** argv) {
  examples::Program program("sentence_encoder", "Vectors of sentences by a published encoder of the BERT kind.");
  Settings o;
  program.file("--model", o.model, "folder with config.json, model.safetensors and vocab.txt");
  program.file("--text", o.text, "sentences, one a line; default: ten of the program's own");
  program.file("--vectors", o.vectors, "npy file for the vectors");
  program.whole("--batch", o.batch, "sentences encoded together", 1);
  program.whole("--longest", o.longest, "tokens that a sentence is cut at", 2, 512);
  program.whole("--repeat", o.repeat, "how often all is encoded, for the rate", 1);
  return program.run(argc, argv, [&] { encode(program, o); });
}
