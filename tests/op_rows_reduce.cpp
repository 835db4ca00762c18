// Rows for reductions other than sums: extremes, variance, norm, log-sum-exp, running sums, reductions over ragged
// segments.

#include <algorithm>
#include <cmath>

#include "graft/model/arithmetic.hpp"
#include "graft/ops/segment.hpp"
#include "graft/ops/statistics.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// f(numbers) of the numbers that share a place once the axes in `reduced` (all if empty) are taken out.
template <class F>
Tensor<double> by_group(const Tensor<double>& x, std::vector<int> reduced, bool keep, F f) {
  Shape kept = x.shape(), dropped;
  std::vector<bool> gone(x.rank(), reduced.empty());
  for (int axis : reduced) gone[(axis + x.rank()) % x.rank()] = true;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (gone[axis])
      kept[axis] = 1;
    else
      dropped.push_back(x.shape()[axis]);
  }
  std::vector<std::vector<double>> groups(kept.count());
  for (std::size_t i = 0; i < x.span().size(); ++i) groups[broadcast_offset(i, x.shape(), kept)].push_back(x.data()[i]);
  std::vector<double> out;
  for (const auto& group : groups) out.push_back(f(group));
  return array(keep ? kept : dropped, out);
}

using Group = std::vector<double>;
double highest(const Group& x) { return *std::max_element(x.begin(), x.end()); }
double lowest(const Group& x) { return *std::min_element(x.begin(), x.end()); }
double population_variance(const Group& x) {
  long double mean = 0, total = 0;
  for (double v : x) mean += v;
  mean /= static_cast<long double>(x.size());
  for (double v : x) total += (v - mean) * (v - mean);
  return static_cast<double>(total / static_cast<long double>(x.size()));
}
double sample_variance(const Group& x) {
  return population_variance(x) * static_cast<double>(x.size()) / static_cast<double>(x.size() - 1);
}
double length(const Group& x) {
  double total = 0;
  for (double v : x) total += v * v;
  return std::sqrt(total);
}
double log_of_exponentials(const Group& x) {
  double total = 0;
  for (double v : x) total += std::exp(v);
  return std::log(total);
}

struct Axes {
  std::vector<int> axes;
  bool keep;
};
/// Rows of one reduction over all axes, the last, the first and the outer ones.
template <class Op, class F>
std::vector<OpRow> reduction_rows(const std::string& name, Input input, bool empty_ok, Op op, F reference) {
  struct Case {
    const char* text;
    std::vector<int> axes;
    bool keep;
    Shape shape;
    std::vector<std::vector<Shape>> variants;
    Shape large;
    bool by_row;
  };
  // Three numbers at least in every group: over one number, variance and its like are 0, or have a kink.
  std::vector<Case> cases = {
      {"", {}, false, {3, 4}, {{{5}}, {{2, 1, 3}}}, {200, 210}, false},
      {", last axis", {-1}, false, {3, 4}, {{{5}}, {{0, 3}}, {{2, 1, 3}}}, {300, 257}, true},
      {", first axis kept", {0}, true, {4, 5}, {{{3, 1}}, {{3, 0}}, {{3, 2, 2}}, {{3, 37}}}, {300, 257}, false},
      {", outer axes", {0, -1}, false, {2, 3, 4}, {{{2, 1, 3}}, {{2, 0, 3}}, {{3, 2}}}, {30, 20, 40}, false}};
  if (empty_ok) {
    cases[0].variants.push_back({{2, 0}});
    cases[1].variants.push_back({{2, 0}});
    cases[2].variants.push_back({{0, 3}});
  }
  std::vector<OpRow> rows;
  for (const Case& c : cases) {
    input.shape = c.shape;
    const Axes axes{c.axes, c.keep};
    OpRow row{
        .name = name + c.text,
        .family = "reduce",
        .call = [op, axes](const auto& x) { return op(x[0], axes); },
        .inputs = {input},
        .reference = [reference, axes](const Arrays& x) { return by_group(x[0], axes.axes, axes.keep, reference); },
        .variants = c.variants,
        .large = {c.large},
        .errors = {bad<IndexError>(
                       [op](const auto& x) {
                         op(x[0], Axes{{3}, false});
                       },
                       "axis 3"),
                   bad<IndexError>(
                       [op](const auto& x) {
                         op(x[0], Axes{{0, 0}, false});
                       },
                       "twice")},
        .float_tolerance = 5e-6};
    if (c.by_row) row.rows_of = {0};
    rows.push_back(std::move(row));
  }
  return rows;
}
const Input apart{{}, -2, 2, true, {}, true};
const Input squared_apart = [] {
  Input input = apart;
  input.never = kHuge | kTiny;
  input.because = squares_leave_range;
  return input;
}();

const bool max_rows =
    add_op_rows(reduction_rows(
        "max", apart, false, [](const auto& x, const Axes& a) { return square(max(x, a.axes, a.keep)); },
        [](const Group& x) { return highest(x) * highest(x); })) &&
    add_op_rows(reduction_rows(
        "min", apart, false, [](const auto& x, const Axes& a) { return square(min(x, a.axes, a.keep)); },
        [](const Group& x) { return lowest(x) * lowest(x); }));
