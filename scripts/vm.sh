# ./dev vm KERNEL [-- CMD ...]: runs CMD (default: a look at what the kernel offers) on another kernel, in qemu, with this
# machine's root file system, read-only under an overlay that ends with the guest. Emulated: about 20 times slower.
. "$WEIR_ROOT/tests/vm/fetch_kernel.sh"

VM_CACHE=${WEIR_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir-vm}
VM_BOOT_S=60                          # a guest that has not reached its command by then is started again
VM_BOOT_TRIES=3
VM_LIMIT_S=${WEIR_VM_LIMIT_S:-1200}   # for the command
VM_CPUS=${WEIR_VM_CPUS:-2}
VM_KERNELS="6.1 6.12"

# prepare_kernel KERNEL: once a kernel, and the initrd again when its parts have changed.
prepare_kernel() {
  local kernel=$1 folder=$VM_CACHE/$1 init
  mkdir -p "$VM_CACHE"
  exec 9>"$VM_CACHE/$kernel.lock"
  flock 9
  [ -s "$folder/version" ] || fetch_kernel "$kernel" "$folder"
  if [ ! -s "$folder/initrd" ] || [ "$WEIR_ROOT/tests/vm/init.c" -nt "$folder/initrd" ] ||
    [ "$WEIR_ROOT/tests/vm/initrd.py" -nt "$folder/initrd" ]; then
    init=$(mktemp "$VM_CACHE/init.XXXXXX")
    gcc -O2 -Wall -Wextra -static -o "$init" "$WEIR_ROOT/tests/vm/init.c"
    python3 "$WEIR_ROOT/tests/vm/initrd.py" "$folder/root" "$(<"$folder/version")" "$init" "$folder/initrd.new"
    mv "$folder/initrd.new" "$folder/initrd"
    rm -f "$init"
  fi
  exec 9>&-
}

# start_guest FOLDER SHARE: qemu in the background; its process id in $qemu.
start_guest() {
  local folder=$1 share=$2
  qemu-system-x86_64 -machine q35 -accel tcg,thread=single -cpu Nehalem -smp "$VM_CPUS" -m 1G -nodefaults -no-user-config \
    -display none -no-reboot -serial file:"$share/console" \
    -kernel "$folder/vmlinux" -initrd "$folder/initrd" \
    -append "console=ttyS0 quiet panic=-1 reboot=t mitigations=off nokaslr no_timer_check maxcpus=1" \
    -virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
    -virtfs local,path="$share",mount_tag=share,security_model=none </dev/null 2>"$share/qemu" &
  qemu=$!
}

# await_file FILE SECONDS: until the guest has made it, or has ended, or the time is up.
await_file() {
  local file=$1 end=$((SECONDS + $2))
  until [ -e "$file" ]; do
    kill -0 "$qemu" 2>/dev/null && [ $SECONDS -lt $end ] || return 1
    sleep 0.1
  done
}

end_guest() {
  [ -n "${qemu:-}" ] || return 0
  kill -KILL "$qemu" 2>/dev/null || true
  wait "$qemu" 2>/dev/null || true
  qemu=
}

boot() {
  local kernel=$1 share=$2 attempt
  for attempt in $(seq "$VM_BOOT_TRIES"); do
    rm -f "$share/started"
    start_guest "$VM_CACHE/$kernel" "$share"
    if await_file "$share/started" "$VM_BOOT_S"; then return; fi
    end_guest
    warn "the guest did not come up (attempt $attempt of $VM_BOOT_TRIES): $(tail -n 1 "$share/qemu" "$share/console" 2>/dev/null)"
  done
  return 1
}

# run_in_guest KERNEL CMD...: what CMD prints, and its exit code. 1 when the guest breaks.
run_in_guest() {
  local kernel=$1 share code
  shift
  share=$(mktemp -d "${TMPDIR:-/tmp}/weir-vm.XXXXXX")
  qemu=
  trap 'end_guest; rm -rf "'"$share"'"' EXIT
  trap 'exit 130' INT TERM
  cp "$WEIR_ROOT/tests/vm/guest.sh" "$share/guest.sh"
  echo "$VM_CACHE/$kernel/root/usr/lib/modules" >"$share/modules"
  { printf 'cd %q\n' "$PWD" && printf '%q ' "$@" && echo; } >"$share/command"
  : >"$share/stdout"
  : >"$share/stderr"
  boot "$kernel" "$share" || die "Linux $kernel could not be started"
  tail -q --pid="$qemu" -s 0.2 -n +1 -f "$share/stdout" &
  tail -q --pid="$qemu" -s 0.2 -n +1 -f "$share/stderr" >&2 &
  await_file "$share/code" "$VM_LIMIT_S" || true
  code=$(cat "$share/code" 2>/dev/null || true)
  if [ -n "$code" ]; then await_end; fi
  end_guest
  wait
  [ -n "$code" ] || die "the guest broke or took more than $VM_LIMIT_S s: $(tail -n 5 "$share/console")"
  return "$code"
}

# The guest has said its last word and resets: give it a moment.
await_end() { timeout 10 tail --pid="$qemu" -f /dev/null || true; }

vm_main() {
  local kernel=${1:-}
  [ -n "$kernel" ] || {
    echo "usage: ./dev vm KERNEL [-- CMD ...]   KERNEL: $VM_KERNELS" >&2
    exit 2
  }
  shift
  [ "${1:-}" != -- ] || shift
  kernel_source "$kernel" >/dev/null || {
    warn "unknown kernel '$kernel'; there are: $VM_KERNELS"
    exit 2
  }
  need_root
  ensure build lab vm
  prepare_kernel "$kernel"
  if [ $# -eq 0 ]; then
    build release weir >&2
    set -- ./build/release/weir capabilities
  fi
  run_in_guest "$kernel" "$@"
}

vm_main "$@"
