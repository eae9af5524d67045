/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the queue programs and observe/queues: included and size-asserted by both compilers. */
#pragma once

#include "bpf/include/weir_abi.h"

/* Key of the exact counters: one row a namespace, device, direction and queue. */
struct weir_queue_key {
  __u64 netns;
  __u32 ifindex;
  __u16 queue;
  __u8 direction; /* enum weir_direction */
  __u8 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_queue_key) == 16);

/* Cumulative, one copy a CPU. */
struct weir_queue_count {
  __u64 packets;
  __u64 bytes;
  __u64 wire_packets;
};
WEIR_ABI_ASSERT(sizeof(struct weir_queue_count) == 24);

/* A row of a CPU's own table of exact counters. Free while `place` is 0; half claimed, without a count, while `netns`
 * is 0 (the kernel numbers namespaces from 1). `place` is what of the key lies inside the namespace. */
struct weir_queue_row {
  __u64 netns;
  __u64 place; /* ifindex | queue << 32 | direction << 48 */
  struct weir_queue_count count;
};
WEIR_ABI_ASSERT(sizeof(struct weir_queue_row) == 40);

/* Who chose, in the order of model::QueueRule; what follows WEIR_RULE_COUNT the reader turns into one of these. */
enum weir_queue_rule {
  WEIR_RULE_HASH = 0,
  WEIR_RULE_XPS = 1,
  WEIR_RULE_RECORDED = 2,
  WEIR_RULE_SOCKET = 3,
  WEIR_RULE_DRIVER = 4,
  WEIR_RULE_SINGLE = 5,
  WEIR_RULE_UNEXPLAINED = 6,
  WEIR_RULE_COUNT = 7,
  /* A queue was recorded, yet the hash's queue was taken: something cleared it behind the last hook that saw it. */
  WEIR_RULE_CLEARED = WEIR_RULE_COUNT,
  WEIR_RULE_RECORDED_OR_CLEARED = 8, /* the recorded queue and the hash's are the same: cannot be told apart */
};

/* Sampled transmitted packets by where they came from, the queue they got and the rule that gave it. */
struct weir_choice_key {
  __u64 netns;
  __u32 ifindex;
  __u32 origin_ifindex; /* skb_iif: the device of this namespace that received it; 0: sent by a local socket */
  __u16 queue;
  __u8 rule; /* enum weir_queue_rule */
  __u8 pad[5];
};
WEIR_ABI_ASSERT(sizeof(struct weir_choice_key) == 24);

/* Sampled transmitted packets by flow, and by the CPU that picked the queue. */
enum weir_flow_kind { WEIR_FLOW_HASH = 0, WEIR_FLOW_CPU = 1 };
struct weir_flow_key {
  __u64 netns;
  __u32 ifindex;
  __u32 value; /* flow hash, or CPU number */
  __u32 kind;  /* enum weir_flow_kind */
  __u32 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_key) == 24);

/* What the data plane could not keep, and its sampling state; one copy a CPU. */
enum weir_data_stat {
  WEIR_STAT_LOST = 0,        /* packets counted nowhere: no room in queue_counts */
  WEIR_STAT_SAMPLE_LOST = 1, /* sampled packets without room in queue_choices */
  WEIR_STAT_FLOW_LOST = 2,   /* sampled packets without room in queue_flows */
  WEIR_STAT_COUNTDOWN = 3,   /* not a counter: packets until the next sample */
  WEIR_STAT_COUNT = 4,
};

/* What is remembered of a packet between its hooks; direct-mapped by the address of the skb, verified by it. */
struct weir_packet_slot {
  __u64 skb;
  __u32 ifindex;       /* device of the last hook */
  __u16 queue_mapping; /* raw: 0 unset, k + 1 recorded queue k */
  __u16 before_pick;   /* 1: read at the device's egress, right before the queue is picked */
};
WEIR_ABI_ASSERT(sizeof(struct weir_packet_slot) == 16);
#define WEIR_PACKET_SLOTS 16384
