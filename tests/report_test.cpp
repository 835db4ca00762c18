// Pages about a run: what they say is what was measured, whatever names hold. tests/report_cli.py looks at them in a
// browser. Tagged [evaluate].

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/protocol/report.hpp"

using namespace graft;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

Index count_of(const std::string& text, const std::string& part) {
  Index count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}
bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
/// The cells of the row that a name begins.
std::vector<std::string> row_of(const std::string& page, const std::string& name, std::size_t from = 0) {
  const std::string begin = "<tr><th scope=\"row\">" + name + "</th>";
  const std::size_t at = page.find(begin, from) + begin.size(), end = page.find("</tr>", at);
  std::vector<std::string> cells;
  for (std::size_t cell = page.find("<td>", at); cell < end; cell = page.find("<td>", cell + 1))
    cells.push_back(page.substr(cell + 4, page.find("</td>", cell) - cell - 4));
  return cells;
}

/// Rounds of `tasks` tasks, two in each: neighbours' gradients agree, others are against each other.
TaskMeter some_meter(Index tasks, bool listens, Index rounds) {
  TaskMeter meter(tasks, listens, {.every = 1});
  for (Index r = 0; r < rounds; ++r) {
    const Index one = r % tasks, other = (one + 1 + (r / tasks) % (tasks - 1)) % tasks;
    const double x = static_cast<double>(r), cosine = std::abs(one - other) == 1 ? 0.8 : -0.3;
    MeterRound round{
        r, {{one, 3 / (1 + 0.05 * x), 1 - 1 / (2 + 0.1 * x)}, {other, 2 / (1 + 0.02 * x), 0.9}}, {}, {}, {}};
    round.gramian = from_vector(std::vector<double>{1, 2 * cosine, 2 * cosine, 4}, {2, 2});
    round.seconds = {.work = 0.8, .aggregate = 0.15, .step = 0.04, .all = 1};
    if (r % 7 == 3) round.failed = {(one + 2) % tasks};
    if (listens)
      for (MeterTask& task : round.tasks)
        task.attention = generate({tasks}, [&](Index j) {
          return j == task.task ? 0.0 : (j == (task.task + 1) % tasks ? 0.5 : 0.5 / static_cast<double>(tasks - 2));
        });
    meter.add(round);
  }
  return meter;
}

/// Takes every query for the first class.
struct FirstClass {
  Tensor<> weights = ones<float>({7});
  GRAFT_FIELDS(weights)
  Tensor<> operator()(const Episode<>& episode, Context&) const {
    const Index ways = episode.ways;
    return generate({episode.query.y.size(0), ways}, [](Index, Index c) { return c == 0 ? 1.0f : 0.0f; });
  }
};

/// Learners with four episodes, of tasks 0, 0, 1, 1.
std::vector<ReportedLearner> some_learners() {
  ReportedLearner base{{"base", {{0.5, 0.5, 0.8, 0.8}}, 10, 500, 0}, {{0.7, 0.65, 0.6, 60}}, 1000};
  ReportedLearner joint{{"joint", {{0.6, 0.6, 0.6, 0.6}}, 20, 500, 7}, {{0.61, 0.6, 0.59, 60}}, 2000};
  ReportedLearner better{{"better", {{0.7, 0.7, 0.9, 0.9}}, 0, 500, 0}, {}, 10};
  return {{{"untrained", {{0.1, 0.1, 0.1, 0.1}}}}, base, joint, better};
}

}  // namespace

