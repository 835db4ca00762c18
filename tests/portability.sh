#!/usr/bin/env bash
# Tests graft on systems that CI does not have: tests/portability.sh [aarch64] [x86-64] [debian13], all without
# arguments. The number, op and method tables on AArch64 under an emulator and on an x86-64 without AVX and FMA; all
# tests on Debian 13 in a chroot, which needs root. Hours on two cores, most of them in the emulator.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/packages.sh
jobs=${GRAFT_JOBS:-$(nproc)}
tables=(-DGRAFT_NATIVE=OFF -DGRAFT_WERROR=ON -DGRAFT_BUILD_BENCH=OFF -DGRAFT_BUILD_EXAMPLES=OFF
        "-DGRAFT_TEST_TAGS=number;optable;unusual;methods")

test_tables() {  # test_tables FOLDER OPTIONS...
  cmake --preset release -B "$1" "${tables[@]}" "${@:2}" && cmake --build "$1" -j "$jobs" &&
    ctest --test-dir "$1" --output-on-failure --timeout 36000
}

aarch64() {
  need_packages "${BUILD_PACKAGES[@]}" g++-aarch64-linux-gnu qemu-user-static
  # The libraries by themselves: /usr/include holds this machine's own as well.
  local libraries=$PWD/build/aarch64-libraries
  mkdir -p "$libraries"
  dpkg-query -L libeigen3-dev libxsimd-dev catch2 nlohmann-json3-dev | grep -E '/(include|cmake)/|[.]a$' |
    tar -c --no-recursion -P -T - | tar -x -C "$libraries" --strip-components=1
  # No table reads word pieces: utf8proc is left out.
  test_tables build/aarch64 -DGRAFT_UTF8PROC= -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    "-DCMAKE_PREFIX_PATH=$libraries" -Dxsimd_DIR="$(echo "$libraries"/lib/*/cmake/xsimd)" \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
    "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64-static;-L;/usr/aarch64-linux-gnu"
}

plain_x86_64() {
  need_packages "${BUILD_PACKAGES[@]}"
  test_tables build/x86-64 -DCMAKE_CXX_FLAGS=-march=x86-64
}

debian13() (  # GRAFT_DEBIAN_MIRROR: where debootstrap finds packages, unless in its usual place
  need_packages debootstrap
  system=build/debian13
  [[ -e $system/etc/debian_version ]] || debootstrap --variant=minbase trixie "$system" ${GRAFT_DEBIAN_MIRROR:-}
  trap 'umount --quiet "$system"/{proc,dev/pts} || true' EXIT
  mountpoint -q "$system/proc" || mount -t proc proc "$system/proc"
  mountpoint -q "$system/dev/pts" || mount -t devpts devpts "$system/dev/pts"
  mkdir -p "$system/graft"
  tar -c --exclude=./build --exclude=./.git . | tar -x -C "$system/graft"
  chroot "$system" /bin/bash -c 'cd /graft && tests/run.sh && ctest --preset release -R "^headers$"'
)

(( $# )) || set -- aarch64 x86-64 debian13
for system in "$@"; do
  echo "==== $system"
  case $system in
    aarch64) aarch64 ;;
    x86-64) plain_x86_64 ;;
    debian13) debian13 ;;
    *) echo "unknown system $system: aarch64, x86-64 or debian13" >&2; exit 2 ;;
  esac
done
