// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Forgets a recorded receive queue, so that the device's own rules choose the transmit queue of the packet.
//
// skb->queue_mapping is 0 when nothing was recorded and k+1 for "received on queue k" (skb_record_rx_queue()); a
// recorded queue takes precedence over the flow hash in skb_tx_hash(). Same remedy as Cilium's reset_queue_mapping().
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
// The helpers need the types above.
#include <bpf/bpf_helpers.h>

// Packets that had a recorded queue, by CPU: what `bpftool map dump` shows while the mitigation is in place.
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, 1);
} weir_cleared SEC(".maps");

SEC("tc")
int weir_queue_fix(struct __sk_buff* skb) {
  const __u32 first = 0;
  __u64* cleared;

  if (!skb->queue_mapping) return TC_ACT_UNSPEC;
  skb->queue_mapping = 0;
  cleared = bpf_map_lookup_elem(&weir_cleared, &first);
  if (cleared) *cleared += 1;
  return TC_ACT_UNSPEC;  // the filters and qdiscs behind decide about the packet as if we were not here
}

char _license[] SEC("license") = "Dual BSD/GPL";