TEST_CASE("a page holds what it was given, in its order, as text", "[evaluate]") {
  HtmlReport page("A <b> & \"c\"");
  page.paragraph("first\nof all\x01");
  page.section("One <i>").table("caption & more", {"name", "<x>"}, {{"a\tb", "1 < 2"}, {"é", ""}});
  page.values({{"--option", "<script>alert(1)</script>"}, {"none", ""}}).listing("output", "a\n  b < c\n");
  page.section("Two");
  const std::string text = page.text();
  CHECK(holds(text, "<h1>A &lt;b&gt; &amp; &quot;c&quot;</h1>\n<p>first of all\xEF\xBF\xBD</p>"));
  CHECK(holds(text, "<h2 id=\"section-1\">One &lt;i&gt;</h2>"));
  CHECK(holds(text, "<a href=\"#section-1\">One &lt;i&gt;</a>"));
  CHECK(holds(text, "<caption><span>caption &amp; more</span></caption>"));
  CHECK(
      holds(text, "<tr><th scope=\"row\">a b</th><td>1 &lt; 2</td></tr>\n<tr><th scope=\"row\">é</th><td></td></tr>"));
  CHECK(holds(text, "<dt>--option</dt><dd>&lt;script&gt;alert(1)&lt;/script&gt;</dd>"));
  CHECK(holds(text, "<dt>none</dt><dd>–</dd>"));
  CHECK(holds(text, "<pre>a\n  b &lt; c\n</pre>"));
  CHECK_FALSE(holds(text, "<script"));
  CHECK(text.find("One") < text.find("Two"));
  CHECK(page.text() == text);
  CHECK_FALSE(holds(HtmlReport("alone").section("one").text(), "<nav"));  // nothing to choose from
}

TEST_CASE("pictures of a page stand in groups, each with a name", "[evaluate]") {
  Svg named(10, 10, "a title"), nameless(10, 10, ""), wide(600, 10, "a title");
  HtmlReport page("pictures");
  page.section("s").picture(named, "one").picture(nameless, "t\"wo").paragraph("p").picture(wide, "three");
  const std::string text = page.text();
  CHECK(count_of(text, "<div class=\"figures\">") == 2);
  CHECK(count_of(text, "<title>a title</title>") == 2);
  CHECK(count_of(text, " aria-label=\"t&quot;wo\" xmlns") == 1);
  CHECK(count_of(text, "<div") == count_of(text, "</div>"));
  CHECK(count_of(text, "<figure class=\"wide\">\n<div class=\"scroll\" role=\"region\" aria-label=\"three\"") == 1);
}

TEST_CASE("a page takes in another", "[evaluate]") {
  Svg svg(10, 10, "t");
  HtmlReport one("one"), two("two");
  one.section("a").picture(svg, "p");
  two.paragraph("between").section("b").picture(svg, "q").picture(svg, "r");
  one.add(two).section("c").add(HtmlReport("nothing"));
  HtmlReport same("one");
  same.section("a").picture(svg, "p").paragraph("between").section("b").picture(svg, "q").picture(svg, "r").section(
      "c");
  CHECK(one.text() == same.text());
}

TEST_CASE("tables that are none are refused", "[evaluate]") {
  HtmlReport page("p");
  const std::string before = page.text();
  CHECK_THROWS_AS(page.table("t", {}, {}), ValueError);
  CHECK_THROWS_AS(page.table("t", {"a", "b"}, {{"1", "2"}, {"3"}}), ValueError);
  CHECK(page.text() == before);
  CHECK_THROWS_AS(page.write("/no/such/folder/page.html"), FileError);
}

TEST_CASE("a page is written as it reads", "[evaluate]") {
  const Folder folder;
  HtmlReport page("p");
  page.section("s").paragraph("text").write(folder / "page.html");
  CHECK(bytes_of(folder / "page.html") == page.text());
}

