# What a test or a killed Weir could leave on a host, as sorted lines: `leaks_snapshot > before`, later `leaks_since before`.

# One line an object; ids of BPF objects never repeat, so a new id is a new object. Programs that systemd makes for its
# own units (sd_…) come and go by themselves.
bpf_objects() {
  [ "$(id -u)" = 0 ] && command -v bpftool >/dev/null || return 0
  python3 - <<'PY'
import json, subprocess
for kind in ("link", "prog", "map"):
    run = subprocess.run(["bpftool", "-j", kind, "show"], capture_output=True, text=True)
    try:
        objects = json.loads(run.stdout)
    except ValueError:
        continue
    for o in objects if isinstance(objects, list) else []:
        name = o.get("name", "")
        if not name.startswith("sd_"):
            print(f"bpf {kind} {o['id']} {o.get('type', '')} {name}".rstrip())
PY
}

leaks_snapshot() (
  set +e +o pipefail # what is absent or vanishes while being listed is no failure
  {
    bpf_objects
    ls -A /run/netns 2>/dev/null | sed 's/^/netns /'
    # `ip netns add` makes /run/netns a mount of its own once in the life of a host and never takes it back: not counted.
    # Fields 4.. of mountinfo: root, mount point and file system, without the ids that change.
    awk '{ if ($5 != "/run/netns") print "mount", $4, $5, $NF }' /proc/self/mountinfo
    ip -o link show 2>/dev/null | awk -F': ' '{ print "device", $2 }'
    tc qdisc show 2>/dev/null | sed 's/^/qdisc /'
    for dev in /sys/class/net/*; do
      for hook in ingress egress; do
        tc filter show dev "${dev##*/}" $hook 2>/dev/null | sed "s/^/filter ${dev##*/} $hook /"
      done
    done
    find /run/weir /var/lib/weir /sys/fs/bpf -mindepth 1 2>/dev/null | sed 's/^/file /'
    # Processes of this checkout's programs that still run.
    for exe in /proc/[0-9]*/exe; do
      case $(readlink "$exe" 2>/dev/null) in
        "$WEIR_ROOT"/build/*) exe=${exe%/exe} && echo "process ${exe#/proc/} $(tr '\0' ' ' <"$exe/cmdline" 2>/dev/null)" ;;
      esac
    done
  } | LC_ALL=C sort -u
)

# leaks_since FILE: prints what is there now and was not then; the kernel frees programs and maps a moment after their
# last user has gone, so it asks again until nothing is left over or ten seconds are gone.
leaks_since() {
  local before=$1 end=$((SECONDS + 10)) left
  while :; do
    left=$(LC_ALL=C comm -13 "$before" <(leaks_snapshot))
    [ -n "$left" ] || return 0
    [ $SECONDS -lt $end ] || break
    sleep 0.2
  done
  printf '%s\n' "$left"
  return 1
}
