// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Empty programs at the data plane's hooks: what the kernel's clock reads for them is the price of reading the clock.
#include "weir_kernel.h"

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(floor_receive, struct sk_buff* skb) {
  return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(floor_transmit, struct sk_buff* skb, struct net_device* dev) {
  return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
