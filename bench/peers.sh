#!/usr/bin/env bash
# Times graft against other libraries on the same work and prints a table of ratios: bench/peers.sh [options of
# bench/peers/compare.py: --rows TEXT, --threads 1,2, --rounds N, --json FILE, --quiet ...]. Installs the others from
# PyPI into a virtual environment outside the tree: $GRAFT_PEERS, else ~/.cache/graft-peers.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tests/packages.sh"
need_packages "${BUILD_PACKAGES[@]}" python3-venv
peers=${GRAFT_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/graft-peers}

[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
wanted=$root/bench/peers/requirements.txt
if ! cmp -s "$wanted" "$peers/requirements.txt"; then
  "$peers/bin/pip" install --quiet --upgrade -r "$wanted"
  # PyG's loader samples by these, which are on PyPI as source alone and are compiled against the torch above.
  "$peers/bin/pip" install --quiet --upgrade setuptools wheel
  FORCE_ONLY_CPU=1 "$peers/bin/pip" install --quiet --upgrade --no-build-isolation torch-scatter torch-sparse
  cp "$wanted" "$peers/requirements.txt"
fi
(cd "$root" && cmake --preset bench && cmake --build --preset bench --target peers_graft peers_blas) >&2
exec "$peers/bin/python" "$root/bench/peers/compare.py" --programs "$root/build/bench/bench" "$@"
