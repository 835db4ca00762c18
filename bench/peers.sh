#!/usr/bin/env bash
# Times graft against other libraries on the same work and prints a table of ratios: bench/peers.sh [options of
# bench/peers/compare.py: --rows TEXT, --threads 1,2, --rounds N, --json FILE, --quiet ...]. Installs the others from
# PyPI into a virtual environment outside the tree: $GRAFT_PEERS, else ~/.cache/graft-peers.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
need_packages "${BUILD_PACKAGES[@]}" libbenchmark-dev python3-venv
peers=${GRAFT_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/graft-peers}

[ -x "$peers/bin/python" ] || python3 -m venv "$peers"
if ! cmp -s bench/peers/requirements.txt "$peers/requirements.txt"; then
  "$peers/bin/pip" install --quiet --upgrade -r bench/peers/requirements.txt
  cp bench/peers/requirements.txt "$peers/requirements.txt"
fi
cmake --preset bench >&2
cmake --build --preset bench --target peers_graft peers_blas >&2
exec "$peers/bin/python" bench/peers/compare.py --programs build/bench/bench "$@"
