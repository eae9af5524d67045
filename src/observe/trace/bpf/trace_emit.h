/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What becomes of a followed packet's firing: an event, a counted change, a place on a path. */
#pragma once

#include "observe/trace/bpf/trace_config.h"
#include "observe/trace/bpf/trace_state.h"
#include "weir_conntrack.h"

#define AF_INET 2
#define AF_INET6 10

struct event_small {
  struct weir_trace_event head;
};
struct event_packet {
  struct weir_trace_event head;
  struct weir_trace_packet packet;
};
struct event_ct {
  struct weir_trace_event head;
  struct weir_trace_ct ct;
  struct weir_trace_packet packet;
};
struct event_fib {
  struct weir_trace_event head;
  struct weir_trace_fib fib;
};
struct event_stack {
  struct weir_trace_event head;
  struct weir_trace_ct ct;
  struct weir_trace_packet packet;
  struct weir_trace_stack stack;
};

static __always_inline __u64 cgroup_of(const struct sk_buff* skb) {
  const struct sock* sk = skb->sk;
  if (!sk) return 0;
  /* Of a connection that is being made or has ended there is only a small part of a socket. */
  const __u8 state = sk->__sk_common.skc_state;
  if (state == 12 || state == 6) return 0; /* TCP_NEW_SYN_RECV, TCP_TIME_WAIT */
  const struct cgroup* cgroup = sk->sk_cgrp_data.cgroup;
  return cgroup ? cgroup->kn->id : 0;
}

static __always_inline void read_gso(const struct sk_buff* skb, __u16* size, __u16* segments) {
  const struct skb_shared_info* shared = (void*)(head_of(skb) + skb->end);
  __u16 both[2] = {};
  bpf_core_read(&both[0], sizeof(both[0]), &shared->gso_size);
  *size = both[0];
  if (both[0]) bpf_core_read(&both[1], sizeof(both[1]), &shared->gso_segs);
  *segments = both[1];
}

static __always_inline void fill_head(struct weir_trace_event* event, const struct sk_buff* skb,
                                      const struct firing* fired, const struct tracked* entry, __u64 now) {
  event->time_ns = now;
  event->journey = entry->journey;
  event->skb = (__u64)skb;
  event->netns = fired->netns;
  event->cgroup = cgroup_of(skb);
  event->argument = fired->argument;
  event->ifindex = fired->ifindex;
  event->sequence = entry->sequence;
  event->cpu = bpf_get_smp_processor_id();
  event->mark = skb->mark;
  event->hash = skb->hash;
  event->priority = skb->priority;
  event->len = skb->len;
  event->napi_id = skb->sender_cpu; /* the union's other name is napi_id */
  event->iif = skb->skb_iif;
  event->result = fired->result;
  event->hook = fired->hook;
  event->sections = 0;
  event->branch = entry->branch;
  event->queue_mapping = skb->queue_mapping;
  read_gso(skb, &event->gso_size, &event->gso_segs);
  event->protocol = bpf_ntohs(skb->protocol);
  const bool tagged = has_vlan_tag(skb);
  event->vlan_tci = tagged ? skb->vlan_tci : 0;
  event->vlan_proto = tagged ? bpf_ntohs(skb->vlan_proto) : 0;
  event->ip_summed = BPF_CORE_READ_BITFIELD(skb, ip_summed);
  event->flags = (fired->is_first ? WEIR_FLAG_FIRST : 0) | (fired->is_origin ? WEIR_FLAG_ORIGIN : 0) |
                 (fired->is_clone ? WEIR_FLAG_CLONE : 0) |
                 (fired->last && !fired->is_clone && !fired->outlived ? WEIR_FLAG_LAST : 0) |
                 (tagged ? WEIR_FLAG_VLAN : 0);
  __builtin_memset(event->pad, 0, sizeof(event->pad));
}

static __always_inline void fill_packet(struct weir_trace_packet* packet, const struct view* view) {
  __u32 size = view->captured;
  if (size > snap_bytes) size = snap_bytes;
  if (size > WEIR_TRACE_SNAP) size = WEIR_TRACE_SNAP;
  packet->length = view->length;
  packet->captured = size;
  packet->is_link = view->is_link;
  packet->pad = 0;
  if (size == 0 || bpf_probe_read_kernel(packet->bytes, size & 127 ?: 1, (void*)view->start) != 0) packet->captured = 0;
}

