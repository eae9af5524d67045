/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_account_tx() and flow_account_rx(): the part of the data plane that observe/flows reads. One dissection, one
 * look into a table, two additions. */
#pragma once

#include "observe/flows/bpf/flow_elephant.h"
#include "observe/flows/bpf/flow_nat.h"
#include "observe/flows/bpf/flow_overflow.h"
#include "observe/flows/bpf/flow_tuple.h"

#define FLOW_TCP_FIN 1
#define FLOW_TCP_SYN 2
#define FLOW_TCP_TIME_WAIT 6
#define FLOW_TCP_NEW_SYN_RECV 12

/* What the sending socket says; looked at once a tick and flow, because it changes slowly. */
static __always_inline void flow_socket(struct weir_flow_count* flow, const struct weir_flow_id* id,
                                        const struct sk_buff* skb) {
  const struct sock* sk = skb->sk;
  if (!sk) return;
  /* Of a connection that is being made or has ended there is only a small part of a socket. */
  const __u8 state = sk->__sk_common.skc_state;
  if (state == FLOW_TCP_TIME_WAIT || state == FLOW_TCP_NEW_SYN_RECV) return;
  const struct cgroup* cgroup = sk->sk_cgrp_data.cgroup;
  if (cgroup) flow->cgroup = cgroup->kn->id;
  if (id->protocol != FLOW_TCP) return;
  const struct tcp_sock* tcp = (const void*)sk;
  __u32 srtt = 0;
  __u32 retransmits = 0;
  if (bpf_core_read(&srtt, sizeof(srtt), &tcp->srtt_us) ||
      bpf_core_read(&retransmits, sizeof(retransmits), &tcp->total_retrans))
    return;
  flow->srtt_us = srtt;
  flow->retransmits = retransmits;
  flow->has_tcp = 1;
}

static __always_inline void flow_account(const struct sk_buff* skb, const struct net_device* dev,
                                         const unsigned char* network, __u8 direction, __u64 bytes, __u32 wire) {
  struct weir_flow_id id = {.netns = weir_dev_netns(dev), .ifindex = dev->ifindex, .direction = direction};
  struct flow_transport transport = {};
  flow_identify(&id, skb, network, &transport);
  const __u8 tcp_flags = transport.tcp_flags;
  const __u64 now = flow_now();
  const __u64 hash = hash_flow(&id);
  struct weir_flow_count* flow = flow_of(&id, hash, now);
  if (!flow) {
    flow_overflow(&id, hash, bytes, now);
    return;
  }
  const __u64 before = flow->last_ns;
  __sync_fetch_and_add(&flow->bytes, bytes);
  __sync_fetch_and_add(&flow->packets, 1);
  if (wire > 1) {
    const __u64 headers = (__u64)(network - skb->head) - skb->mac_header + transport.before + transport.header;
    __sync_fetch_and_add(&flow->extra_packets, wire - 1);
    __sync_fetch_and_add(&flow->extra_bytes, (wire - 1) * headers);
  }
  if ((flow->tcp_flags & tcp_flags) != tcp_flags) flow->tcp_flags |= tcp_flags;
  if (now > before) {
    flow->last_ns = now;
    if (direction == WEIR_TX) flow_socket(flow, &id, skb);
  } else if (direction == WEIR_TX && tcp_flags & FLOW_TCP_FIN) {
    flow_socket(flow, &id, skb); /* of a connection that is over within a tick */
  }
  if (direction == WEIR_TX && (before == 0 || tcp_flags & FLOW_TCP_SYN)) flow_connection(&id, skb);
  judge_flow(&id, flow, bytes, before ? before : now, now);
}

/* skb->data stands at the link-layer header here. */
static __always_inline void flow_account_tx(const struct sk_buff* skb, const struct net_device* dev, __u32 wire) {
  const unsigned char* network = skb->data;
  if (dev->type == FLOW_ARPHRD_ETHER) network += 14;
  flow_account(skb, dev, network, WEIR_TX, skb->len, wire);
}

/* And behind it here; `bytes` includes it. */
static __always_inline void flow_account_rx(const struct sk_buff* skb, __u64 bytes, __u32 wire) {
  flow_account(skb, skb->dev, skb->data, WEIR_RX, bytes, wire);
}
