#!/usr/bin/env bash
# Steps of a small Transformer on two threads against one while other processes use the cores: bench/crowded.sh [steps a
# turn]. OpenMP waits as it does by default, whatever the environment says. The machine must be free otherwise.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tests/packages.sh"
need_packages "${BUILD_PACKAGES[@]}"
(cd "$root" && cmake --preset bench && cmake --build --preset bench --target bench_crowded) >&2
for variable in $(compgen -e | grep -E '^(OMP|GOMP|KMP)_'); do unset "$variable"; done
exec "$root/build/bench/bench/crowded" "$@"
