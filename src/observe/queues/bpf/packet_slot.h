/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The memory of a packet between two hooks. A shared array, not per CPU: a qdisc may hand the packet to another CPU.
 * A slot is checked by the skb's address; a collision or a reused address costs one sampled packet its attribution,
 * never a counter its correctness. */
#pragma once

#include "observe/queues/bpf/queues_abi.h"
#include "weir_kernel.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, WEIR_PACKET_SLOTS);
  __type(key, __u32);
  __type(value, struct weir_packet_slot);
} packet_slots SEC(".maps");

/* sk_buffs are 256 bytes apart (SLAB_HWCACHE_ALIGN): multiply to spread what is left of the address (Knuth 6.4). */
static __always_inline __u32 packet_slot_index(const struct sk_buff* skb, __u32 slots) {
  return ((low_half(skb) >> 8) * 2654435761U) >> 8 & (slots - 1);
}

static __always_inline struct weir_packet_slot* packet_slot(const struct sk_buff* skb) {
  const __u32 index = packet_slot_index(skb, WEIR_PACKET_SLOTS);
  return bpf_map_lookup_elem(&packet_slots, &index);
}

static __always_inline void packet_slot_write(const struct sk_buff* skb, __u32 ifindex, __u16 mapping,
                                              bool before_pick) {
  struct weir_packet_slot* slot = packet_slot(skb);
  if (!slot) return;
  slot->skb = (__u64)skb;
  slot->ifindex = ifindex;
  slot->queue_mapping = mapping;
  slot->before_pick = before_pick;
}
