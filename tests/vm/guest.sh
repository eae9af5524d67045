# Process 1 of a guest, in the host's root under an overlay: mounts what a system has, runs /run/weir-vm/command, leaves
# its exit code in /run/weir-vm/code and ends the machine.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb WEIR_IN_VM=1
share=/run/weir-vm
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p /usr/lib/modules
mount --bind "$(<"$share/modules")" /usr/lib/modules
modprobe tun # no udev here, which would have made /dev/net/tun for it to load at first use
ip link set lo up
for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
  [ ! -e "$cpu" ] || echo 1 >"$cpu"
done
: >"$share/started"
bash "$share/command" </dev/null >"$share/stdout" 2>"$share/stderr"
echo $? >"$share/code"
sync
echo b >/proc/sysrq-trigger
sleep 60 # process 1 must not end before the machine does
