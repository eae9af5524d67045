/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets are followed: the maps, and how a packet is known again. */
#pragma once

#include "observe/trace/bpf/trace_view.h"

/* How far a packet has come: a packet that is back at the beginning is another one at a used address. */
enum stage { STAGE_TX = 1, STAGE_RX = 2, STAGE_SOCKET = 3 };

struct tracked {
  __u64 journey; /* 0: sampled out */
  __u64 skb;
  __u64 head;
  __u64 seen_ns;
  __u64 netns;
  __u64 path; /* key of the place in the tree of paths */
  struct fingerprint print;
  struct fingerprint inner; /* before encapsulation */
  __u32 ifindex;
  __u32 sequence;
  __u32 ct_hash;
  __u32 headers_hash;
  __u32 watched[WEIR_WATCH_FIELDS];
  __u16 hook;
  __u16 network_offset;
  __u16 branch;
  __u8 stage;
  __u8 pad;
};

#define TRACKED_PACKETS 65536

/* By the address of the sk_buff: it stays the same over NAT, encapsulation, a larger head and another namespace. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, TRACKED_PACKETS);
  __type(key, __u64);
  __type(value, struct tracked);
} packets SEC(".maps");

/* By the address of the data, which clones share: the sk_buff under which it is tracked. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, TRACKED_PACKETS);
  __type(key, __u64);
  __type(value, __u64);
} packets_by_head SEC(".maps");

/* Packets that are cut into several: fragments by identification, segments by flow. */
struct parent {
  __u64 journey;
  __u64 path;
  __u32 branches;
  __u32 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, __u64);
  __type(value, struct parent);
} parents SEC(".maps");

/* The packet that was last freed on this CPU while a copy of it lived: skb_expand_head() makes one with room for a
 * larger header, which is the packet from then on. */
struct heir {
  __u64 skb;
  __u64 freed_ns;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct heir);
} heirs SEC(".maps");

bool heirs_known;
bool parents_known; /* nothing to look for while there are none */

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_TRACE_HOOKS);
  __type(key, __u32);
  __type(value, struct weir_trace_count);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} journeys SEC(".maps");

/* Whether anything that is followed could have this address: one byte says no at once, in most firings of a trace that
 * waits for a rare packet. User space empties the older of the two now and then. */
#define HOT_BYTES 65536
__u8 hot[2][HOT_BYTES];

/* By the low half of an address (low_half()). */
static __always_inline __u32 hot_index(__u32 address) {
  return ((address >> 6) * 2654435761U) >> 16;
}

static __always_inline bool maybe_tracked(__u32 address) {
  const __u32 index = hot_index(address) & (HOT_BYTES - 1);
  return hot[0][index] | hot[1][index];
}

static __always_inline void set_hot(__u32 address) {
  const __u32 index = hot_index(address) & (HOT_BYTES - 1);
  if (!hot[0][index]) hot[0][index] = 1;
  if (!hot[1][index]) hot[1][index] = 1;
}

static __always_inline void forget(struct tracked* entry) {
  __u64 skb = entry->skb;
  __u64 head = entry->head;
  bpf_map_delete_elem(&packets_by_head, &head);
  bpf_map_delete_elem(&packets, &skb);
}

/* A packet that a local socket sends has been received by no device of this namespace. Seen where packets leave, it is
 * new, whatever was seen at this address before; only devices on top of each other let the same packet leave twice. */
static __always_inline bool begins_anew(const struct tracked* entry, const struct sk_buff* skb, __u16 hook, __u8 stage,
                                        __u32 ifindex) {
  if (stage != STAGE_TX || skb->skb_iif != 0) return false;
  /* A function of the kernel may have seen it on its way out already. */
  if (entry->stage != STAGE_TX) return entry->stage != 0;
  const bool has_left = entry->hook >= WEIR_HOOK_net_dev_start_xmit && entry->hook < WEIR_HOOK_NF &&
                        entry->hook != WEIR_HOOK_neigh_event_send_done;
  return hook == WEIR_HOOK_net_dev_queue && has_left && entry->ifindex == ifindex;
}

#define IPPROTO_ESP 50

/* Whether the IP packet at `network` ends where the sk_buff does. Bytes of a packet that used this memory before may
 * still stand in front of the present one, or behind it: its length gives them away. What encrypts adds some at the
 * end. */
static __always_inline bool ends_with(__u64 network, __u64 end) {
  __u8 bytes[10] = {};
  if (bpf_probe_read_kernel(bytes, sizeof(bytes), (void*)network) != 0) return false;
  const __u8 version = bytes[0] >> 4;
  if (version != 4 && version != 6) return true;
  const __u64 says = version == 4 ? network + (bytes[2] << 8 | bytes[3]) : network + 40 + (bytes[4] << 8 | bytes[5]);
  if (version == 4 ? bytes[9] == IPPROTO_ESP : bytes[6] == IPPROTO_ESP) return says >= end;
  return says == end;
}

/* Whether what is at this address is still the packet of the entry; takes over what encapsulation made of it. */
static __noinline int still_same(struct tracked* entry, const struct sk_buff* skb, const struct view* view) {
  struct fingerprint now;
  const __u32 captured = view->captured - (__u32)(view->network - view->start);
  fingerprint_at(view->network, captured, &now);
  if (same_packet(&now, &entry->print)) {
    entry->print.header = now.header;
    if (now.payload) entry->print.payload = now.payload;
    entry->network_offset = view->network_offset;
    return 1;
  }
  const __u64 head = view->head;
  const __u64 end = view->start + view->length;
  const __u16 inner = skb->inner_network_header;
  if (inner > view->network_offset && ends_with(head + inner, end)) {
    struct fingerprint below;
    fingerprint_at(head + inner, skb->tail - inner, &below);
    if (same_packet(&below, &entry->print) && below.header) {
      entry->inner = entry->print;
      entry->print = now;
      entry->network_offset = view->network_offset;
      return 1;
    }
  }
  /* Decapsulated: either what was inside is known, or the outer header still stands in front. */
  bool same = entry->inner.header && same_packet(&now, &entry->inner);
  if (!same && view->network_offset > entry->network_offset && entry->head == head &&
      ends_with(head + entry->network_offset, end)) {
    struct fingerprint outer;
    fingerprint_at(head + entry->network_offset, skb->tail - entry->network_offset, &outer);
    same = outer.header && same_packet(&outer, &entry->print);
  }
  if (!same) return 0;
  entry->print = now;
  entry->inner.header = 0;
  entry->inner.payload = 0;
  entry->network_offset = view->network_offset;
  return 1;
}
