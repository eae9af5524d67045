/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A number for the flow of a packet that is about to be transmitted: 32 bits over addresses, protocol and ports of the
 * outermost IP header. skb->hash will not do: the kernel leaves it 0 when a recorded queue or an XPS map decides.
 * Reads from the Ethernet header on (skb->data at ndo_start_xmit), past up to two VLAN tags; a fragment has no ports,
 * and anything that is not IP is one flow a protocol. */
#pragma once

#include "weir_kernel.h"

#define ARPHRD_ETHER 1
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_SCTP 132

/* murmur3's finaliser over each word: enough to keep flows apart, not a defence against chosen tuples. */
static __always_inline __u32 mix(__u32 hash, __u32 word) {
  hash ^= word;
  hash *= 0x85EBCA6BU;
  hash ^= hash >> 13;
  hash *= 0xC2B2AE35U;
  return hash ^ (hash >> 16);
}

struct flow_ip4 {
  __u8 version_ihl, tos;
  __be16 total_length, id, fragment;
  __u8 ttl, protocol;
  __be16 checksum;
  __be32 source, destination;
};

struct flow_ip6 {
  __be32 version_class_label;
  __be16 payload_length;
  __u8 next_header, hop_limit;
  __be32 source[4], destination[4];
};

static __always_inline __u32 mix_ports(__u32 hash, const unsigned char* l4, __u8 protocol) {
  __u32 ports = 0;
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP)
    bpf_probe_read_kernel(&ports, sizeof(ports), l4);
  return mix(hash, ports);
}

static __always_inline __u32 flow_hash(const struct sk_buff* skb, const struct net_device* dev) {
  const unsigned char* at = skb->data;
  __be16 ethertype = skb->protocol;
  if (dev->type == ARPHRD_ETHER) {
    bpf_probe_read_kernel(&ethertype, sizeof(ethertype), at + 12);
    at += 14;
#pragma unroll
    for (int tag = 0; tag < 2; tag++) {
      if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD)) break;
      bpf_probe_read_kernel(&ethertype, sizeof(ethertype), at + 2);
      at += 4;
    }
  }
  __u32 hash = mix(0x9747B28CU, ethertype);
  if (ethertype == bpf_htons(ETH_P_IP)) {
    struct flow_ip4 ip;
    if (bpf_probe_read_kernel(&ip, sizeof(ip), at)) return hash;
    hash = mix(mix(mix(hash, ip.source), ip.destination), ip.protocol);
    if (ip.fragment & bpf_htons(0x3FFF)) return hash; /* MF or offset: later pieces have no ports, so none uses them */
    return mix_ports(hash, at + (ip.version_ihl & 15) * 4, ip.protocol);
  }
  if (ethertype == bpf_htons(ETH_P_IPV6)) {
    struct flow_ip6 ip;
    if (bpf_probe_read_kernel(&ip, sizeof(ip), at)) return hash;
#pragma unroll
    for (int word = 0; word < 4; word++) hash = mix(mix(hash, ip.source[word]), ip.destination[word]);
    return mix_ports(mix(hash, ip.next_header), at + sizeof(ip), ip.next_header);
  }
  return hash;
}