const bool var_rows =
    add_op_rows(reduction_rows(
        "var", apart, false, [](const auto& x, const Axes& a) { return var(x, a.axes, {.keep = a.keep}); },
        population_variance)) &&
    add_op_rows(reduction_rows(
        "var, sample", apart, false,
        [](const auto& x, const Axes& a) { return var(x, a.axes, {.sample = true, .keep = a.keep}); },
        sample_variance)) &&
    add_op_rows(reduction_rows(
        "stddev", squared_apart, false, [](const auto& x, const Axes& a) { return stddev(x, a.axes, {.keep = a.keep}); },
        [](const Group& x) { return std::sqrt(population_variance(x)); }));
const bool norm_rows = add_op_rows(reduction_rows(
    "norm", squared_apart, true, [](const auto& x, const Axes& a) { return norm(x, a.axes, a.keep); }, length));
const bool logsumexp_rows = add_op_rows(reduction_rows(
    "logsumexp", apart, false, [](const auto& x, const Axes& a) { return logsumexp(x, a.axes, a.keep); },
    log_of_exponentials));

template <int axis, bool reverse>
OpRow cumsum_row(const char* name) {
  return {.name = name,
          .family = "reduce",
          .call = [](const auto& x) { return square(cumsum(x[0], axis, reverse)); },
          .inputs = {{{3, 4}}},
          .reference =
              [](const Arrays& x) {
                const Tensor<double>& in = x[0];
                const int at = axis < 0 ? axis + in.rank() : axis;
                Index inner = 1;
                for (int a = at + 1; a < in.rank(); ++a) inner *= in.shape()[a];
                const Index size = in.shape()[at];
                std::vector<double> out(in.span().begin(), in.span().end());
                for (Index i = 0; i < in.count(); ++i) {
                  const Index place = i / inner % size;
                  double total = 0;
                  for (Index s = reverse ? place : 0; s <= (reverse ? size - 1 : place); ++s)
                    total += in.data()[i + (s - place) * inner];
                  out[i] = total * total;
                }
                return array(in.shape(), out);
              },
          .variants = {{{5}}, {{1}}, {{0}}, {{2, 0}}, {{0, 3}}, {{2, 1, 3}}},
          .large = {{200, 150}},
          .errors = {bad<IndexError>([](const auto& x) { cumsum(x[0], 2); }, "axis 2")}};
}
const bool cumsum_rows =
    add_op_rows({cumsum_row<-1, false>("cumsum"), cumsum_row<0, true>("cumsum, first axis reversed"),
                 cumsum_row<-1, true>("cumsum, reversed"), cumsum_row<0, false>("cumsum, first axis")});

/// One op that gives places or counts, so that it carries no gradient.
template <class Op, class F>
OpRow whole_row(const char* name, const char* family, bool empty_ok, Op op, F reference) {
  OpRow row{.name = name,
            .family = family,
            .call = [op](const auto& x) { return cast<ScalarOf<decltype(x)>>(op(x[0])); },
            .inputs = {{{4, 5}}},
            .reference = [reference](const Arrays& x) { return by_group(x[0], {-1}, false, reference); },
            .variants = {{{3}}, {{1}}, {{0, 3}}, {{2, 1, 3}}, {{3, 33}}},
            .large = {{300, 257}},
            .orders = 0,
            .rows_of = {0}};
  if (empty_ok) row.variants.push_back({{2, 0}});
  return row;
}
const bool whole_rows = add_op_rows(
    {whole_row(
         "argmax", "reduce", false, [](const auto& x) { return argmax(x, -1); },
         [](const Group& x) { return static_cast<double>(std::max_element(x.begin(), x.end()) - x.begin()); }),
     whole_row(
         "argmin", "reduce", false, [](const auto& x) { return argmin(x, -1); },
         [](const Group& x) { return static_cast<double>(std::min_element(x.begin(), x.end()) - x.begin()); }),
     whole_row(
         "any", "reduce", true, [](const auto& x) { return any(x > 0.7, {-1}); },
         [](const Group& x) { return std::any_of(x.begin(), x.end(), [](double v) { return v > 0.7; }) ? 1.0 : 0.0; }),
     whole_row(
         "all", "reduce", true, [](const auto& x) { return all(x > -0.7, {-1}); },
         [](const Group& x) { return std::all_of(x.begin(), x.end(), [](double v) { return v > -0.7; }) ? 1.0 : 0.0; }),
     whole_row(
         "count_nonzero", "reduce", true, [](const auto& x) { return count_nonzero(relu(x), {-1}); },
         [](const Group& x) {
           return static_cast<double>(std::count_if(x.begin(), x.end(), [](double v) { return v > 0; }));
         })});

// ---- Segments: the rows of an input are cut into runs of 0, 1, 2, 3, 4, 0 ... rows, the rest into a last one. -------

