# Shared by the commands of ./dev: messages, packages, configuring and building.
cd "$WEIR_ROOT"
JOBS=$(nproc)

say() { printf '== %s\n' "$*"; }
warn() { printf 'dev: %s\n' "$*" >&2; }
die() {
  warn "$*"
  exit 1
}

# Packages by purpose. Every name here has a line in docs/dependencies.md.
packages_of() {
  case $1 in
    build)
      echo g++ cmake ninja-build pkg-config ccache bpftool clang-19 llvm-19 \
        libbpf-dev libelf-dev zlib1g-dev libmnl-dev libpcap-dev libzstd-dev libcli11-dev libfmt-dev libeigen3-dev nlohmann-json3-dev
      ;;
    lab) echo iproute2 nftables ;;
    test) echo libgtest-dev libgmock-dev python3 ethtool tmux tcpdump iputils-ping conntrack runc ;;
    bench) echo bpftrace ;;
    vm) echo qemu-system-x86 kmod xz-utils zstd python3 gcc libc6-dev ;;
    lint) echo clang-format-14 clang-tidy-19 python3 ;;
    *) die "no package group '$1'" ;;
  esac
}

missing_packages() {
  local package
  for package in $(packages_of "$1"); do
    # Any architecture and any state but "installed" counts as missing.
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
  done
}

# The mirror's list, at most once in a run of ./dev.
apt_updated=
update_package_lists() {
  [ -z "$apt_updated" ] || return 0
  apt_updated=1
  say "apt-get update"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq || warn "apt-get update failed; trying with the lists that are here"
}

# The compiler of the BPF programs: clang-19 where the mirror has it, else clang-14 of Debian 12's first release.
available_names() {
  local name
  for name in "$@"; do
    if apt-cache show "$name" >/dev/null 2>&1; then
      echo "$name"
    else
      case $name in
        clang-19) echo clang-14 ;;
        llvm-19) echo llvm-14 ;;
        *) echo "$name" ;;
      esac
    fi
  done
}

# ensure GROUP...: installs the packages of these groups that are missing, and says so; needs root only if any are.
ensure() {
  local group missing
  for group in "$@"; do
    missing=$(missing_packages "$group")
    [ -n "$missing" ] || continue
    command -v apt-get >/dev/null || die "this is not Debian (no apt-get); needed to $group: $missing"
    [ "$(id -u)" = 0 ] || die "missing packages to $group: ${missing% } - run this once as root: sudo ./dev ${command:-build}"
    update_package_lists
    say "installing to $group: ${missing% }"
    # shellcheck disable=SC2046,SC2086 # names are words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(available_names $missing) \
      </dev/null >/tmp/weir-apt.$$ 2>&1 || {
      tail -n 20 /tmp/weir-apt.$$ >&2
      rm -f /tmp/weir-apt.$$
      die "apt-get could not install what is needed to $group"
    }
    rm -f /tmp/weir-apt.$$
  done
}

on_off() { if [ -z "$(missing_packages "$1")" ]; then echo ON; else echo OFF; fi; }

# configure PRESET: once, and again when the packages for tests have come. Ninja sees changed CMake files.
configure() {
  local preset=$1 cache="build/$1/CMakeCache.txt" tests
  tests=$(on_off test)
  if [ -f "$cache" ] && [ -f "build/$preset/build.ninja" ] && grep -q "^WEIR_BUILD_TESTS:[A-Z]*=$tests\$" "$cache" &&
    grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$WEIR_ROOT" "$cache"; then
    return
  fi
  # A folder configured for another place (a copied checkout) or half configured is of no use.
  if [ -f "$cache" ] && ! grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$WEIR_ROOT" "$cache"; then rm -rf "build/$preset"; fi
  say "configuring build/$preset"
  cmake --preset "$preset" --log-level=WARNING -DWEIR_BUILD_TESTS="$tests" >/dev/null
}

# build PRESET [TARGET...]: all targets unless some are named.
build() {
  local preset=$1
  shift
  configure "$preset"
  say "building build/$preset${*:+ ($*)}"
  # Paths inside the checkout do not matter to the compiler cache: a second clone finds what the first one compiled.
  CCACHE_BASEDIR=$WEIR_ROOT CCACHE_NOHASHDIR=1 NINJA_STATUS='[%f/%t] ' \
    cmake --build "build/$preset" -j "$JOBS" ${*:+--target "$@"}
}

need_root() {
  [ "$(id -u)" = 0 ] || {
    warn "'./dev $command' loads BPF programs and makes namespaces: run it as root (sudo ./dev $command)"
    exit 3
  }
}
