/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the flow programs and observe/flows: included and size-asserted by both compilers. */
#pragma once

#include "bpf/include/weir_abi.h"

/* Identity of a flow on a device: namespace, device, direction, outermost VLAN and 5-tuple. Numbers in host order. */
struct weir_flow_id {
  __u64 netns;
  __u32 ifindex;
  __u16 vlan;     /* id, 0: none */
  __u8 direction; /* enum weir_direction */
  __u8 protocol;
  __u16 ethertype;
  __u16 source_port;
  __u16 destination_port;
  __u16 pad;
  __u8 source[16]; /* IPv4: the first four bytes */
  __u8 destination[16];
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_id) == 56);

/* Cumulative; written by every CPU, what must be exact by atomic additions. Times are CLOCK_MONOTONIC, to a tick of
 * the kernel. What each packet touches comes first, behind the id, so that a hit takes as few cache lines as it can. */
struct weir_flow_count {
  __u64 bytes;
  __u64 packets;
  __u64 last_ns;
  __u32 elephant; /* 0 or 1 */
  __u8 tcp_flags;
  __u8 has_tcp; /* srtt_us and retransmits were read */
  __u8 pad[2];
  __u64 above_ns;  /* since when the flow keeps up the policy's rate */
  __u64 credit;    /* bytes that it is ahead of that rate, at `last_ns` */
  __u64 judged_ns; /* elephants: when the window began over which their rate is looked at */
  __u64 judged_bytes;
  __u64 extra_packets; /* on the wire, beyond `packets`: segments of GSO packets */
  __u64 extra_bytes;   /* headers that those segments have there */
  __u64 first_ns;
  __u64 cgroup;  /* of the sending socket, 0: none seen */
  __u32 srtt_us; /* as the kernel keeps it: eight times the value */
  __u32 retransmits;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_count) == 104);

/* A row of the table of flows: open addressing in an array that user space maps. A flow that is made by two CPUs at
 * once may have two rows: readers add them up. */
enum weir_flow_state { WEIR_FLOW_FREE = 0, WEIR_FLOW_CLAIMED = 1, WEIR_FLOW_LIVE = 2, WEIR_FLOW_DEAD = 3 };
struct weir_flow_row {
  __u64 state; /* enum weir_flow_state: programs go from free over claimed to live, user space over dead to free */
  struct weir_flow_id id;
  struct weir_flow_count count;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_row) == 168);
#define WEIR_FLOW_PROBES 16
/* The first probes stay among the first rows, so that the flows of a host with few of them share few pages: rows all
 * over a table of 22 MB cost a walk through the page tables each. */
#define WEIR_FLOW_NEAR_PROBES 2
#define WEIR_FLOW_NEAR_ROWS 4096

/* Tuples of a connection whose addresses or ports are rewritten, as conntrack knows them; kept by flow. */
struct weir_flow_tuple {
  __u8 source[16];
  __u8 destination[16];
  __u16 source_port;
  __u16 destination_port;
  __u16 ethertype;
  __u8 protocol;
  __u8 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_tuple) == 40);
struct weir_flow_nat {
  struct weir_flow_tuple original;
  struct weir_flow_tuple reply;
  __u32 mark;
  __u16 zone;
  __u16 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_nat) == 88);

/* What found no room, one copy a CPU: exactly, by device and direction ... */
struct weir_flow_place {
  __u64 netns;
  __u32 ifindex;
  __u32 direction;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_place) == 16);
struct weir_flow_overflow {
  __u64 bytes;
  __u64 packets;
};

/* ... and by flow as far as it is heavy: the heavy part of an Elastic sketch (Yang et al., SIGCOMM 2018, section 3.1).
 * A row keeps the flow that it has until others have had eight times its bytes. */
struct weir_flow_sketch {
  struct weir_flow_id id; /* ethertype 0: free */
  __u64 bytes;
  __u64 packets;
  __u64 others; /* bytes of other flows since this one has the row */
  __u64 since_ns;
  __u64 last_ns;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_sketch) == 96);
#define WEIR_FLOW_SKETCH_ROWS 4096 /* a CPU, fewer where there are many; two are looked at */

enum weir_flow_happening { WEIR_FLOW_PROMOTED = 0, WEIR_FLOW_DEMOTED = 1 };
struct weir_flow_event {
  __u64 time_ns; /* CLOCK_MONOTONIC, exact */
  __u64 bytes;
  __u64 span_ns; /* over which it had that many of them: */
  __u64 span_bytes;
  struct weir_flow_id id;
  __u32 what; /* enum weir_flow_happening */
  __u32 pad;
};
WEIR_ABI_ASSERT(sizeof(struct weir_flow_event) == 96);

enum weir_flow_stat {
  WEIR_FLOW_STAT_UNCOUNTED = 0, /* bytes for which not even flow_overflow had room */
  WEIR_FLOW_STAT_EVENTS_LOST = 1,
  WEIR_FLOW_STAT_NAT_LOST = 2,
  WEIR_FLOW_STAT_COUNT = 3,
};
