/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The connection that a packet belongs to, as conntrack keeps it. */
#pragma once

#include "bpf/include/weir_abi.h"
#include "weir_kernel.h"

#define NFCT_INFO 7 /* the low bits of skb->_nfct: enum ip_conntrack_info */

/* include/net/netfilter/nf_conntrack_tuple.h: struct nf_conntrack_tuple_hash, unchanged since 2.6.30 but for names. */
struct raw_tuple_hash {
  __u64 node[2];
  __u8 source[16];
  __u16 source_port;
  __u16 l3num;
  __u8 destination[16];
  __u16 destination_port;
  __u8 protocol;
  __u8 direction;
};
WEIR_ABI_ASSERT(sizeof(struct raw_tuple_hash) == 56);

/* NULL: the packet has none, or this kernel's conntrack is not as we know it. */
static __always_inline const struct nf_conn* weir_connection(__u64 nfct) {
  const struct nf_conn* connection = (void*)(nfct & ~(__u64)NFCT_INFO);
  if (!connection || !bpf_core_type_exists(struct nf_conn)) return NULL;
  if (bpf_core_type_size(struct nf_conntrack_tuple_hash) != sizeof(struct raw_tuple_hash)) return NULL;
  return connection;
}

/* `reply`: 0 for the direction of the first packet, 1 for the other. Non-zero: it could not be read. */
static __always_inline long weir_read_tuple(struct raw_tuple_hash* tuple, const struct nf_conn* connection, int reply) {
  const __u64 tuples = (__u64)connection + bpf_core_field_offset(struct nf_conn, tuplehash);
  return bpf_probe_read_kernel(tuple, sizeof(*tuple), (void*)(tuples + (reply ? sizeof(*tuple) : 0)));
}
