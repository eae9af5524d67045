/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One dissection of a packet for every account that wants its tuple. */
#pragma once

#include "observe/flows/bpf/flows_abi.h"
#include "weir_kernel.h"
#include "weir_memory.h"

#define FLOW_ARPHRD_ETHER 1
#define FLOW_IP4 0x0800
#define FLOW_IP6 0x86DD
#define FLOW_VLAN 0x8100
#define FLOW_QINQ 0x88A8
#define FLOW_ICMP 1
#define FLOW_TCP 6
#define FLOW_UDP 17
#define FLOW_DCCP 33
#define FLOW_SCTP 132
#define FLOW_UDPLITE 136
#define FLOW_FRAGMENT 44
#define FLOW_MOST_EXTENSIONS 6

/* The network header with options, and what of the transport header is looked at. */
#define FLOW_HEADER_BYTES 80

struct flow_transport {
  __u8 tcp_flags;
  __u8 header;  /* bytes of the transport header */
  __u16 before; /* bytes in front of it, from `at` of flow_identify() on */
};

static __always_inline bool flow_has_ports(__u8 protocol) {
  return protocol == FLOW_TCP || protocol == FLOW_UDP || protocol == FLOW_SCTP || protocol == FLOW_DCCP ||
         protocol == FLOW_UDPLITE;
}

static __always_inline __u16 flow_u16(const __u8* at) {
  return (__u16)(at[0] << 8 | at[1]);
}

static __always_inline void flow_ports(struct weir_flow_id* id, const __u8* l4, struct flow_transport* transport) {
  if (!flow_has_ports(id->protocol)) return;
  const __u32 ports = bpf_ntohl(*(const __u32*)l4);
  id->source_port = ports >> 16;
  id->destination_port = (__u16)ports;
  if (id->protocol == FLOW_TCP) {
    transport->tcp_flags = l4[13];
    transport->header = (l4[12] >> 4) * 4;
  } else {
    transport->header = 8;
  }
}

/* Past the extension headers of IPv6, which few packets have, by reading each. */
static __noinline int flow_extensions(struct weir_flow_id* id, const unsigned char* at,
                                      struct flow_transport* transport) {
  __u8 next = id->protocol;
  for (int step = 0; step < FLOW_MOST_EXTENSIONS; step++) {
    __u8 header[8];
    if (next != 0 && next != 43 && next != 60 && next != 51 && next != FLOW_FRAGMENT) break;
    if (bpf_probe_read_kernel(header, sizeof(header), at)) return 0;
    if (next == FLOW_FRAGMENT) { /* one flow an address pair: later pieces have no ports, so none uses them */
      id->protocol = header[0];
      return 0;
    }
    at += next == 51 ? (header[1] + 2) * 4 : (header[1] + 1) * 8;
    next = header[0];
  }
  id->protocol = next;
  __u64 l4[2];
  if (flow_has_ports(next) && bpf_probe_read_kernel(l4, sizeof(l4), at) == 0)
    flow_ports(id, (const void*)l4, transport);
  return 0;
}

/* `header`: the network header and what follows it, `at` the same as an address. Loads are as wide as the fields: x86
 * and arm64 do not mind where they are. */
static __always_inline void flow_read(struct weir_flow_id* id, const __u8* header, const unsigned char* at,
                                      struct flow_transport* transport) {
  if (id->ethertype == FLOW_IP4) {
    *(__u32*)id->source = *(const __u32*)(header + 12);
    *(__u32*)id->destination = *(const __u32*)(header + 16);
    id->protocol = header[9];
    if ((*(const __u16*)(header + 6) & bpf_htons(0x3FFF)) != 0) return;
    transport->before = (header[0] & 15) * 4;
    if ((header[0] & 15) == 5)
      flow_ports(id, header + 20, transport);
    else
      flow_ports(id, header + (header[0] & 15) * 4, transport);
    return;
  }
  const __u64* addresses = (const void*)(header + 8);
  __u64* source = (void*)id->source;
  __u64* destination = (void*)id->destination;
  source[0] = addresses[0];
  source[1] = addresses[1];
  destination[0] = addresses[2];
  destination[1] = addresses[3];
  id->protocol = header[6];
  transport->before = 40;
  if (flow_has_ports(id->protocol))
    flow_ports(id, header + 40, transport);
  else
    flow_extensions(id, at + 40, transport);
}

/* `at`: the network header, `ethertype` in host order. Where headers are not in the linear part the flow is that of its
 * ethertype. */
static __always_inline void flow_dissect(struct weir_flow_id* id, const unsigned char* at, __u16 ethertype,
                                         __u32 linear, struct flow_transport* transport) {
  id->ethertype = ethertype;
  if (ethertype != FLOW_IP4 && ethertype != FLOW_IP6) return;
  if (linear < (ethertype == FLOW_IP4 ? 20 : 40)) return;
  /* Beyond the packet's end stands the rest of its buffer: the shared info is behind it in the same allocation. */
  if (reads_by_address) {
    flow_read(id, bpf_rdonly_cast(at, 0), at, transport);
    return;
  }
  __u64 copy[FLOW_HEADER_BYTES / 8]; /* aligned, because wide loads from the stack must be */
  const __u8* header = (const void*)copy;
  if (bpf_probe_read_kernel(copy, sizeof(copy), at) == 0) flow_read(id, header, at, transport);
}

static __always_inline bool flow_is_tag(__u16 ethertype) {
  return ethertype == FLOW_VLAN || ethertype == FLOW_QINQ;
}

/* The packet's tuple and outermost VLAN. `at`: what follows the Ethernet header, or the packet where there is none. */
static __always_inline void flow_identify(struct weir_flow_id* id, const struct sk_buff* skb, const unsigned char* at,
                                          struct flow_transport* transport) {
  __u16 ethertype = bpf_ntohs(skb->protocol);
  const unsigned char* end = skb->head + skb->tail;
  const bool beside =
      bpf_core_field_exists(skb->vlan_present) ? BPF_CORE_READ_BITFIELD(skb, vlan_present) : skb->vlan_proto != 0;
  if (beside) id->vlan = skb->vlan_tci & 0xFFF;
#pragma unroll
  for (int tag = 0; tag < 2; tag++) {
    __u8 bytes[4];
    if (!flow_is_tag(ethertype) || bpf_probe_read_kernel(bytes, sizeof(bytes), at)) break;
    if (id->vlan == 0) id->vlan = flow_u16(bytes) & 0xFFF;
    ethertype = flow_u16(bytes + 2);
    at += 4;
  }
  const __u64 linear = end > at ? (__u64)(end - at) : 0;
  flow_dissect(id, at, ethertype, (__u32)linear, transport);
}
