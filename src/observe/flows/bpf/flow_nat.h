/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The connection of a flow, where conntrack rewrites it. */
#pragma once

#include "observe/flows/bpf/flow_state.h"
#include "weir_conntrack.h"

#define FLOW_AF_INET6 10

static __always_inline void flow_copy_tuple(struct weir_flow_tuple* to, const struct raw_tuple_hash* from) {
  __builtin_memcpy(to->source, from->source, sizeof(to->source));
  __builtin_memcpy(to->destination, from->destination, sizeof(to->destination));
  to->source_port = bpf_ntohs(from->source_port);
  to->destination_port = bpf_ntohs(from->destination_port);
  to->ethertype = from->l3num == FLOW_AF_INET6 ? 0x86DD : 0x0800;
  to->protocol = from->protocol;
  to->pad = 0;
}

static __always_inline bool flow_same_end(const __u8* a, __u16 a_port, const __u8* b, __u16 b_port) {
  const __u32* x = (const void*)a;
  const __u32* y = (const void*)b;
  return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && a_port == b_port;
}

/* Of ICMP the "ports" are type, code and id, which a reply has otherwise. */
static __always_inline bool flow_is_rewritten(const struct raw_tuple_hash* original,
                                              const struct raw_tuple_hash* reply) {
  const bool ports = original->protocol != 1 && original->protocol != 58;
  return !flow_same_end(original->source, ports ? original->source_port : 0, reply->destination,
                        ports ? reply->destination_port : 0) ||
         !flow_same_end(original->destination, ports ? original->destination_port : 0, reply->source,
                        ports ? reply->source_port : 0);
}

/* Looked at with a flow's first packet, and with each that opens a connection: one is rewritten from then on. */
static __noinline int flow_connection(const struct weir_flow_id* id, const struct sk_buff* skb) {
  const struct nf_conn* connection = weir_connection(skb->_nfct);
  if (!connection) return 0;
  struct raw_tuple_hash original;
  struct raw_tuple_hash reply;
  if (weir_read_tuple(&original, connection, 0) || weir_read_tuple(&reply, connection, 1)) return 0;
  if (!flow_is_rewritten(&original, &reply)) return 0;
  struct weir_flow_nat nat = {};
  flow_copy_tuple(&nat.original, &original);
  flow_copy_tuple(&nat.reply, &reply);
  if (bpf_core_field_exists(connection->zone)) bpf_core_read(&nat.zone, sizeof(nat.zone), &connection->zone.id);
  if (bpf_core_field_exists(connection->mark)) bpf_core_read(&nat.mark, sizeof(nat.mark), &connection->mark);
  if (bpf_map_update_elem(&flow_nats, id, &nat, BPF_ANY) != 0) flow_stat_add(WEIR_FLOW_STAT_NAT_LOST, 1);
  return 0;
}
