// The row of dropout (ops/dropout.hpp).

#include "graft/ops/dropout.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

const bool dropout_rows = add_op_rows({
    {.name = "dropout",  // the mask is Philox's words as the kernel documents them, each counter drawn one by one
     .family = "dropout",
     .call = [](const auto& x) { return square(dropout(x[0], 0.375, Random(5).stream("dropout"))); },
     .inputs = {{{7, 11}, 0.5, 1}},
     .reference =
         [](const Arrays& x) {
           const std::uint64_t key = Random(5).stream("dropout").bits(0);
           std::vector<double> out(x[0].span().begin(), x[0].span().end());
           for (std::size_t i = 0; i < out.size(); ++i) {
             const auto words =
                 detail::philox({static_cast<std::uint32_t>(i / 64 * 16 + i % 16), 0, 0, 0},
                                {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
             const double scaled = out[i] / 0.625;
             out[i] = words[i / 16 % 4] < 0x60000000u ? 0 : scaled * scaled;
           }
           return array(x[0].shape(), out);
         },
     .variants = {{{}}, {{0, 3}}, {{1}}, {{64}}, {{65}}},
     .large = {{40000}},
     .errors = {bad<ValueError>([](const auto& x) { dropout(x[0], 1, Random(1)); }, "rate is 1"),
                bad<ValueError>([](const auto& x) { dropout(x[0], -0.5, Random(1)); }, "rate is -0.5")}},
});

}  // namespace