TEST_CASE("intervals stand where they belong", "[evaluate]") {
  const std::vector<std::pair<std::string, Interval>> rows{{"a", {0.02, 0.01, 5, 0}}, {"b", {-0.01, 0.03, 5, 0}}};
  const std::string text = interval_picture(rows, {.zero = true, .scale = 100}).text();
  std::vector<double> dots, lines;
  for (std::size_t at = text.find("cx=\""); at != std::string::npos; at = text.find("cx=\"", at + 1))
    dots.push_back(std::strtod(text.c_str() + at + 4, nullptr));
  REQUIRE(dots.size() == 2);
  // From -4 to 3 the axis has ticks at -4, -2, 0, 2, 4: a unit is an eighth of it.
  CHECK(holds(text, ">-4</text>"));
  CHECK(holds(text, ">4</text>"));
  for (std::size_t at = text.find("\"M"); at != std::string::npos; at = text.find("\"M", at + 1))
    lines.push_back(std::strtod(text.c_str() + at + 2, nullptr));
  REQUIRE(lines.size() == 5 + 1 + 2);  // ticks, the zero, intervals
  const double unit = (lines[4] - lines[0]) / 8, zero = lines[5];
  CHECK(zero == lines[2]);
  CHECK(dots[0] == Approx(zero + 2 * unit).margin(0.1));
  CHECK(dots[1] == Approx(zero - unit).margin(0.1));
  CHECK(lines[6] == Approx(zero + unit).margin(0.1));
  CHECK(lines[7] == Approx(zero - 4 * unit).margin(0.1));
  const auto draw = [](std::string name, Interval interval, double width = 700) {
    return interval_picture(std::vector<std::pair<std::string, Interval>>{{std::move(name), interval}},
                            {.width = width});
  };
  CHECK_NOTHROW(draw("one value", {1, 0, 1, 0}));
  CHECK_THROWS_AS(interval_picture(std::vector<std::pair<std::string, Interval>>{}), ValueError);
  CHECK_THROWS_AS(draw("x", {kNan, 0, 1, 0}), ValueError);
  CHECK_THROWS_AS(draw("x", {0, kInfinity, 1, 0}), ValueError);
  CHECK_THROWS_AS(draw(std::string(50, 'x'), {0, 1, 5, 0}, 300), ValueError);
}

TEST_CASE("a map about 0 is red below and blue above, gaps are grey", "[evaluate]") {
  const Tensor<double> values = tensor<double>({{-0.5, 0, kNan}, {1, 0.5, kNan}});
  const std::string text = map_picture(values, {.diverging = true, .gaps = true}).text();
  // By default from -1 to 1: the shares of the cells are 1/4, 1/2, 1, 3/4.
  for (const char* colour : {"#f4a582", "#f7f7f7", "#2166ac", "#92c5de", "#ddd"}) {
    INFO(colour);
    CHECK(count_of(text, std::string("<path fill=\"") + colour + "\"") == 1);
  }
  CHECK(holds(text, "<path fill=\"#ddd\" d=\"M2 0h1v1h-1zM2 1h1v1h-1z\"/>"));
  CHECK_THROWS_AS(map_picture(values), ValueError);
  CHECK_THROWS_AS(map_picture(tensor<double>({{kInfinity}}), {.gaps = true}), ValueError);
  CHECK_NOTHROW(map_picture(tensor<double>({{kNan}}), {.diverging = true, .gaps = true}));
  CHECK_NOTHROW(map_picture(tensor<double>({{0.0}}), {.diverging = true}));
  CHECK(diverging_colour(-1) == "#b2182b");  // ColorBrewer's ends and middle
  CHECK(diverging_colour(0.5) == "#f7f7f7");
  CHECK(diverging_colour(2) == "#2166ac");
  CHECK(diverging_colour(kNan) == "#b2182b");
}

