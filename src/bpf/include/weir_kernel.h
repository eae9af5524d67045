/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The few kernel types that Weir's programs read, reduced to the fields that are used. preserve_access_index makes
 * clang record every access, and libbpf moves it to where the running kernel keeps the field (CO-RE): only names and
 * types matter here, not order or size. Names and meanings: include/linux/{skbuff,netdevice}.h,
 * include/net/{sock,net_namespace}.h. */
#pragma once

/* libbpf's headers use the types of linux/types.h and do not include it: the order matters. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
/* clang-format on */

#ifndef NULL
#define NULL ((void*)0)
#endif

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
  __u64 ns_id; /* 6.18 */
  unsigned int inum;
};

struct net {
  __u64 net_cookie; /* until ns_common.ns_id took its place */
  struct ns_common ns;
};

typedef struct {
  struct net* net;
} possible_net_t;

struct netdev_tc_txq {
  __u16 count;
  __u16 offset;
};

struct xps_map {
  unsigned int len;
  __u16 queues[0];
};

struct xps_dev_maps {
  unsigned int nr_ids;
  __s16 num_tc;
  struct xps_map* attr_map[0];
};

struct net_device_ops {
  void* ndo_select_queue;
};

struct net_device {
  const struct net_device_ops* netdev_ops;
  unsigned int real_num_tx_queues;
  __s16 num_tc;
  unsigned short type;
  int ifindex;
  possible_net_t nd_net;
  struct xps_dev_maps* xps_maps[2];
  struct netdev_tc_txq tc_to_txq[16];
  __u8 prio_tc_map[16];
};

struct kernfs_node {
  __u64 id;
};

struct cgroup {
  struct kernfs_node* kn;
};

struct sock_cgroup_data {
  struct cgroup* cgroup;
};

struct sock_common {
  possible_net_t skc_net;
  unsigned short skc_family;
  unsigned char skc_state;
  __u16 skc_num; /* host order */
  __be16 skc_dport;
  unsigned short skc_tx_queue_mapping;
  unsigned short skc_rx_queue_mapping;
};

struct sock {
  struct sock_common __sk_common;
  struct sock_cgroup_data sk_cgrp_data;
};

struct tcp_sock {
  __u32 srtt_us; /* eight times the value */
  __u32 total_retrans;
};

struct skb_shared_info {
  unsigned short gso_size;
  unsigned short gso_segs;
};

struct sk_buff {
  struct net_device* dev;
  struct sock* sk;
  unsigned long _nfct;
  unsigned int len;
  unsigned int data_len;
  __u16 queue_mapping;
  __u8 cloned : 1;
  __u8 ip_summed : 2;
  __u8 encapsulation : 1;
  __u32 mark;
  __u32 priority;
  int skb_iif;
  __u32 hash;
  unsigned int sender_cpu;
  __u16 vlan_tci;
  __be16 vlan_proto; /* 0: no accelerated tag, since 6.2 (commit 354259fa73e2); vlan_present said so before */
  __u8 vlan_present : 1;
  __u16 inner_network_header;
  __u16 network_header;
  __u16 mac_header;
  __be16 protocol;
  __u8 tc_at_ingress : 1;
  unsigned int tail; /* sk_buff_data_t, as `end` */
  unsigned int end;  /* sk_buff_data_t: an offset on 64-bit kernels */
  unsigned char* head;
  unsigned char* data;
};

struct sk_buff_head {
  struct sk_buff* prev; /* the last one */
  __u32 qlen;
};

struct neighbour {
  struct sk_buff_head arp_queue; /* packets that wait for its address, of either protocol */
  __u8 nud_state;
  struct net_device* dev;
};

struct request_sock {
  struct sock_common __req_common;
};

struct bpf_prog_aux {
  __u32 id;
};

struct bpf_prog {
  struct bpf_prog_aux* aux;
};

struct nf_hook_state {
  __u8 hook;
  struct net_device* in;
  struct net_device* out;
  struct net* net;
};

struct bpf_nf_ctx {
  const struct nf_hook_state* state;
  struct sk_buff* skb;
};

struct Qdisc {
  __u32 handle;
};

struct netdev_queue {
  struct net_device* dev;
};

struct in6_addr {
  __u8 bytes[16]; /* no field of the kernel's: only its address is taken */
};

struct flowi_common {
  int flowic_oif;
  int flowic_iif;
};

struct flowi4 {
  struct flowi_common __fl_common;
  __be32 saddr;
  __be32 daddr;
};

struct flowi6 {
  struct flowi_common __fl_common;
  struct in6_addr daddr;
  struct in6_addr saddr;
};

struct fib_nh_common {
  struct net_device* nhc_dev;
  __u8 nhc_gw_family;
  struct in6_addr nhc_gw;
};

struct fib6_nh {
  struct fib_nh_common nh_common;
};

struct fib6_result {
  struct fib6_nh* nh;
};

struct fib6_table {
  __u32 tb6_id;
};

struct nf_conntrack_tuple_hash {
  void* bytes; /* no field of the kernel's: only its address is taken */
};

struct nf_conntrack_zone {
  __u16 id;
};

struct nf_conn {
  struct nf_conntrack_zone zone;
  struct nf_conntrack_tuple_hash tuplehash[2];
  unsigned long status;
  __u32 mark;
};

#pragma clang attribute pop

/* All that the verifier lets a pointer become as a number, in one instruction; the whole takes a helper. */
static __always_inline __u32 low_half(const void* pointer) {
  __u32 low;
  asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)(__u64)pointer));
  return low;
}

/* The namespace's id: what SO_NETNS_COOKIE and, from 6.18, NS_GET_ID give user space. */
static __always_inline __u64 weir_net_id(const struct net* net) {
  if (bpf_core_field_exists(net->net_cookie)) return net->net_cookie;
  return net->ns.ns_id;
}

static __always_inline __u64 weir_dev_netns(const struct net_device* dev) {
  return weir_net_id(dev->nd_net.net);
}
