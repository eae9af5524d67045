/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the trace programs and observe/trace; recordings keep these records as they are, so a change
 * of any layout is a new WEIR_TRACE_RECORDS version. */
#pragma once

#include "bpf/include/weir_abi.h"
#include "observe/trace/bpf/trace_hooks.h"

#define WEIR_TRACE_RECORDS 1 /* version of the layouts below */
#define WEIR_TRACE_SNAP 120  /* most bytes of a packet in an event */
#define WEIR_TRACE_STACK 32

/* What follows an event, in the order of the bits. */
enum weir_trace_section {
  WEIR_SECTION_CT = 1,
  WEIR_SECTION_FIB = 2,
  WEIR_SECTION_PACKET = 4,
  WEIR_SECTION_STACK = 8,
  WEIR_SECTION_XDP = 16,
};

enum weir_trace_flag {
  WEIR_FLAG_FIRST = 1,  /* the journey begins here */
  WEIR_FLAG_ORIGIN = 2, /* ... and it is where packets come into being or into this host */
  WEIR_FLAG_CLONE = 4,
  WEIR_FLAG_LAST = 8, /* the packet is gone after this */
  WEIR_FLAG_VLAN = 16,
  WEIR_FLAG_BESIDE = 32, /* not the packet's own firing: its metadata is not known here */
};

struct weir_trace_event {
  __u64 time_ns;
  __u64 journey; /* 0: of no packet that is followed, an event on its own */
  __u64 skb;
  __u64 netns;
  __u64 cgroup;
  __u64 argument; /* kfree_skb: location; qdisc: handle */
  __u32 ifindex;
  __u32 sequence;
  __u32 cpu;
  __u32 mark;
  __u32 hash;
  __u32 priority;
  __u32 len;
  __u32 napi_id;
  __u32 iif;
  __s32 result; /* kfree_skb: drop reason; icmp_send: type << 8 | code; others: what the hook says */
  __u16 hook;
  __u16 sections; /* enum weir_trace_section */
  __u16 branch;   /* 0: the packet itself; others: its segments and fragments */
  __u16 queue_mapping;
  __u16 gso_segs;
  __u16 gso_size;
  __u16 protocol; /* host order */
  __u16 vlan_tci;
  __u8 ip_summed;
  __u8 flags;       /* enum weir_trace_flag */
  __u16 vlan_proto; /* EtherType of vlan_tci, host order; 0 in recordings before it was kept */
  __u8 pad[4];
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_event) == 112);

/* Addresses as in the packet; IPv4 in the first four bytes. */
struct weir_trace_ct {
  __u32 status;
  __u32 mark;
  __u16 zone;
  __u8 info;   /* enum ip_conntrack_info */
  __u8 family; /* AF_INET, AF_INET6 */
  __u8 protocol;
  __u8 pad[3];
  __u8 address[4][16]; /* original source and destination, reply source and destination */
  __u16 port_be[4];
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_ct) == 88);

struct weir_trace_fib {
  __u32 table;
  __s32 error;
  __u32 oif;
  __u8 family;
  __u8 gateway_family; /* 0: none */
  __u8 pad[2];
  __u8 source[16];
  __u8 destination[16];
  __u8 gateway[16];
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_fib) == 64);

struct weir_trace_packet {
  __u32 length; /* of the packet from `bytes` on */
  __u16 captured;
  __u8 is_link; /* the bytes begin with the Ethernet header, else with the network header */
  __u8 pad;
  __u8 bytes[WEIR_TRACE_SNAP];
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_packet) == 128);

struct weir_trace_stack {
  __u32 count;
  __u32 pad;
  __u64 address[WEIR_TRACE_STACK];
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_stack) == 264);

/* What XDP did with packets that have no sk_buff yet. */
struct weir_trace_xdp {
  __u32 action;  /* enum xdp_action, or what the program returned instead of one */
  __u32 program; /* its id, 0: not known at this hook */
  __s32 error;   /* 0 or a negative errno */
  __u32 to;      /* where packets were redirected to: device, key of the map, or CPU; 0: not known at this hook */
  __u32 sent;    /* of a batch */
  __u32 dropped;
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_xdp) == 24);

/* seen == emitted + filtered + sampled_out + lost, of the packets at one hook on one CPU. */
struct weir_trace_count {
  __u64 seen;
  __u64 emitted;
  __u64 filtered;
  __u64 sampled_out;
  __u64 lost;
};
WEIR_ABI_ASSERT(sizeof(struct weir_trace_count) == 40);

/* Fields that can be watched for changes. */
enum weir_watch_field {
  WEIR_WATCH_QUEUE_MAPPING = 0,
  WEIR_WATCH_MARK = 1,
  WEIR_WATCH_HASH = 2,
  WEIR_WATCH_PRIORITY = 3,
  WEIR_WATCH_LEN = 4,
  WEIR_WATCH_GSO_SEGS = 5,
  WEIR_WATCH_VLAN = 6, /* tag + 1, 0: none */
  WEIR_WATCH_DEV = 7,
  WEIR_WATCH_NETNS = 8,
  WEIR_WATCH_FIELDS = 9,
};

struct weir_watch_key {
  __u64 from_netns;
  __u64 to_netns;
  __u32 from_ifindex;
  __u32 to_ifindex;
  __u32 before;
  __u32 after;
  __u16 from_hook;
  __u16 to_hook;
  __u32 field; /* enum weir_watch_field */
};
WEIR_ABI_ASSERT(sizeof(struct weir_watch_key) == 40);

enum weir_path_flag {
  WEIR_PATH_COPY = 1, /* clones were seen here: they lead nowhere */
  WEIR_PATH_PART = 2, /* segments and fragments of the packets at the place before */
};

/* A place on a path. Its key is a hash of itself and of the place before, so a place is reached by one path only. */
#define WEIR_PATH_BUCKETS 128 /* four an octave from 64 ns on */
struct weir_path_node {
  __u64 parent; /* 0: the path begins here */
  __u64 netns;
  __u64 packets;
  __u64 ends;   /* packets that were gone after this place */
  __u64 sum_ns; /* time since the place before */
  __u64 max_ns;
  __u32 ifindex;
  __u16 hook;
  __u16 detail; /* kfree_skb: the reason */
  __u32 flags;  /* enum weir_path_flag */
  __u32 pad;
  __u32 buckets[WEIR_PATH_BUCKETS];
};
WEIR_ABI_ASSERT(sizeof(struct weir_path_node) == 64 + 4 * WEIR_PATH_BUCKETS);