Tensor<std::int64_t> cut(Index rows) {
  std::vector<std::int64_t> offsets = {0};
  for (Index length = 0; offsets.back() < rows; length = (length + 1) % 5)
    offsets.push_back(std::min(offsets.back() + length, rows));
  offsets.push_back(rows);
  return from_vector(offsets);
}
/// f on the numbers of every column of every segment, in place; results as many as `f` leaves.
template <class F>
Tensor<double> by_segment(const Tensor<double>& x, F f) {
  const Tensor<std::int64_t> offsets = cut(x.size(0));
  const Index segments = offsets.count() - 1;
  Index width = 1;
  for (int a = 1; a < x.rank(); ++a) width *= x.shape()[a];
  std::vector<double> rows;
  for (Index s = 0; s < segments; ++s) {
    std::vector<Group> columns(width);
    for (Index i = 0; i < width; ++i) {
      Group& column = columns[i];
      for (Index p = offsets.data()[s]; p < offsets.data()[s + 1]; ++p) column.push_back(x.data()[p * width + i]);
      f(column);
    }
    for (std::size_t r = 0; !columns.empty() && r < columns[0].size(); ++r)
      for (const Group& column : columns) rows.push_back(column[r]);
  }
  const Index count = width == 0 ? x.size(0) : static_cast<Index>(rows.size()) / width;
  return array(x.shape().with(0, width == 0 ? segments : count), rows);
}
template <class Op, class F>
OpRow segment_row(const char* name, Op op, F f) {
  return {.name = name,
          .family = "segment",
          .call = [op](const auto& x) { return op(x[0], cut(x[0].size(0))); },
          .inputs = {{{13, 2}, -2, 2, true, {}, true}},
          .reference = [f](const Arrays& x) { return by_segment(x[0], f); },
          .variants = {{{13}}, {{1}}, {{1, 1}}, {{9, 1, 19}}, {{0, 2}}},
          .large = {{4000, 9}},
          .errors = {bad<ShapeError>(
                         [op](const auto& x) {
                           op(x[0], zeros<std::int64_t>({2, 1}));
                         },
                         "offsets [2, 1]"),
                     bad<IndexError>(
                         [op](const auto& x) {
                           op(x[0], tensor<std::int64_t>({1, 13}));
                         },
                         "start at 1"),
                     bad<IndexError>(
                         [op](const auto& x) {
                           op(x[0], tensor<std::int64_t>({0, 5, 4, 13}));
                         },
                         "4 at position 2"),
                     bad<IndexError>(
                         [op](const auto& x) {
                           op(x[0], tensor<std::int64_t>({0, 12}));
                         },
                         "end at 12, there are 13")}};
}
const bool segment_rows = add_op_rows(
    {segment_row(
         "segment_sum", [](const auto& x, const auto& offsets) { return square(segment_sum(x, offsets)); },
         [](Group& x) {
           double total = 0;
           for (double v : x) total += v;
           x = {total * total};
         }),
     segment_row(
         "segment_mean", [](const auto& x, const auto& offsets) { return square(segment_mean(x, offsets)); },
         [](Group& x) {
           double total = 0;
           for (double v : x) total += v / static_cast<double>(x.size());
           x = {total * total};
         }),
     segment_row(
         "segment_max", [](const auto& x, const auto& offsets) { return square(segment_max(x, offsets)); },
         [](Group& x) { x = {x.empty() ? 0 : highest(x) * highest(x)}; }),
     segment_row(
         "segment_min", [](const auto& x, const auto& offsets) { return square(segment_min(x, offsets)); },
         [](Group& x) { x = {x.empty() ? 0 : lowest(x) * lowest(x)}; }),
     segment_row(
         "segment_softmax", [](const auto& x, const auto& offsets) { return segment_softmax(x, offsets); },
         [](Group& x) {
           const double total = std::exp(log_of_exponentials(x));
           for (double& v : x) v = std::exp(v) / total;
         }),
     {.name = "segment_broadcast",
      .family = "segment",
      .call =
          [](const auto& x) {
            std::vector<std::int64_t> offsets = {0};
            for (Index s = 0; s < x[0].size(0); ++s) offsets.push_back(offsets.back() + s % 4);
            return square(segment_broadcast(x[0], from_vector(offsets)));
          },
      .inputs = {{{6, 2}}},
      .reference =
          [](const Arrays& x) {
            const Index width = x[0].size(0) == 0 ? 0 : x[0].count() / x[0].size(0);
            Index rows = 0;
            std::vector<double> out;
            for (Index s = 0; s < x[0].size(0); ++s)
              for (Index r = 0; r < s % 4; ++r, ++rows)
                for (Index i = 0; i < width; ++i)
                  out.push_back(x[0].data()[s * width + i] * x[0].data()[s * width + i]);
            return array(x[0].shape().with(0, rows), out);
          },
      .variants = {{{6}}, {{1}}, {{0, 2}}, {{3, 0}}, {{3, 1, 19}}},
      .large = {{4000, 9}},
      .errors = {bad<ShapeError>(
          [](const auto& x) {
            segment_broadcast(x[0], tensor<std::int64_t>({0, 3}));
          },
          "offsets [2]")}}});

}  // namespace
