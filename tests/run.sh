#!/usr/bin/env bash
# Builds graft and its examples and runs all tests but those that judge how graft is made (label ci, which .ci/run
# runs); installs missing Debian packages first. Arguments go to the configure step, e.g. tests/run.sh
# -DGRAFT_WERROR=ON.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
need_packages "${BUILD_PACKAGES[@]}"

cmake --preset release "$@"
cmake --build --preset release -j "${GRAFT_JOBS:-$(nproc)}" --target graft_tests graft_examples
log=build/release/ctest.log
status=0
ctest --preset release -j2 -LE '^ci$' 2>&1 | tee "$log" || status=1

# A skipped test says so in its output; ctest itself lists what it did not run.
skipped=$({ sed -n 's/^SKIPPED \(.*\) -- .*/\1/p' build/release/Testing/Temporary/LastTest.log
            sed -n 's/^\s*[0-9]* - \(.*\) (\(Skipped\|Disabled\|Not Run\))$/\1/p' "$log"; } | sort -u)
if [[ -z $skipped ]]; then
  echo "skipped tests: none"
else
  echo "skipped tests:"
  while read -r name; do
    if grep -qxF -- "$name" tests/allowed_skips; then
      echo "  $name (allowed)"
    else
      echo "  $name (not in tests/allowed_skips)"
      status=1
    fi
  done <<<"$skipped"
fi
exit $status
