# Sourced by tests/run.sh, examples/quickstart.sh and .ci/run: the Debian packages they need.
BUILD_PACKAGES=(cmake ninja-build g++ python3 pkg-config libeigen3-dev libxsimd-dev catch2 libbenchmark-dev
                nlohmann-json3-dev libutf8proc-dev libpng-dev)
CI_PACKAGES=(clang libomp-dev libclang-rt-14-dev doxygen libopenmpi-dev openmpi-bin chromium)

# Installs what is missing as root or through sudo, else prints the line to run and ends the script. Elsewhere than on
# Debian, and with GRAFT_SKIP_PACKAGES set, it does nothing: the configure step names what is missing.
need_packages() {
  if [[ -n ${GRAFT_SKIP_PACKAGES:-} ]] || ! command -v dpkg-query >/dev/null; then return; fi
  local missing=() package sudo=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *' installed' ]] || missing+=("$package")
  done
  if (( ${#missing[@]} == 0 )); then return; fi
  if (( EUID != 0 )); then
    if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; }; then
      echo "Missing Debian packages. Run this as root, then try again:" >&2
      echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    sudo=(sudo)
  fi
  echo "Installing ${missing[*]}"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
