/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who chose the tx queue: replays netdev_core_pick_tx() and netdev_pick_tx() (net/core/dev.c) rule by rule for a packet
 * that has its queue, and compares. Runs on sampled packets only, so it may read through pointers that are not trusted.
 */
#pragma once

#include "observe/queues/bpf/queues_abi.h"
#include "weir_kernel.h"

#define WEIR_NO_QUEUE (-1)
#define NO_QUEUE_MAPPING 0xFFFF /* include/net/sock.h: nothing cached in the socket */
#define SKC_TIME_WAIT 6         /* TCP_TIME_WAIT, TCP_NEW_SYN_RECV: no full socket behind the pointer (sk_fullsock()) */
#define SKC_NEW_SYN_RECV 12

/* Where the choice is made: the queues open to this packet's traffic class. */
struct pick_input {
  const struct sk_buff* skb;
  const struct net_device* dev;
  __u32 real_queues;
  __u32 class_offset;
  __u32 class_count;
  __u32 traffic_class;
  __u32 hash;
};

/* reciprocal_scale(), include/linux/kernel.h */
static __always_inline __u32 scale_to(__u32 value, __u32 bound) {
  return (__u32)(((__u64)value * bound) >> 32);
}

static __always_inline void pick_input_init(struct pick_input* in, const struct sk_buff* skb,
                                            const struct net_device* dev) {
  in->skb = skb;
  in->dev = dev;
  in->real_queues = dev->real_num_tx_queues;
  in->hash = skb->hash;
  in->class_offset = 0;
  in->class_count = in->real_queues;
  in->traffic_class = 0;
  if (dev->num_tc == 0) return;
  __u8 tc = 0;
  struct netdev_tc_txq range = {};
  bpf_probe_read_kernel(&tc, sizeof(tc), &dev->prio_tc_map[skb->priority & 15]);
  tc &= 15;
  bpf_probe_read_kernel(&range, sizeof(range), &dev->tc_to_txq[tc]);
  in->traffic_class = tc;
  if (range.count == 0) return;
  in->class_offset = range.offset;
  in->class_count = range.count;
}

/* __get_xps_queue_idx() for dev->xps_maps[kind] (0: XPS_CPUS, 1: XPS_RXQS) and a member (CPU or rx queue). The maps are
 * read by address: the verifier allows no computed index behind a typed pointer. */
static __always_inline int xps_queue_of(const struct pick_input* in, __u32 kind, __u32 member) {
  __u64 maps = 0;
  bpf_probe_read_kernel(&maps, sizeof(maps), &in->dev->xps_maps[kind]);
  if (!maps) return WEIR_NO_QUEUE;
  __s16 classes = 0;
  __u32 members = 0;
  bpf_probe_read_kernel(&classes, sizeof(classes), (void*)(maps + bpf_core_field_offset(struct xps_dev_maps, num_tc)));
  bpf_probe_read_kernel(&members, sizeof(members), (void*)(maps + bpf_core_field_offset(struct xps_dev_maps, nr_ids)));
  if ((int)in->traffic_class >= classes || member >= members) return WEIR_NO_QUEUE;
  __u64 map = 0;
  const __u64 at = (__u64)member * classes + in->traffic_class;
  bpf_probe_read_kernel(&map, sizeof(map),
                        (void*)(maps + bpf_core_field_offset(struct xps_dev_maps, attr_map) + at * sizeof(map)));
  if (!map) return WEIR_NO_QUEUE;
  __u32 length = 0;
  bpf_probe_read_kernel(&length, sizeof(length), (void*)(map + bpf_core_field_offset(struct xps_map, len)));
  const __u32 index = length <= 1 ? 0 : scale_to(in->hash, length);
  __u16 queue = 0;
  bpf_probe_read_kernel(&queue, sizeof(queue),
                        (void*)(map + bpf_core_field_offset(struct xps_map, queues) + index * sizeof(queue)));
  return queue < in->real_queues ? queue : WEIR_NO_QUEUE;
}

/* get_xps_queue(): by the socket's rx queue, then by the CPU that sends (sender_cpu is that CPU + 1 once a queue is
 * picked). */
static __always_inline int xps_queue(const struct pick_input* in, const struct sock* sk) {
  int queue = WEIR_NO_QUEUE;
  if (sk && bpf_core_field_exists(sk->__sk_common.skc_rx_queue_mapping)) {
    const __u16 rx = sk->__sk_common.skc_rx_queue_mapping;
    if (rx != NO_QUEUE_MAPPING) queue = xps_queue_of(in, 1, rx);
  }
  if (queue < 0) queue = xps_queue_of(in, 0, in->skb->sender_cpu - 1);
  return queue;
}

/* skb_tx_hash() with a recorded rx queue `mapping - 1`. The kernel subtracts in a loop; modulo gives the same. */
static __always_inline __u32 recorded_queue(const struct pick_input* in, __u32 mapping) {
  __u32 queue = mapping - 1;
  if (queue >= in->class_offset) queue -= in->class_offset;
  return in->class_offset + (in->class_count ? queue % in->class_count : 0);
}

/* `mapping` is skb->queue_mapping as it stood before the pick, or -1 where no hook saw it. */
static __always_inline enum weir_queue_rule queue_rule(const struct sk_buff* skb, const struct net_device* dev,
                                                       int mapping) {
  struct pick_input in;
  pick_input_init(&in, skb, dev);
  if (in.real_queues <= 1) return WEIR_RULE_SINGLE;
  const __u32 chosen = skb->queue_mapping;

  const struct sock* sk = skb->sk;
  if (sk) {
    const __u8 state = sk->__sk_common.skc_state;
    if (state == SKC_TIME_WAIT || state == SKC_NEW_SYN_RECV) sk = NULL;
  }
  const int by_xps = xps_queue(&in, sk);
  if (by_xps >= 0 && (__u32)by_xps == chosen) return WEIR_RULE_XPS;
  const bool hash_gives_it = in.hash && in.class_offset + scale_to(in.hash, in.class_count) == chosen;
  if (by_xps < 0 && mapping > 0 && recorded_queue(&in, mapping) == chosen)
    return hash_gives_it ? WEIR_RULE_RECORDED_OR_CLEARED : WEIR_RULE_RECORDED;
  if (by_xps < 0 && hash_gives_it) return mapping > 0 ? WEIR_RULE_CLEARED : WEIR_RULE_HASH;
  /* The socket repeats an older choice; when that choice is still what the rules say, the rule was named above. */
  if (sk && sk->__sk_common.skc_tx_queue_mapping == chosen) return WEIR_RULE_SOCKET;
  if (hash_gives_it) return WEIR_RULE_HASH;
  return dev->netdev_ops->ndo_select_queue ? WEIR_RULE_DRIVER : WEIR_RULE_UNEXPLAINED;
}
