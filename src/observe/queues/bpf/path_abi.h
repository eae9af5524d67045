/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the path follower's programs and observe/queues. */
#pragma once

#include "observe/queues/bpf/queues_abi.h"

/* Where skb->queue_mapping is looked at, in the order in which a forwarded packet passes. */
enum weir_path_point {
  WEIR_POINT_NONE = 0,             /* before anything could look */
  WEIR_POINT_NETIF_RX = 1,         /* tracepoint net:netif_rx */
  WEIR_POINT_RECEIVE = 2,          /* tracepoint net:netif_receive_skb, before tc ingress */
  WEIR_POINT_TC_INGRESS_FIRST = 3, /* tcf_classify() of a clsact at ingress: as it begins, and as it returns */
  WEIR_POINT_TC_INGRESS_LAST = 4,
  WEIR_POINT_NF_PRE_FIRST = 5,
  WEIR_POINT_NF_PRE_LAST = 6,
  WEIR_POINT_NF_FORWARD_FIRST = 7,
  WEIR_POINT_NF_FORWARD_LAST = 8,
  WEIR_POINT_NF_OUT_FIRST = 9,
  WEIR_POINT_NF_OUT_LAST = 10,
  WEIR_POINT_NF_POST_FIRST = 11,
  WEIR_POINT_NF_POST_LAST = 12,
  WEIR_POINT_TC_EGRESS_FIRST = 13,
  WEIR_POINT_TC_EGRESS_LAST = 14,
  WEIR_POINT_EGRESS = 15,  /* tcx egress of the watched device, before the pick */
  WEIR_POINT_PICKING = 16, /* netdev_core_pick_tx() as it begins: the value that the pick goes by */
  WEIR_POINT_PICK = 17,    /* tracepoint net:net_dev_queue: the value is the tx queue that was picked */
  WEIR_POINT_COUNT = 18,
};

/* Packets bound for a watched device, by the last change of their queue_mapping. No change: both points NONE. */
struct weir_path_key {
  __u64 netns; /* the watched device */
  __u64 from_netns;
  __u64 to_netns;
  __u32 ifindex;
  __u32 origin_ifindex; /* skb_iif at the watched device */
  __u32 from_ifindex;
  __u32 to_ifindex;
  __u16 before;
  __u16 after;
  __u8 from_point; /* enum weir_path_point */
  __u8 to_point;
  __u8 pad[2];
};
WEIR_ABI_ASSERT(sizeof(struct weir_path_key) == 48);

struct weir_path_target {
  __u64 netns;
  __u32 ifindex;
  __u32 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_path_target) == 16);
