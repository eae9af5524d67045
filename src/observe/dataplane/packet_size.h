/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How large a packet is: computed once a hook, for every account. */
#pragma once

#include "weir_memory.h"

/* skb_shinfo(skb)->gso_segs; a packet that is not GSO counts as one. */
static __always_inline __u32 wire_packets(const struct sk_buff* skb) {
  const void* info = skb->head + skb->end;
  __u16 segments = 0;
  if (have_rdonly_cast) {
    const struct skb_shared_info* shared = bpf_rdonly_cast(info, bpf_core_type_id_kernel(struct skb_shared_info));
    segments = shared->gso_segs;
  } else {
    bpf_probe_read_kernel(&segments, sizeof(segments), info + bpf_core_field_offset(struct skb_shared_info, gso_segs));
  }
  return segments ? segments : 1;
}

/* skb->data stands behind the link-layer header at netif_receive_skb; the device's own counters include it. */
static __always_inline __u64 received_bytes(const struct sk_buff* skb) {
  return skb->len + ((__u64)skb->data - (__u64)skb->head - skb->mac_header);
}