TEST_CASE("a training's section has its tasks, and pictures of what was measured", "[evaluate]") {
  HtmlReport empty("e");
  add_training(empty, "none", TaskMeter(), {}, "accuracy");
  add_training(empty, "none", TaskMeter(3, false), {}, "accuracy");
  CHECK(empty.text() == HtmlReport("e").text());

  const std::vector<std::string> names{"a<", "b", "c"};
  const TaskMeter meter = some_meter(3, false, 60);
  HtmlReport page("p");
  add_training(page, "one", meter, names, "accuracy");
  const std::string text = page.text();
  const std::vector<std::string> row = row_of(text, "a&lt;");
  REQUIRE(row.size() == 6);
  CHECK(row[0] == std::to_string(meter.of_task(0).episodes));
  CHECK(row[1] == std::to_string(meter.of_task(0).failures));
  CHECK(row[2] == detail::fixed_digits(meter.of_task(0).loss, 4));
  CHECK(holds(text, "<title>one: loss</title>"));
  CHECK(holds(text, "<title>one: accuracy</title>"));
  CHECK(holds(text, "<title>one: conflict matrix over time</title>"));
  CHECK(holds(text, "<title>one: tasks whose gradients agree</title>"));
  CHECK_FALSE(holds(text, "listens to most"));
  CHECK_FALSE(holds(text, "of every task"));  // three curves show them
  CHECK(holds(text, "<dt>rounds</dt><dd>60</dd>"));
  CHECK(holds(text, "<dt>of them the tasks' work</dt><dd>80.00 %</dd>"));
  CHECK(holds(text, "<dt>the rest of the protocol</dt><dd>1.00 %</dd>"));

  HtmlReport of_many("m");
  add_training(of_many, "two", some_meter(12, true, 300), {}, "accuracy");
  CHECK(holds(of_many.text(), "7 of 12 tasks"));
  CHECK(holds(of_many.text(), "accuracy of every task"));
  CHECK(holds(of_many.text(), "<title>two: who listens to whom</title>"));
  CHECK(row_of(of_many.text(), "11").size() == 6);

  // Long names are cut in pictures, between letters, and whole in the table.
  const std::string long_name = "ééééééééééüüüü-ß-ääääää";  // 23 letters
  HtmlReport of_long("l");
  add_training(of_long, "long", some_meter(3, false, 60), {long_name, "b", "c"}, "accuracy");
  CHECK(row_of(of_long.text(), long_name).size() == 6);
  CHECK(holds(of_long.text(), ">éééééééééé…-ääääää</text>"));
  CHECK(is_utf8(of_long.text()));
  // With very many the table has the numbers that stand in the graph.
  HtmlReport of_numbers("n");
  add_training(of_numbers, "numbers", some_meter(50, false, 60), {"first", "second"}, "accuracy");
  CHECK(row_of(of_numbers.text(), "1: second").size() == 6);

  // One task, no metric, nothing compared.
  TaskMeter lone(1, false);
  lone.add({0, {{0, 1.0, kNan}}, {}, {}, {}});
  HtmlReport of_one("o");
  add_training(of_one, "three", lone, {}, "accuracy");
  CHECK(row_of(of_one.text(), "0") == std::vector<std::string>{"1", "0", "1.0000", "1.0000"});
  CHECK_FALSE(holds(of_one.text(), "accuracy"));
  CHECK_FALSE(holds(of_one.text(), "conflict"));
  // All tasks failed.
  TaskMeter failed(2, true);
  failed.add({0, {}, {0, 1}, {}, {}});
  HtmlReport of_none("n");
  add_training(of_none, "four", failed, {}, "accuracy");
  CHECK(row_of(of_none.text(), "1") == std::vector<std::string>{"0", "1", "–", "–"});
}

TEST_CASE("the graph of tasks has the strongest edges", "[evaluate]") {
  const Tensor<double> attention =
      tensor<double>({{0, 0.7, 0.2, 0.1}, {1, 0, 0, 0}, {kNan, kNan, kNan, kNan}, {0, 0, 1, 0}});
  const auto edges = [&](Index strongest, bool symmetric) {
    const std::string text = detail::task_graph(attention, {}, strongest, symmetric, "t", "w").text();
    return count_of(text, "Q");
  };
  CHECK(edges(1, false) == 3);  // 1 -> 0, 0 -> 1, 2 -> 3
  CHECK(edges(2, false) == 4);
  CHECK(edges(3, false) == 5);
  CHECK(edges(1, true) == 2);
}

