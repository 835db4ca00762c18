#!/usr/bin/env bash
# What takes too long for tests/run.sh, which does a little of each: damaged files under the sanitizers, a training run
# killed again and again, a graph of ten million edges, a long soak. About an hour on two cores, most of it the readers'
# ten minutes each of libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
need_packages "${BUILD_PACKAGES[@]}" "${CI_PACKAGES[@]}"
jobs=${GRAFT_JOBS:-$(nproc)}

echo "==== 300000 damaged files under the address and undefined-behaviour sanitizers"
cmake --preset asan-ubsan -B build/long-asan-ubsan -DGRAFT_TEST_TAGS=fuzz
cmake --build build/long-asan-ubsan -j "$jobs"
LSAN_OPTIONS=suppressions=$PWD/tests/leaks_of_others GRAFT_FUZZ_FILES=300000 build/long-asan-ubsan/tests/graft_tests "[fuzz]"

# A finding ends the run; its input is left in build/fuzz and, once mended, goes into tests/fuzz/corpus.
seconds=${GRAFT_FUZZ_SECONDS:-600}
echo "==== each reader under libFuzzer for $seconds s, two at a time"
cmake --build build/long-asan-ubsan -j "$jobs" --target graft_fuzz
fuzz() {  # fuzz NAME
  local folder=build/fuzz/$1
  mkdir -p "$folder/found"
  echo "$1"
  OMP_NUM_THREADS=1 LSAN_OPTIONS=suppressions=$PWD/tests/leaks_of_others build/long-asan-ubsan/tests/fuzz_"$1" \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -artifact_prefix="$folder/" \
    "$folder/found" tests/fuzz/corpus/"$1" >"$folder/log" 2>&1 || { tail -n 40 "$folder/log"; return 255; }
  grep -E "number_of_executed_units|peak_rss_mb" "$folder/log"
}
export seconds
export -f fuzz
printf '%s\n' tests/fuzz/*.cpp | xargs -n 1 -I {} basename {} .cpp | xargs -P 2 -I {} bash -c 'fuzz {}'

cmake --preset release
cmake --build --preset release -j "$jobs" --target graft_tests graft_examples long_sampled_training

echo "==== training on sampled neighbours of 1 M nodes and 10 M edges"
build/release/tests/long_sampled_training

echo "==== a training run killed 300 times"
GRAFT_KILLS=300 python3 tests/collaborate_cli.py build/release/examples/collaborate \
  Collaborate.test_killed_again_and_again_equals_uninterrupted

echo "==== a million MAML steps and a million rounds of the protocol in constant memory"
GRAFT_SOAK_STEPS=1000000 build/release/tests/graft_tests "[soak]"
