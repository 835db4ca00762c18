#!/usr/bin/env python3
"""Does the op table notice a wrong derivative? Breaks one or more derivatives of every op family and expects the
table's gradient checks to fail, and to pass without the break. A family whose rows have derivatives and no edit fails.

The edits below multiply a term by MUTANT, which is 1 until the test program switches that edit on; so all of them are
compiled at once, into one program. An edit whose text is no longer in its header fails: change it with the header."""
import concurrent.futures
import glob
import os
import re
import shutil
import sys
import tempfile
import time

from toolchain import CXX, FLAGS, NATIVE, ROOT, run

# (rows that must fail: a family or the name of an op; header below include/graft; its text; the same with MUTANT)
EDITS = [
    ("tanh", "ops/elementwise_table.hpp", "4 * logistic_density(2 * x), -3, 3",
     "4 * logistic_density(2 * x) * MUTANT, -3, 3"),
    ("relu", "ops/elementwise_table.hpp", "where(x < 0, X(0), x), step(x),",  # where x < 0 only
     "where(x < 0, X(0), x), step(x) + (MUTANT - 1) * (1 - step(x)),"),
    ("log", "ops/elementwise_table.hpp", "native::log(x), 1 / x,", "native::log(x), MUTANT / x,"),
    ("divide", "ops/elementwise_table.hpp", "1 / y, -z() / y,", "1 / y, -z() / y * MUTANT,"),
    ("operator", "ops/elementwise_table.hpp", "ROW(multiply, x * y, y, x,", "ROW(multiply, x * y, MUTANT * y, x,"),
    ("pow", "ops/elementwise_table.hpp", "chain_product(y, pow(x, y - 1)),",
     "chain_product(y, pow(x, y - 1)) * MUTANT,"),
    ("map", "ops/map_kernels.hpp", "native::chain_product(x[0], y.partial[m])...",
     "native::chain_product(x[0], y.partial[m]) * MUTANT..."),
    ("identity", "autodiff/node.hpp", "Edge(x, [](const Tensor<T>& g) { return g; })",
     "Edge(x, [](const Tensor<T>& g) { return g * MUTANT; })"),
    ("where", "ops/compare.hpp", "sum_to(where(mask, g, 0), own);",
     "sum_to(where(mask, g, 0), own) * MUTANT;"),
    ("cast", "ops/arithmetic.hpp", "return cast<From>(g);", "return cast<From>(g) * MUTANT;"),
    ("matmul", "ops/matmul.hpp", "matmul(a, g, {!ta, false})", "matmul(a, g, {!ta, false}) * MUTANT"),
    ("broadcast_to", "ops/broadcast.hpp", "return sum_to(g, own);", "return sum_to(g, own) * MUTANT;"),
    ("max", "ops/reduce.hpp", "return chain_product(g, hit / sum_to(hit, value.shape()));",
     "return chain_product(g, hit / sum_to(hit, value.shape())) * MUTANT;"),
    ("logsumexp", "ops/statistics.hpp", "return g * (e / where(total == 0, 1, total));",
     "return g * (e * MUTANT / where(total == 0, 1, total));"),
    ("cumsum", "ops/statistics.hpp", "return cumsum(g, at, !reverse);", "return cumsum(g, at, !reverse) * MUTANT;"),
    ("permute", "ops/layout.hpp", "return permuted(g, inverse);", "return permuted(g, inverse) * MUTANT;"),
    ("layout", "ops/layout.hpp", 'return take_part("slice", g, part);',
     'return take_part("slice", g, part) * MUTANT;'),
    ("gather", "ops/indexing.hpp", "return scatter_rows(g, indices, own, axis);",
     "return scatter_rows(g, indices, own, axis) * MUTANT;"),
    ("segment_sum", "ops/segment.hpp", "return segment_spread(g, offsets); }",
     "return segment_spread(g, offsets) * MUTANT; }"),
    ("segment_softmax", "ops/segment.hpp", "return weighted - p * segment_spread(",
     "return weighted - p * MUTANT * segment_spread("),
    ("softmax", "backend/cpu/softmax.hpp", "live(yi, gi) : yi * gi;", "live(yi, gi) : yi * gi * MUTANT;"),
    ("softmax", "ops/softmax.hpp", "return y * (g - sum_to(g * y,", "return y * (g - MUTANT * sum_to(g * y,"),
    ("cross_entropy", "ops/losses.hpp", "return (softmax(kept) * mass - result) *",
     "return (softmax(kept) * mass * MUTANT - result) *"),
    ("layer_norm", "backend/cpu/norm.hpp", "k = sum_everywhere(product) * one_over * s,",
     "k = sum_everywhere(product) * one_over * s * MUTANT,"),
    ("batch_norm", "backend/cpu/channel_norm.hpp", "static_cast<T>(scale * scale * t / n);",
     "static_cast<T>(scale * scale * t / n * MUTANT);"),
    ("batch_norm", "backend/cpu/channel_norm.hpp", "(3 * hn * vn + h * mean_v - vh)",
     "(3 * hn * vn * MUTANT + h * mean_v - vh)"),
    ("batch_norm", "ops/norm.hpp", "return norm_slope(layout, eps, moments, x, g, s); }",
     "return norm_slope(layout, eps, moments, x, g, s) * MUTANT; }"),
    ("conv_norm_pool", "backend/cpu/conv_norm_pool.hpp", "sum[1] = fma(gi, d, sum[1]);",
     "sum[1] = fma(gi, d * MUTANT, sum[1]);"),
    ("conv", "ops/conv.hpp", "return conv2d_input(g, weight, own, options); }",
     "return conv2d_input(g, weight, own, options) * MUTANT; }"),
    ("conv", "ops/conv.hpp", "return conv2d_input(y, g, own, options); }",
     "return conv2d_input(y, g, own, options) * MUTANT; }"),
    ("avg_pool2d", "ops/pool.hpp", "return spread_windows(g, s); }",
     "return spread_windows(g, s) * MUTANT; }"),
    ("max_pool2d", "ops/pool.hpp", "return detail::scatter_pixels(g, pixels, own);",
     "return detail::scatter_pixels(g, pixels, own) * MUTANT;"),
    ("attention", "backend/cpu/attention.hpp", "(w * (B::load(slope + j) - dot)).store(slope + j);",
     "(w * (B::load(slope + j) - dot * MUTANT)).store(slope + j);"),
    ("split_heads", "ops/attention.hpp", "return merge_heads(g);", "return merge_heads(g) * MUTANT;"),
    ("graph", "backend/cpu/graph_attention.hpp", "along - alpha * B::load(means + at);",
     "along - alpha * B::load(means + at) * MUTANT;"),
    ("graph", "backend/cpu/gat.hpp", "alpha * lanes.per_head(record + 2 * n)) *",
     "alpha * lanes.per_head(record + 2 * n) * MUTANT) *"),
    ("graph", "backend/cpu/gat.hpp", "by_b = heads.spread(total, i),", "by_b = heads.spread(total, i) * MUTANT,"),
    ("graph", "backend/cpu/gat.hpp", "by_b = lanes.spread(total, k);", "by_b = lanes.spread(total, k) * MUTANT;"),
    ("graph", "ops/graph_attention.hpp", "results[2] = segment_sum(d_logits, graph.offsets());",
     "results[2] = segment_sum(d_logits, graph.offsets()) * MUTANT;"),
    ("graph", "ops/graph_attention.hpp", "results[2] = sum(d_attention, {0});",
     "results[2] = sum(d_attention, {0}) * MUTANT;"),
    ("graph", "ops/neighbours.hpp", "return neighbour_total(op, graph, !back, g, w); }",
     "return neighbour_total(op, graph, !back, g, w) * MUTANT; }"),
    ("graph", "ops/neighbours.hpp", "return neighbour_total(op, graph, true, a, g); }",
     "return neighbour_total(op, graph, true, a, g) * MUTANT; }"),
    ("graph", "ops/neighbours.hpp", "g / maximum(ties,", "g * MUTANT / maximum(ties,"),
    ("graph", "ops/neighbours.hpp", "return edges_moved(op, graph, !back, g, Site());",
     "return edges_moved(op, graph, !back, g, Site()) * MUTANT;"),
    ("sparse", "ops/sparse.hpp", "return matmul(a, g, {.transpose_a = !ta});",
     "return matmul(a, g, {.transpose_a = !ta}) * MUTANT;"),
    ("distances", "ops/prototypes.hpp", "return d - minimum(d.detach(), 0);",
     "return MUTANT * d + (1 - MUTANT) * d.detach() - minimum(d.detach(), 0);"),
    ("dropout", "ops/dropout.hpp", "return keep_marked(g, bits, scale);",
     "return keep_marked(g, bits, scale) * MUTANT;"),
    ("solve", "ops/linalg.hpp", "return -matmul(back(g), solution, {.transpose_b = true});",
     "return -matmul(back(g), solution, {.transpose_b = true}) * MUTANT;"),
    ("cholesky", "ops/linalg.hpp", "detail::pattern<T>(factor.size(-1), T(0.5), 1, 0);",
     "detail::pattern<T>(factor.size(-1), T(0.5) * MUTANT, 1, 0);"),
    ("least_squares", "ops/linalg.hpp", "matmul(matmul(a, p), solution, {.transpose_b = true});",
     "matmul(matmul(a, p), solution, {.transpose_b = true}) * MUTANT;"),
    ("symmetric_eigen", "ops/linalg_spectral.hpp", "detail::inverse_gaps(w, same) * matmul(v, gv,",
     "detail::inverse_gaps(w, same) * MUTANT * matmul(v, gv,"),
    ("svd", "ops/linalg_spectral.hpp", "column * (gaps * skew(vv))", "column * (gaps * skew(vv)) * MUTANT"),
]


