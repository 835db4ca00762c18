#!/usr/bin/env bash
# The main job on its embedded data: installs missing Debian packages, builds, trains, prints the table. Arguments go to
# the program, e.g. examples/quickstart.sh --ways 5 --shots 1 --json record.json (--help lists them).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tests/packages.sh"
need_packages "${BUILD_PACKAGES[@]}"
(cd "$root" && cmake --preset release &&
  cmake --build --preset release -j "${GRAFT_JOBS:-$(nproc)}" --target collaborate)
# Idle threads sleep: on a machine that others use too, spinning ones slow every round down.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
exec "$root/build/release/examples/collaborate" "$@"