TEST_CASE("names at the right end of a graph stand to the left of their nodes", "[evaluate]") {
  const Tensor<double> places = tensor<double>({{0.0, 0.0}, {1.0, 1.0}});
  const std::vector<std::string> names{"a name of some length", "another name as long"};
  const std::string text =
      graph_picture(Graph(2, std::vector<GraphEdge>{{0, 1}}), {.labels = names, .positions = places}).text();
  const auto element = [&](const std::string& content) {
    const std::size_t end = text.find(content), begin = text.rfind("<text", end);
    return text.substr(begin, end - begin);
  };
  CHECK_FALSE(holds(element(names[0]), "text-anchor"));
  CHECK(holds(element(names[1]), "text-anchor=\"end\""));
}

TEST_CASE("results say means, paired differences and what they mean", "[evaluate]") {
  HtmlReport page("p");
  add_results(page, {"kind"}, some_learners(), "base");
  const std::string text = page.text();
  // Student's t for four figures is 3.182; base: deviation 0.1732, half-width 27.56; joint minus base: 0.1, 0.1, -0.2,
  // -0.2, mean -0.05, the same width; better: 0.2, 0.2, 0.1, 0.1, mean 0.15, deviation 0.0577, half-width 9.19.
  CHECK(row_of(text, "base") == std::vector<std::string>{"65.00 ± 27.56", "–"});
  CHECK(row_of(text, "joint") == std::vector<std::string>{"60.00 ± 0.00", "-5.00 ± 27.56"});
  CHECK(row_of(text, "better") == std::vector<std::string>{"80.00 ± 18.37", "+15.00 ± 9.19"});
  CHECK(holds(text, "<p>kind. Better than base: better. Worse: untrained. Not to be told from it: joint.</p>"));
  CHECK(holds(text, "mean over 4 test episodes"));
  const std::size_t scores = text.find("Precision, recall and F1"), costs = text.find("Cost of training");
  CHECK(row_of(text, "base", scores) == std::vector<std::string>{"70.00", "65.00", "60.00"});
  CHECK(row_of(text, "joint", costs) == std::vector<std::string>{"2000", "20.0", "500", "7", "25.0"});
  CHECK(row_of(text, "better", costs).back() == "–");  // no seconds
  // The picture leaves out what was not trained.
  const std::string picture = text.substr(text.find("<title>kind: minus base"), 6000);
  CHECK(holds(picture.substr(0, picture.find("</svg>")), ">better</text>"));
  CHECK_FALSE(holds(picture.substr(0, picture.find("</svg>")), ">untrained</text>"));

  CHECK_THROWS_AS(add_results(page, {"kind"}, some_learners(), "other"), ValueError);
  CHECK_THROWS_AS(add_results(page, {"kind", "second"}, some_learners(), "base"), ValueError);
  CHECK_THROWS_AS(add_results(page, {}, some_learners(), "base"), ValueError);
  CHECK(page.text() == text);
}

TEST_CASE("a learner is tested on all kinds of a suite", "[evaluate]") {
  const ItemSet items = vector_items(zeros({12, 2}), generate({12}, [](Index i) -> std::int64_t { return i % 3; }));
  EpisodeSuite suite(2);
  for (std::uint64_t i = 0; i < 4; ++i) suite[i % 2].push_back(items.draw({0, 1, 2}, {2, 1, 3}, Random(i)));
  Trained<FirstClass> trained{};
  trained.items = 40;
  trained.dropped = 2;
  trained.seconds = 3;
  const ReportedLearner learner = test_learner("first", trained, items, suite, true);
  CHECK(learner.result.name == "first");
  CHECK(learner.result.figures == std::vector<std::vector<double>>{{0.5, 0.5}, {0.5, 0.5}});
  CHECK(learner.result.seconds == 3);
  CHECK(learner.result.items == 40);
  CHECK(learner.result.dropped == 2);
  CHECK(learner.parameters == 7);
  REQUIRE(learner.scores.size() == 2);
  // Of the first class half of what is taken for it is right, and all of it is found; of the second nothing.
  CHECK(learner.scores[1].precision == Approx(0.25));
  CHECK(learner.scores[1].recall == Approx(0.5));
  CHECK(learner.scores[1].f1 == Approx(1.0 / 3));
  CHECK(test_learner("first", trained, items, suite, false).scores.empty());
}