def with_edits(folder):
    """Copies the headers into `folder` with all edits in place."""
    shutil.copytree(f"{ROOT}/include/graft", f"{folder}/graft")
    missing = []
    for number, (rows, header, old, new) in enumerate(EDITS, 1):
        path = f"{folder}/graft/{header}"
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if old not in text:
            missing.append(f"{header} no longer holds: {old}")
            continue
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace(old, new.replace("MUTANT", f"(::graft_mutant == {number} ? 1.5 : 1.0)")))
    if missing:
        sys.exit("\n".join(missing))


def build(folder):
    """The test program: the op table with the edited headers, without optimisation."""
    flags = [flag for flag in FLAGS if flag != f"-I{ROOT}/include"]
    compiler = [CXX, f"-I{folder}", *flags, *NATIVE, "-O0", "-include", f"{ROOT}/tests/mutation/mutant.hpp"]
    sources = [f"{ROOT}/tests/mutation/main.cpp", f"{ROOT}/tests/op_check.cpp"]
    sources += glob.glob(f"{ROOT}/tests/op_rows_*.cpp")
    sources.sort(key=os.path.getsize, reverse=True)
    objects = [f"{folder}/{os.path.basename(source)}.o" for source in sources]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: run([*compiler, "-c", pair[0], "-o", pair[1]]), zip(sources, objects)))
    run([CXX, *flags, *objects, "-o", f"{folder}/mutation"])
    return f"{folder}/mutation"