static __always_inline void fill_ct(struct weir_trace_ct* ct, __u64 nfct) {
  __builtin_memset(ct, 0, sizeof(*ct));
  ct->info = nfct & NFCT_INFO;
  const struct nf_conn* conn = weir_connection(nfct);
  if (!conn) return;
  __u64 status = 0;
  bpf_core_read(&status, sizeof(unsigned long), &conn->status);
  ct->status = (__u32)status;
  if (bpf_core_field_exists(conn->mark)) bpf_core_read(&ct->mark, sizeof(ct->mark), &conn->mark);
  if (bpf_core_field_exists(conn->zone)) bpf_core_read(&ct->zone, sizeof(ct->zone), &conn->zone.id);
  struct raw_tuple_hash tuple;
  for (int i = 0; i < 2; ++i) {
    if (weir_read_tuple(&tuple, conn, i) != 0) return;
    __builtin_memcpy(ct->address[2 * i], tuple.source, 16);
    __builtin_memcpy(ct->address[2 * i + 1], tuple.destination, 16);
    ct->port_be[2 * i] = tuple.source_port;
    ct->port_be[2 * i + 1] = tuple.destination_port;
    ct->family = tuple.l3num;
    ct->protocol = tuple.protocol;
  }
}

/* Changes with the connection, its state, NAT and mark. */
static __always_inline __u32 conntrack_hash(__u64 nfct) {
  if (!nfct) return 0;
  const struct nf_conn* conn = (void*)(nfct & ~(__u64)NFCT_INFO);
  __u64 status = 0;
  __u32 mark = 0;
  if (conn && bpf_core_type_exists(struct nf_conn)) {
    bpf_core_read(&status, sizeof(unsigned long), &conn->status);
    if (bpf_core_field_exists(conn->mark)) bpf_core_read(&mark, sizeof(mark), &conn->mark);
  }
  return mix(mix(mix((__u32)nfct, (__u32)(nfct >> 32)), (__u32)status), mark) | 1;
}

static __always_inline __u64 wakeup_flags(void) {
  return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wakeup_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* Sends the event; false when there was no room. Headers and connection go along where they are other than before. */
static __noinline int emit(void* ctx, const struct sk_buff* skb, const struct firing* fired, struct tracked* entry,
                           const struct view* view) {
  const __u64 now = bpf_ktime_get_ns();
  __u32 headers[12] = {};
  __u32 headers_hash = 1 ^ view->tag; /* a tag that is taken out of the frame changes the frame */
  if (bpf_probe_read_kernel(headers, sizeof(headers), (void*)view->network) == 0) {
    for (int i = 0; i < 12; ++i) headers_hash = mix(headers_hash, headers[i]);
  }
  headers_hash |= 1;
  const __u64 nfct = with_conntrack ? (__u64)skb->_nfct : 0;
  const __u32 ct_hash = with_conntrack ? conntrack_hash(nfct) : 0;
  const bool new_ct = ct_hash != entry->ct_hash;
  const bool new_headers = headers_hash != entry->headers_hash;
  if (with_stack) {
    struct event_stack* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) goto lost;
    fill_head(&event->head, skb, fired, entry, now);
    event->head.sections = WEIR_SECTION_CT | WEIR_SECTION_PACKET | WEIR_SECTION_STACK;
    fill_ct(&event->ct, nfct);
    fill_packet(&event->packet, view);
    const long bytes = bpf_get_stack(ctx, event->stack.address, sizeof(event->stack.address), 0);
    event->stack.count = bytes > 0 ? (__u32)bytes / sizeof(__u64) : 0;
    event->stack.pad = 0;
    bpf_ringbuf_submit(event, wakeup_flags());
  } else if (new_ct) {
    struct event_ct* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) goto lost;
    fill_head(&event->head, skb, fired, entry, now);
    event->head.sections = WEIR_SECTION_CT | WEIR_SECTION_PACKET;
    fill_ct(&event->ct, nfct);
    fill_packet(&event->packet, view);
    bpf_ringbuf_submit(event, wakeup_flags());
  } else if (new_headers) {
    struct event_packet* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) goto lost;
    fill_head(&event->head, skb, fired, entry, now);
    event->head.sections = WEIR_SECTION_PACKET;
    fill_packet(&event->packet, view);
    bpf_ringbuf_submit(event, wakeup_flags());
  } else {
    struct event_small* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) goto lost;
    fill_head(&event->head, skb, fired, entry, now);
    bpf_ringbuf_submit(event, wakeup_flags());
  }
  entry->headers_hash = headers_hash;
  entry->ct_hash = ct_hash;
  if (!count_paths) entry->seen_ns = now; /* else counting paths keeps it */
  return 1;
lost:
  /* The next event that gets through says all again. */
  entry->headers_hash = 0;
  entry->ct_hash = ~0U;
  return 0;
}

static __always_inline void count_change(const struct tracked* entry, const struct firing* fired, __u32 field,
                                         __u32 after) {
  struct weir_watch_key key = {.from_netns = entry->netns,
                               .to_netns = fired->netns,
                               .from_ifindex = entry->ifindex,
                               .to_ifindex = fired->ifindex,
                               .before = entry->watched[field],
                               .after = after,
                               .from_hook = fired->is_first ? 0 : entry->hook, /* 0: before any hook could look */
                               .to_hook = fired->hook,
                               .field = field};
  __u64* count = bpf_map_lookup_elem(&watch_changes, &key);
  if (!count) {
    const __u64 zero = 0;
    bpf_map_update_elem(&watch_changes, &key, &zero, BPF_NOEXIST);
    count = bpf_map_lookup_elem(&watch_changes, &key);
  }
  if (count)
    __sync_fetch_and_add(count, 1);
  else
    __sync_fetch_and_add(&aggregates_lost[0], 1);
}

