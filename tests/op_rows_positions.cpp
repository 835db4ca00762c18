// Rows of the op table: rotary positions. The reference is the rotation of Su et al. 2021, eq. 34, pair by pair.

#include <cmath>

#include "graft/ops/arithmetic.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/rotary.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

struct Case {
  Index offset = 0;
  RotaryOptions options = {};
};

auto rotary_reference(Case c) {
  return [c](const Arrays& x) {
    const Shape shape = x[0].shape();
    const Index width = shape[-1], time = shape[-2], depth = c.options.depth == 0 ? width : c.options.depth;
    std::vector<double> out(x[0].data(), x[0].data() + x[0].count());
    for (Index row = 0; width > 0 && row < x[0].count() / width; ++row)
      for (Index i = 0; i < depth / 2; ++i) {
        const double speed = std::pow(c.options.base, -2 * static_cast<double>(i) / static_cast<double>(depth));
        const double angle = static_cast<double>(c.offset + row % time) * speed;
        const bool halves = c.options.layout == RotaryLayout::halves;
        const Index first = row * width + (halves ? i : 2 * i), second = halves ? first + depth / 2 : first + 1;
        const double a = x[0].data()[first], b = x[0].data()[second];
        out[first] = a * std::cos(angle) - b * std::sin(angle);
        out[second] = a * std::sin(angle) + b * std::cos(angle);
      }
    return array(shape, out);
  };
}

OpRow rotary_row(const char* name, Case c, Shape shape) {
  Input input{shape};
  input.spreads = "both numbers of a pair come from both";
  OpRow row{.name = name,
            .family = "attention",
            .call = [c](const auto& x) { return rotary(x[0], c.offset, c.options); },
            .inputs = {input},
            .reference = rotary_reference(c),
            .rounding = {.products = {0}, .because = "the numbers of a pair cancel"}};
  return row;
}

std::vector<OpRow> rotary_rows() {
  std::vector<OpRow> rows;
  OpRow row = rotary_row("rotary", {}, {2, 3, 4, 6});
  row.variants = {{{0, 4}}, {{3, 0}}, {{1, 2}}, {{2, 5, 34}}};
  row.large = {{8, 4, 200, 32}};
  row.errors = {bad<ShapeError>([](const auto& x) { rotary(reshape(x[0], {-1})); }, "[..., time, depth]"),
                bad<ValueError>(
                    [](const auto& x) {
                      rotary(reshape(x[0], {-1, 3}));
                    },
                    "depth is 3"),
                bad<ValueError>([](const auto& x) { rotary(x[0], 0, {.depth = 8}); }, "depth is 8"),
                bad<ValueError>([](const auto& x) { rotary(x[0], 0, {.base = 0}); }, "base is 0")};
  rows.push_back(row);
  row = rotary_row("rotary, interleaved", {.options = {.layout = RotaryLayout::interleaved}}, {2, 4, 6});
  row.variants = {{{0, 4}}, {{3, 0}}, {{1, 2}}, {{2, 5, 34}}};
  row.large = {{8, 4, 200, 32}};
  rows.push_back(row);
  row = rotary_row("rotary, a part of the numbers, from place 1000 on",
                   {.offset = 1000, .options = {.base = 500, .depth = 4}}, {2, 3, 7});
  row.large = {{8, 4, 200, 33}};
  rows.push_back(row);
  row = rotary_row("rotary, a part of the numbers, interleaved, from place 1000 on",
                   {.offset = 1000, .options = {.layout = RotaryLayout::interleaved, .base = 500, .depth = 4}},
                   {2, 3, 7});
  row.large = {{8, 4, 200, 33}};
  rows.push_back(row);
  const Case c{.offset = 3};
  row = rotary_row("rotary, squared", c, {2, 4, 6});
  row.large = {{8, 4, 200, 32}};
  rows.push_back(squared(row, [c](const auto& x) { return rotary(x[0], c.offset, c.options); }));
  return rows;
}

const bool added = add_op_rows(rotary_rows());

}  // namespace
