#!/bin/sh
# Makes the fake machines of this directory: the files of /proc and /sys that Weir reads, and no others. Run it after a
# change and commit what it writes: `tests/data/root/make.sh`.
set -eu
cd "$(dirname "$0")"

# put FILE TEXT
put() {
  mkdir -p "$(dirname "$1")"
  printf '%s\n' "$2" > "$1"
}

# host MACHINE KERNEL CPUS
host() {
  rm -rf "$1"
  put "$1/proc/sys/kernel/hostname" "$1"
  put "$1/proc/sys/kernel/osrelease" "$2"
  put "$1/sys/devices/system/cpu/online" "$3"
}

# node MACHINE NUMBER CPUS
node() { put "$1/sys/devices/system/node/node$2/cpulist" "$3"; }

# nic MACHINE NAME IFINDEX MTU DRIVER BUS: a device that is up and has a driver
nic() {
  net="$1/sys/class/net/$2"
  put "$net/ifindex" "$3"
  put "$net/flags" 0x1003
  put "$net/mtu" "$4"
  mkdir -p "$1/sys/devices/$6"
  ln -s "../../../devices/$6" "$net/device"
  ln -s "../../bus/drivers/$5" "$1/sys/devices/$6/driver"
}

# lo MACHINE: loopback; one queue, no XPS
lo() {
  put "$1/sys/class/net/lo/ifindex" 1
  put "$1/sys/class/net/lo/flags" 0x9
  put "$1/sys/class/net/lo/mtu" 65536
  put "$1/sys/class/net/lo/queues/tx-0/tx_timeout" 0
  put "$1/sys/class/net/lo/queues/rx-0/rps_cpus" 0
}

# mask N WORDS [M]: a mask of WORDS 32-bit words with the bits N and M
mask() {
  text=
  word=$(($2 - 1))
  while [ "$word" -ge 0 ]; do
    value=0
    for bit in "$1" "${3:-$1}"; do
      [ $((bit / 32)) -ne "$word" ] || value=$((value | 1 << bit % 32))
    done
    text="$text${text:+,}$(printf %08x "$value")"
    word=$((word - 1))
  done
  echo "$text"
}

# Two sockets of 32 cores with two threads each, and a NIC with one queue a core: queue q belongs to the two threads of
# core q, as the driver sets it up.
host two-socket-64q 6.1.0-18-amd64 0-127
node two-socket-64q 0 0-31,64-95
node two-socket-64q 1 32-63,96-127
lo two-socket-64q
nic two-socket-64q ens1f0np0 2 9000 mlx5_core 0000:3b:00.0
q=0
while [ $q -lt 64 ]; do
  put "two-socket-64q/sys/class/net/ens1f0np0/queues/tx-$q/xps_cpus" "$(mask $q 4 $((q + 64)))"
  put "two-socket-64q/sys/class/net/ens1f0np0/queues/rx-$q/rps_cpus" 00000000,00000000,00000000,00000000
  q=$((q + 1))
done

# The smallest virtual machine: one CPU, one queue. A device with one queue has no xps_cpus that could be read.
host one-queue-vm 6.1.0-18-cloud-amd64 0
node one-queue-vm 0 0
lo one-queue-vm
nic one-queue-vm ens3 2 1500 virtio_net virtio0
put one-queue-vm/sys/class/net/ens3/queues/tx-0/tx_timeout 0
put one-queue-vm/sys/class/net/ens3/queues/rx-0/rps_cpus 0

# A cloud instance whose driver, before Linux 6.9, returned the recorded rx queue from its ndo_select_queue: no XPS is
# set and yet the queue is not chosen by the hash.
host ena-select-queue-defect 5.15.0-1056-aws 0-7
node ena-select-queue-defect 0 0-7
lo ena-select-queue-defect
nic ena-select-queue-defect ens5 2 9001 ena 0000:00:05.0
q=0
while [ $q -lt 8 ]; do
  put "ena-select-queue-defect/sys/class/net/ens5/queues/tx-$q/xps_cpus" 00
  put "ena-select-queue-defect/sys/class/net/ens5/queues/rx-$q/rps_cpus" 00
  q=$((q + 1))
done