/* Counts each watched field that is other than at the hook before. */
static __noinline int watch(const struct sk_buff* skb, const struct firing* fired, struct tracked* entry) {
  __u16 size = 0;
  __u16 segments = 0;
  if (watch_mask & 1 << WEIR_WATCH_GSO_SEGS) read_gso(skb, &size, &segments);
  const __u32 now[WEIR_WATCH_FIELDS] = {[WEIR_WATCH_QUEUE_MAPPING] = skb->queue_mapping,
                                        [WEIR_WATCH_MARK] = skb->mark,
                                        [WEIR_WATCH_HASH] = skb->hash,
                                        [WEIR_WATCH_PRIORITY] = skb->priority,
                                        [WEIR_WATCH_LEN] = skb->len,
                                        [WEIR_WATCH_GSO_SEGS] = segments,
                                        [WEIR_WATCH_VLAN] = has_vlan_tag(skb) ? skb->vlan_tci + 1 : 0,
                                        [WEIR_WATCH_DEV] = fired->ifindex,
                                        [WEIR_WATCH_NETNS] = (__u32)fired->netns};
  for (int field = 0; field < WEIR_WATCH_FIELDS; ++field) {
    if (!(watch_mask & 1 << field)) continue;
    /* What a packet begins with is news where it is something that somebody has set. */
    const bool set_by_somebody = field == WEIR_WATCH_QUEUE_MAPPING || field == WEIR_WATCH_MARK ||
                                 field == WEIR_WATCH_PRIORITY || field == WEIR_WATCH_VLAN;
    if (now[field] != entry->watched[field] && (!fired->is_first || set_by_somebody)) {
      count_change(entry, fired, field, now[field]);
    }
    entry->watched[field] = now[field];
  }
  return 0;
}

/* Four buckets an octave from 64 ns on. */
static __always_inline __u32 bucket_of(__u64 ns) {
  if (ns < 64) return 0;
  __u32 octave = 0;
  __u64 rest = ns >> 6;
  for (int step = 16; step >= 1; step >>= 1) {
    if (rest >> step) {
      octave += step;
      rest >>= step;
    }
  }
  const __u32 quarter = (ns >> (octave + 4)) & 3;
  const __u32 bucket = 1 + octave * 4 + quarter;
  return bucket < WEIR_PATH_BUCKETS ? bucket : WEIR_PATH_BUCKETS - 1;
}

/* Adds the packet to the place that it has come to by the way that it came. What finds no room is still the place
 * before the next one: that is then known to hang on nothing, and not taken for a step from further back. */
static __noinline int step_on_path(const struct firing* fired, struct tracked* entry, __u64 now) {
  const __u16 detail = fired->hook == WEIR_HOOK_kfree_skb ? (__u16)fired->result : 0;
  const __u32 flags = fired->is_clone                                   ? WEIR_PATH_COPY
                      : fired->is_first && entry->branch && entry->path ? WEIR_PATH_PART
                                                                        : 0;
  const __u64 before = entry->path;
  __u64 key = (before ^ (fired->netns << 40 | (__u64)fired->ifindex << 16 | fired->hook)) * 0x9e3779b97f4a7c15ULL;
  key = (key ^ key >> 29 ^ (detail | flags << 16)) * 0xbf58476d1ce4e5b9ULL;
  key ^= key >> 32;
  if (!key) key = 1;
  if (!fired->is_clone) entry->path = key;
  struct weir_path_node* node = bpf_map_lookup_elem(&path_nodes, &key);
  if (!node) {
    static const struct weir_path_node empty;
    bpf_map_update_elem(&path_nodes, &key, &empty, BPF_NOEXIST);
    node = bpf_map_lookup_elem(&path_nodes, &key);
    if (!node) {
      __sync_fetch_and_add(&aggregates_lost[1], 1);
      return 0;
    }
    node->parent = before;
    node->netns = fired->netns;
    node->ifindex = fired->ifindex;
    node->hook = fired->hook;
    node->detail = detail;
    node->flags = flags;
  }
  const __u64 took = fired->is_first || now < entry->seen_ns ? 0 : now - entry->seen_ns;
  __sync_fetch_and_add(&node->packets, 1);
  __sync_fetch_and_add(&node->sum_ns, took);
  if (took > node->max_ns) node->max_ns = took;
  __sync_fetch_and_add(&node->buckets[bucket_of(took) & (WEIR_PATH_BUCKETS - 1)], 1);
  if (fired->last && !fired->is_clone && !fired->outlived) __sync_fetch_and_add(&node->ends, 1);
  return 1;
}
