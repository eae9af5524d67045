/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls both filter slots on what user space puts into `packet`; runs by BPF_PROG_TEST_RUN only. */
#include "observe/trace/filter/bpf/filter_vlan.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u8 packet[2048];
__u32 captured;
__u32 length;
__u32 tag;
__u64 address; /* of `packet` in the kernel, as a mere number: the way a tracepoint finds it in a socket buffer */

WEIR_FILTER_SLOT(weir_filter_link);
WEIR_FILTER_SLOT(weir_filter_network);

SEC("tc")
int remember(struct __sk_buff* skb) {
  address = (__u64)packet;
  return 0;
}

SEC("tc")
int link_wanted(struct __sk_buff* skb) {
  return (int)weir_filter_link(address, captured, length);
}

SEC("tc")
int network_wanted(struct __sk_buff* skb) {
  return (int)weir_filter_network(address, captured, length);
}

SEC("tc")
int tagged_wanted(struct __sk_buff* skb) {
  return (int)weir_filter_link_tagged(address, captured, length, tag);
}

/* As in a tracepoint program: one that has state of its own around the call. */
SEC("tc")
int both_wanted(struct __sk_buff* skb) {
  const __u32 before = skb->len;
  const __u32 link = weir_filter_link(address, captured, length);
  const __u32 network = weir_filter_network(address, captured, length);
  return (link ? 1 : 0) | (network ? 2 : 0) | (skb->len == before ? 4 : 0);
}