TEST_CASE("transfer is what a learner gains on the base by task", "[evaluate]") {
  HtmlReport page("p");
  add_transfer(page, {"first", "second", "empty"}, {0, 0, 1, 1}, 0, some_learners(), "base");
  const std::string text = page.text();
  const std::size_t transfer = text.find("Transfer against base"), by_task = text.find("by test task");
  // joint: 0.6 of 0.5 is a fifth more, 0.6 of 0.8 a quarter less: -2.5 % on average, one of two worse; the deviation of
  // two numbers 0.45 apart is 0.3182, t is 12.706: 285.89.
  CHECK(row_of(text, "joint", transfer) ==
        std::vector<std::string>{"-2.50 ± 285.89", "1 of 2", "+20.00 (first)", "-25.00 (second)"});
  CHECK(row_of(text, "better", transfer)[1] == "0 of 2");
  CHECK(row_of(text, "better", transfer)[2] == "+40.00 (first)");
  CHECK(row_of(text, "better", transfer)[3] == "–");
  CHECK(row_of(text, "untrained", transfer)[1] == "2 of 2");
  CHECK(row_of(text, "first", by_task) ==
        std::vector<std::string>{"2", "10.00 ± 0.00", "50.00 ± 0.00", "60.00 ± 0.00", "70.00 ± 0.00"});
  CHECK_FALSE(holds(text, ">empty<"));

  CHECK_THROWS_AS(add_transfer(page, {"first"}, {0, 0, 1, 1}, 0, some_learners(), "base"), IndexError);
  CHECK_THROWS_AS(add_transfer(page, {"first"}, {0, 0, 0}, 0, some_learners(), "base"), ValueError);
  CHECK_THROWS_AS(add_transfer(page, {"first"}, {0, 0, 0, 0}, 1, some_learners(), "base"), ValueError);
  CHECK_THROWS_AS(add_transfer(page, {"first"}, {0, 0, 0, 0}, 0, some_learners(), "other"), ValueError);
  CHECK(page.text() == text);
  // A base that gets nothing right has no relative difference.
  HtmlReport zero("z");
  add_transfer(zero, {"t"}, {0}, 0, {{{"base", {{0.0}}}}, {{"own", {{0.5}}}}}, "base");
  CHECK_FALSE(holds(zero.text(), "Transfer against"));
  CHECK(row_of(zero.text(), "t") == std::vector<std::string>{"1", "0.00", "50.00"});
}

// Not a test: a page with all that pages have, long names and awkward ones, for tests/report_cli.py.
TEST_CASE("a page of everything", "[.][page]") {
  const char* path = std::getenv("GRAFT_REPORT_PAGE");
  REQUIRE(path);
  HtmlReport page("Everything: <names> & \"quotes\", a_title_without_any_place_to_break_a_line_in_it_however_narrow");
  page.paragraph("A paragraph before the first section.");
  std::vector<std::string> names{"Japanese_(hiragana)", "Malay_(Jawi_-_Arabic)", "Mkhedruli_(Georgian)", "<script>",
                                 "é"};
  while (names.size() < 30) names.push_back("Alphabet_of_number_" + std::to_string(names.size()));
  add_results(page, {"kind"}, some_learners(), "base");
  add_transfer(page, {"first", "second"}, {0, 0, 1, 1}, 0, some_learners(), "base");
  add_training(page, "listener", some_meter(30, true, 500), names, "accuracy");
  add_training(page, "two tasks", some_meter(3, true, 20), {"digits", "nodes", "texts"}, "accuracy");
  add_training(page, "very many", some_meter(120, false, 500), names, "accuracy");
  page.section("Output").listing("as it was printed", "a line\n" + std::string(300, '-') + "\n");
  page.section("Configuration").values({{"--file", "/a/path" + std::string(200, 'x')}, {"--empty", ""}, {"--n", "3"}});
  page.write(path);
}
