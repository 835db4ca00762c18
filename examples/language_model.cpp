// A language model of characters, of the GPT kind (Radford et al. 2018, 2019), and text that it writes. The last tenth
// of the text is for validation: every character there is foretold once, from those before it in its window.

#include "graft/data/text.hpp"
#include "graft/evaluate/record.hpp"
#include "graft/graft.hpp"
#include "graft/io/npz.hpp"
#include "graft/nn/generate.hpp"
#include "graft/train/train.hpp"
#include "program.hpp"

using namespace graft;

struct Settings {
  std::string text;
  Index steps = 0, batch = 16, time = 128, width = 128, depth = 5, heads = 4, written = 400;
  double rate = 3e-3, temperature = 0.8;
};

/// Mean loss in nats a character; tokens [windows, time + 1].
Tensor<> loss_of(const Gpt<>& net, const Tensor<std::int64_t>& windows, ContextRef context) {
  const Index count = windows.size(0), time = windows.size(1) - 1;
  const Tensor<> scores = net(slice(windows, 1, 0, time), context);
  return cross_entropy(reshape(scores, {count * time, scores.size(2)}),
                       reshape(slice(windows, 1, 1, time + 1), {count * time}));
}

/// A text that begins with `start`. A model knows windows of one length, so it goes on from the last half of one.
Tensor<std::int64_t> written(const Gpt<>& net, const Tensor<std::int64_t>& start, const Settings& o,
                             const Random& root) {
  Tensor<std::int64_t> text = reshape(start, {1, start.count()});
  while (text.size(1) < o.written) {
    const Index seen = std::min(text.size(1), o.time / 2), known = text.size(1) - seen;
    const GenerateOptions how{.tokens = std::min(o.time - seen, o.written - text.size(1)),
                              .sampling = {.temperature = o.temperature}};
    const auto next = generate_tokens(net, slice(text, 1, known, known + seen), root.stream("written", known), how);
    text = concat(std::vector{slice(text, 1, 0, known), next}, 1);
  }
  return text;
}

void language_model(examples::Program& program, Settings& o) {
  if (o.steps == 0) o.steps = program.full() ? 3000 : 60;
  const Random root(program.seed);
  const auto [text, entropy] =
      o.text.empty() ? make_sentences(4000, root.stream("text")) : SentenceText{InputFile(o.text).read_text(), 0};
  const CharacterVocabulary vocabulary(text);
  const Tensor<std::int64_t> tokens = vocabulary.encode(text);
  const Index trained_on = tokens.count() * 9 / 10;
  if (tokens.count() - trained_on <= o.time) fail_file(o.text, "is too short a text for windows of this length");
  const Tensor<std::int64_t> training = slice(tokens, 0, 0, trained_on);
  const Tensor<std::int64_t> validation = consecutive_windows(slice(tokens, 0, trained_on, tokens.count()), o.time + 1);

  GptOptions sizes{.vocabulary = vocabulary.size(),
                   .width = o.width,
                   .depth = o.depth,
                   .heads = o.heads,
                   .longest = o.time,
                   .positions = Positions::rotary};
  sizes.layer.dropout = 0;
  const Gpt<> start(root.stream("initialisation"), sizes);
  Identity identity = program.identity();
  identity.add("text", fingerprint(text));
  const Checkpoints checkpoints = program.open_checkpoints(identity, {"gpt"});
  const Schedule rate =
      Schedule::warm_up(std::max<Index>(o.steps / 20, 1), Schedule::cosine(o.rate, o.steps, o.rate / 10));
  const auto step = [&](auto& state, Index number) -> StepReport {
    const auto windows = draw_windows(training, o.batch, o.time + 1, root.stream("batch", number));
    Context context(Phase::training, root.stream("dropout", number));
    const auto [loss, gradient] =
        value_and_grad([&](const Gpt<>& net) { return loss_of(net, windows, context); }, state.model);
    const Index characters = o.batch * o.time;
    if (!std::isfinite(norm(gradient).item())) return {.items = 0, .dropped = characters};
    state.optimizer.step(state.model, clip_by_norm(gradient, 1), rate(number));
    return {loss.item(), std::exp(double(loss.item())), characters};
  };
  const auto validate = [&](const Gpt<>& net) {
    double sum = 0;
    for (Index first = 0; first < validation.size(0); first += o.batch) {
      if (stop_requested(program.stop())) throw Stopped("graft: stopped during validation");
      const Index end = std::min(first + o.batch, validation.size(0));
      sum += double(end - first) * loss_of(net, slice(validation, 0, first, end), Context()).item();
    }
    return -sum / double(validation.size(0));
  };
  const TrainOptions options{.name = "gpt",
                             .steps = o.steps,
                             .quiet = program.quiet,
                             .words = {"step", "characters", "perplexity"},
                             .stop = program.stop()};
  const auto trained = train(ModelState<Gpt<>, AdamW<Gpt<>>>{start, AdamW(start, {.weight_decay = 0.1})}, step,
                             validate, options, checkpoints);
  const double loss = -trained.history.back(), speed = double(trained.items) / trained.seconds;
  std::printf("\n%d parameters, %d steps: validation loss %.4f nats a character (perplexity %.3f), %.0f characters/s\n",
              int(count(start)), int(o.steps), loss, std::exp(loss), speed);
  if (o.text.empty()) std::printf("The source's entropy, which no model beats on average: %.4f\n", entropy);
  std::printf("\n%s\n", vocabulary.decode(written(trained.model, slice(tokens, 0, 0, 1), o, root)).c_str());
  program.record.add({"gpt", "loss", loss, 0, 1, trained.seconds});
  program.record.add({"gpt", "perplexity", std::exp(loss), 0, 1, trained.seconds});
}

int main(int argc, char** argv) {
  examples::Program program("language_model", "A GPT of characters: validation loss, and text that it writes.");
  Settings o;
  program.file("--data", o.text, "UTF-8 text; default: sentences drawn from a grammar");
  program.whole("--steps", o.steps, "steps of training", 1).shown = "60; full 3000";
  program.whole("--batch", o.batch, "windows a step", 1);
  program.whole("--time", o.time, "characters of a window", 2);
  program.whole("--width", o.width, "width of the model", 2);
  program.whole("--depth", o.depth, "blocks", 1);
  program.whole("--heads", o.heads, "heads of attention", 1);
  program.real("--rate", o.rate, "highest rate of AdamW", 1e-9, 10);
  program.whole("--write", o.written, "characters to write", 1).in_identity = false;
  program.real("--temperature", o.temperature, "of the drawing of characters, 0 for the likeliest", 0, 100)
      .in_identity = false;
  program.checkpoints();
  return program.run(argc, argv, [&] { language_model(program, o); });
}
