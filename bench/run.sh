#!/usr/bin/env bash
# graft's own numbers as fractions of this machine's measured peaks, in under three minutes; what became 20 % slower
# than bench/baseline.json is marked: bench/run.sh [options of bench/peers/own.py: --rows TEXT, --update ...].
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tests/packages.sh"
need_packages "${BUILD_PACKAGES[@]}" python3-numpy
(cd "$root" && cmake --preset bench && cmake --build --preset bench --target peers_graft) >&2
python=python3
"$python" -c 'import numpy' 2>/dev/null || python=/usr/bin/python3  # Debian's, where another comes first
exec "$python" "$root/bench/peers/own.py" --programs "$root/build/bench/bench" "$@"
