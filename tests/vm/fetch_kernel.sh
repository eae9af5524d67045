# fetch_kernel KERNEL FOLDER: brings Debian's kernel of that series into FOLDER: root/ (its packages, unpacked), version,
# vmlinux, initrd. Debian's suites only, through directories of its own: the system's apt knows nothing of it.

# KERNEL -> archive, suite and the package that always depends on the newest of the series.
kernel_source() {
  case $1 in
    6.1) echo "http://deb.debian.org/debian-security bookworm-security linux-image-amd64" ;;
    6.12) echo "http://deb.debian.org/debian-security bookworm-security linux-image-6.12-amd64" ;;
    *) return 1 ;;
  esac
}

# apt-get or apt-cache with a world of its own in $apt.
private_apt() {
  local tool=$1
  shift
  "$tool" -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
    -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
    -o APT::Sandbox::User=root -o APT::Architecture=amd64 "$@"
}

# The packages that hold the kernel's files: its meta package is empty, and newer kernels are split over several.
kernel_packages() {
  local package=$1 dependency
  echo "$package"
  private_apt apt-cache depends --important --no-recommends "$package" |
    sed -n 's/^ *Depends: \(linux-\(image\|binary\|modules\|base\)-[0-9][^ ]*\)$/\1/p' | sort -u |
    while read -r dependency; do kernel_packages "$dependency"; done
}

fetch_kernel() {
  local kernel=$1 folder=$2 url suite package apt names version
  read -r url suite package <<<"$(kernel_source "$kernel")"
  apt=$folder/apt
  rm -rf "$folder"
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,packages}
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $url $suite main" >"$apt/sources.list"
  say "fetching Linux $kernel ($package of $suite)"
  private_apt apt-get update -qq
  names=$(kernel_packages "$package" | sort -u)
  # shellcheck disable=SC2086 # names are words
  (cd "$apt/packages" && private_apt apt-get download -qq $names)
  for package in "$apt"/packages/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
  version=$(basename "$folder"/root/boot/vmlinuz-*)
  version=${version#vmlinuz-}
  # Where the modules lie depends on the suite; in the guest they are under /usr/lib, and /lib leads there.
  if [ -d "$folder/root/lib/modules" ]; then
    mkdir -p "$folder/root/usr/lib"
    mv "$folder/root/lib/modules" "$folder/root/usr/lib/modules"
    rm -rf "$folder/root/lib"
  fi
  ln -s usr/lib "$folder/root/lib"
  depmod -b "$folder/root" "$version"
  python3 "$WEIR_ROOT/tests/vm/vmlinux.py" "$folder/root/boot/vmlinuz-$version" "$folder/vmlinux"
  rm -rf "$apt" "$folder/root/boot" "$folder/root/usr/share"
  echo "$version" >"$folder/version" # last: its presence says that the folder is whole
}