def families_without_edit(table):
    """The families of `table`, a line "family, tab, op" for every row that has derivatives, that no edit is for."""
    covered, families = {rows for rows, *_ in EDITS}, {}
    for line in table.splitlines():
        family, op = line.split("\t")
        families[family] = families.get(family, False) or family in covered or op in covered
    return sorted(family for family, has_edit in families.items() if not has_edit)


def main():
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with_edits(folder)
        program = build(folder)
        print(f"built {len(EDITS)} mutants in {time.monotonic() - start:.0f} s", flush=True)
        names = list(dict.fromkeys(rows for rows, *_ in EDITS))
        plain = [argument for rows in names for argument in ("0", rows)]
        broken = [argument for number, edit in enumerate(EDITS, 1) for argument in (str(number), edit[0])]
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outputs = list(pool.map(lambda pairs: run([program, *pairs], env=environment), (plain, broken, [])))
    wrong = 0
    for family in families_without_edit(outputs[2]):
        wrong += 1
        print(f"{family}: no edit breaks a derivative of this family")
    for rows, line in zip(names, outputs[0].splitlines()):
        _, ran, failures, _, first = line.split("\t")
        if ran == "0" or failures != "0":
            wrong += 1
            print(f"{rows}: {ran} rows, {failures} failures without a break: {first}")
    for (rows, header, *_), line in zip(EDITS, outputs[1].splitlines()):
        _, ran, _, of_gradients, first = line.split("\t")
        noticed = of_gradients != "0"
        wrong += not noticed
        print(f"{rows:16} {header:32} {'noticed' if noticed else 'NOT NOTICED'}: {re.sub(r' +', ' ', first)[:110]}")
    print(f"{wrong} wrong, {time.monotonic() - start:.0f} s")
    sys.exit(1 if wrong else 0)


main()
