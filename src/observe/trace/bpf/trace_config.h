/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a trace does, set before loading: what is off is not even in the program. */
#pragma once

#include "observe/trace/bpf/trace_abi.h"
#include "weir_kernel.h"

const volatile bool emit_events = true;
const volatile bool count_paths = false;
const volatile bool with_conntrack = true;
const volatile bool with_stack = false;
const volatile bool filter_speaks_of_vlans = false;
const volatile bool drop_has_reason = true; /* tracepoint kfree_skb has `reason` (5.17) */
const volatile __u32 watch_mask = 0;        /* 1 << enum weir_watch_field */
const volatile __u32 sample_flows = 1;      /* one flow in so many is followed */
const volatile __u32 snap_bytes = 96;
const volatile __u64 only_netns = 0;      /* packets are only taken up in this namespace, 0: in any */
const volatile __u64 lone_wanted[2] = {}; /* bit N: hook N may tell what is of no packet that the filter could see */
const volatile __u32 wakeup_bytes = 1 << 16;

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 16 << 20);
} events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16384);
  __type(key, struct weir_watch_key);
  __type(value, __u64);
} watch_changes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8192);
  __type(key, __u64);
  __type(value, struct weir_path_node);
} path_nodes SEC(".maps");

/* Programs come and go one after the other; all see packets from the same moment to the same moment. */
bool running;

/* Aggregates that did not fit: 0 changes, 1 places. */
__u64 aggregates_lost[2];

/* One firing of a hook. */
struct firing {
  __u64 argument;
  const struct net_device* dev; /* whose the hook is; settle() reads it, of packets that pass by nobody does */
  __u64 netns;                  /* 0: not known at this hook */
  __u32 ifindex;
  __s32 result;
  __u16 hook;
  __u8 stage;  /* enum stage */
  bool begins; /* the filter is asked */
  bool last;
  bool outlived;    /* by a clone: not the end of the packet */
  bool placed;      /* netns and ifindex are the hook's own, else the packet's last ones are better */
  bool maybe_known; /* followed already, if what stands at its address is it */
  bool wanted;      /* the filter has been asked, and wants it */
  bool is_clone;
  bool is_first;
  bool is_origin;
};
