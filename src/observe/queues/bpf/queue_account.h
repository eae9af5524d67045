/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* queue_account_tx() and queue_account_rx(): the part of the data plane that observe/queues reads.
 * Every packet: one row of a per-CPU table and three additions. One packet in sample_rate: who chose the queue. */
#pragma once

#include "observe/queues/bpf/flow_hash.h"
#include "observe/queues/bpf/packet_slot.h"
#include "observe/queues/bpf/queue_pick.h"
#include "observe/queues/bpf/queue_rows.h"
#include "observe/queues/bpf/queues_abi.h"

const volatile __u32 sample_rate = 64; /* one transmitted packet in this many, on average; 0: none */

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, struct weir_choice_key);
  __type(value, __u64);
} queue_choices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 32768);
  __type(key, struct weir_flow_key);
  __type(value, __u64);
} queue_flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_STAT_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} data_stats SEC(".maps");

static __always_inline __u64* data_stat(__u32 stat) {
  return bpf_map_lookup_elem(&data_stats, &stat);
}

static __always_inline void data_stat_add(__u32 stat) {
  __u64* value = data_stat(stat);
  if (value) *value += 1;
}

static __always_inline void queue_count(const struct net_device* dev, __u8 direction, __u16 queue, __u64 bytes,
                                        __u32 wire) {
  struct weir_queue_key key = {
      .netns = weir_dev_netns(dev), .ifindex = dev->ifindex, .queue = queue, .direction = direction};
  struct weir_queue_count* count = queue_row(&key);
  if (!count) {
    data_stat_add(WEIR_STAT_LOST);
    return;
  }
  count->packets += 1;
  count->bytes += bytes;
  count->wire_packets += wire;
}

/* A random gap between samples, 1 to 2 * rate - 1: a fixed one would always meet the same flow of a round-robin sender.
 */
static __always_inline bool sample_now(void) {
  if (sample_rate == 0) return false;
  __u64* countdown = data_stat(WEIR_STAT_COUNTDOWN);
  if (!countdown) return false;
  if (*countdown > 1) {
    *countdown -= 1;
    return false;
  }
  *countdown = sample_rate == 1 ? 1 : 1 + bpf_get_prandom_u32() % (2 * sample_rate - 1);
  return true;
}

static __always_inline void sampled_add(void* map, const void* key, __u32 lost) {
  __u64* count = bpf_map_lookup_elem(map, key);
  if (count) {
    __sync_fetch_and_add(count, 1);
    return;
  }
  const __u64 one = 1;
  if (bpf_map_update_elem(map, key, &one, BPF_NOEXIST) == 0) return;
  count = bpf_map_lookup_elem(map, key); /* another CPU was first, or the table is full */
  if (count)
    __sync_fetch_and_add(count, 1);
  else
    data_stat_add(lost);
}

/* skb->queue_mapping before the pick: what the device's egress hook or the receive hook saw; a packet of a local socket
 * has none unless a hook saw otherwise; -1: nobody looked. */
static __always_inline int mapping_before_pick(const struct sk_buff* skb, const struct net_device* dev) {
  const struct weir_packet_slot* slot = packet_slot(skb);
  if (slot && slot->skb == (__u64)skb) {
    if (slot->before_pick && slot->ifindex == (__u32)dev->ifindex) return slot->queue_mapping;
    if (!slot->before_pick && skb->skb_iif && slot->ifindex == (__u32)skb->skb_iif) return slot->queue_mapping;
  }
  return skb->skb_iif == 0 ? 0 : -1;
}

static __always_inline void queue_sample(const struct sk_buff* skb, const struct net_device* dev) {
  struct weir_choice_key choice = {.netns = weir_dev_netns(dev),
                                   .ifindex = dev->ifindex,
                                   .origin_ifindex = skb->skb_iif,
                                   .queue = skb->queue_mapping,
                                   .rule = queue_rule(skb, dev, mapping_before_pick(skb, dev))};
  sampled_add(&queue_choices, &choice, WEIR_STAT_SAMPLE_LOST);
  if (choice.rule == WEIR_RULE_SINGLE) return; /* one queue: flows and CPUs explain nothing */
  struct weir_flow_key flow = {
      .netns = choice.netns, .ifindex = dev->ifindex, .value = flow_hash(skb, dev), .kind = WEIR_FLOW_HASH};
  sampled_add(&queue_flows, &flow, WEIR_STAT_FLOW_LOST);
  flow.value = skb->sender_cpu - 1;
  flow.kind = WEIR_FLOW_CPU;
  sampled_add(&queue_flows, &flow, WEIR_STAT_FLOW_LOST);
}

static __always_inline void queue_account_tx(const struct sk_buff* skb, const struct net_device* dev, __u32 wire) {
  queue_count(dev, WEIR_TX, skb->queue_mapping, skb->len, wire);
  if (sample_now()) queue_sample(skb, dev);
}

static __always_inline void queue_account_rx(const struct sk_buff* skb, __u64 bytes, __u32 wire) {
  const struct net_device* dev = skb->dev;
  const __u16 mapping = skb->queue_mapping;
  queue_count(dev, WEIR_RX, mapping ? mapping - 1 : 0, bytes, wire);
  packet_slot_write(skb, dev->ifindex, mapping, false);
}
