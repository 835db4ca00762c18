#!/usr/bin/env bash
# What takes too long for tests/run.sh, which does a little of each: damaged files under the sanitizers, a training run
# killed again and again, a long soak. About a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
need_packages "${BUILD_PACKAGES[@]}"
jobs=${GRAFT_JOBS:-$(nproc)}

echo "==== 300000 damaged files under the address and undefined-behaviour sanitizers"
cmake --preset asan-ubsan -B build/long-asan-ubsan -DGRAFT_TEST_TAGS=fuzz
cmake --build build/long-asan-ubsan -j "$jobs"
LSAN_OPTIONS=suppressions=$PWD/tests/leaks_of_others GRAFT_FUZZ_FILES=300000 build/long-asan-ubsan/tests/graft_tests "[fuzz]"

cmake --preset release
cmake --build --preset release -j "$jobs" --target graft_tests graft_examples

echo "==== a training run killed 300 times"
GRAFT_KILLS=300 python3 tests/collaborate_cli.py build/release/examples/collaborate \
  Collaborate.test_killed_again_and_again_equals_uninterrupted

echo "==== a million MAML steps in constant memory"
GRAFT_SOAK_STEPS=1000000 build/release/tests/graft_tests "[soak]"
