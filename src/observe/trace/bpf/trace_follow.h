/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One firing of a hook, from counting it to knowing whose packet it is. */
#pragma once

#include "observe/trace/bpf/trace_emit.h"

/* A tracepoint's program does not nest on its CPU, the others do. */
static __always_inline void add(__u64* counter, __u16 hook) {
  if (hook < WEIR_HOOK_NF)
    *counter += 1;
  else
    __sync_fetch_and_add(counter, 1);
}

static __always_inline __u64 new_journey(void) {
  const __u32 only = 0;
  __u64* last = bpf_map_lookup_elem(&journeys, &only);
  if (!last) return 1;
  /* Programs of several hooks interrupt each other here. */
  return (__sync_fetch_and_add(last, 1) + 1) << 12 | (bpf_get_smp_processor_id() & 0xfff);
}

/* Fragments of one datagram, wherever they are: addresses and identification. 0: no fragment. */
static __always_inline __u64 fragment_key(const struct view* view) {
  __u8 bytes[48] = {};
  if (bpf_probe_read_kernel(bytes, sizeof(bytes), (void*)view->network) != 0) return 0;
  const __u8 version = bytes[0] >> 4;
  if (version == 4) {
    if ((bytes[6] & 0x3f) == 0 && bytes[7] == 0) return 0;
    return (__u64)mix(word_at(bytes + 12), word_at(bytes + 16)) << 32 | mix(bytes[9], bytes[4] << 8 | bytes[5]) | 1;
  }
  if (version != 6 || bytes[6] != 44) return 0;
  return (__u64)mix(word_at(bytes + 20), word_at(bytes + 36)) << 32 | mix(44, word_at(bytes + 44)) | 1;
}

static __always_inline __u64 segment_key(const struct sk_buff* skb, __u64 netns, __u32 ifindex) {
  return ((__u64)skb->hash << 32 | (__u32)(netns << 20 ^ ifindex)) * 0x9e3779b97f4a7c15ULL | 1;
}

static __always_inline bool join(__u64 key, struct tracked* entry) {
  if (!key) return false;
  struct parent* parent = bpf_map_lookup_elem(&parents, &key);
  if (!parent) return false;
  entry->journey = parent->journey;
  entry->path = parent->path;
  entry->branch = (__u16)(__sync_fetch_and_add(&parent->branches, 1) + 1);
  return true;
}

static __always_inline void adopt(__u64 key, const struct tracked* entry) {
  if (!key) return;
  const struct parent parent = {.journey = entry->journey, .path = entry->path};
  bpf_map_update_elem(&parents, &key, &parent, BPF_ANY);
  set_hot((__u32)key);
  if (!parents_known) parents_known = true;
}

static __always_inline bool is_wanted(const struct firing* fired, const struct view* view) {
  return fired->begins && (!only_netns || fired->netns == only_netns) && passes_filter(view);
}

/* Makes the packet known by both its addresses; NULL when another CPU took its place at once. */
static __always_inline struct tracked* put(const struct tracked* entry, const struct sk_buff* skb) {
  bpf_map_update_elem(&packets, &entry->skb, entry, BPF_ANY);
  bpf_map_update_elem(&packets_by_head, &entry->head, &entry->skb, BPF_ANY);
  set_hot(low_half(skb));
  set_hot((__u32)entry->head);
  return bpf_map_lookup_elem(&packets, &entry->skb);
}

/* Takes a packet up, if it is wanted: NULL with the account of why not. */
static __noinline struct tracked* take_up(const struct sk_buff* skb, struct firing* fired, const struct view* view,
                                          struct weir_trace_count* count, bool sampled) {
  struct tracked entry = {};
  const __u64 segment = fired->hook == WEIR_HOOK_net_dev_start_xmit && skb->hash != 0
                            ? segment_key(skb, fired->netns, fired->ifindex)
                            : 0;
  const bool kin = parents_known && (join(fragment_key(view), &entry) ||
                                     (segment && maybe_tracked((__u32)segment) && join(segment, &entry)));
  if (!kin) {
    if (!fired->wanted) {
      add(&count->filtered, fired->hook);
      return NULL;
    }
    if (sampled) entry.journey = new_journey();
  }
  entry.skb = (__u64)skb;
  entry.head = view->head;
  entry.netns = fired->netns;
  entry.ifindex = fired->ifindex;
  entry.hook = fired->hook;
  entry.stage = fired->stage;
  entry.network_offset = view->network_offset;
  entry.ct_hash = 0;
  if (!kin && entry.journey) adopt(fragment_key(view), &entry);
  fired->is_first = true;
  fired->is_origin = fired->stage == STAGE_TX ? skb->skb_iif == 0 : fired->begins && fired->hook != WEIR_HOOK_kfree_skb;
  struct tracked* taken = put(&entry, skb);
  if (!taken) add(&count->lost, fired->hook);
  return taken;
}

#define HANDED_OVER_NS 200000

/* Whether the packet of the entry can have come here: into another namespace it comes by leaving a device there and
 * being received by one here, or is handed over by a program of tc at once (bpf_redirect_peer()). */
static __always_inline bool can_be_here(const struct tracked* entry, const struct firing* fired) {
  if (!fired->placed || entry->netns == fired->netns) return true;
  if (fired->stage == STAGE_RX && entry->stage == STAGE_TX) return true;
  return entry->hook == WEIR_HOOK_netif_receive_skb && bpf_ktime_get_ns() - entry->seen_ns < HANDED_OVER_NS;
}

/* The packet's entry, if it is followed already: by its sk_buff, or as a clone by its data. */
static __always_inline struct tracked* find(const struct sk_buff* skb, const struct view* view, struct firing* fired) {
  const __u64 address = (__u64)skb;
  const __u64 head = view->head;
  struct tracked* entry = bpf_map_lookup_elem(&packets, &address);
  if (entry) {
    if (!can_be_here(entry, fired) || !still_same(entry, skb, view) ||
        begins_anew(entry, skb, fired->hook, fired->stage, fired->ifindex)) {
      forget(entry);
      return NULL;
    }
    if (entry->head != head) { /* made larger, or copied for being written to */
      bpf_map_delete_elem(&packets_by_head, &entry->head);
      bpf_map_update_elem(&packets_by_head, &head, &address, BPF_ANY);
      entry->head = head;
    }
    set_hot(low_half(skb));
    set_hot((__u32)head);
    return entry;
  }
  const __u64* original = bpf_map_lookup_elem(&packets_by_head, &head);
  if (!original) return NULL;
  const __u64 key = *original;
  entry = bpf_map_lookup_elem(&packets, &key);
  if (!entry || entry->head != head || !can_be_here(entry, fired) || !still_same(entry, skb, view)) return NULL;
  if (begins_anew(entry, skb, fired->hook, fired->stage, fired->ifindex)) {
    forget(entry);
    return NULL;
  }
  fired->is_clone = true;
  return entry;
}

static __always_inline void account(struct weir_trace_count* count, __u16 hook, bool delivered) {
  if (delivered)
    add(&count->emitted, hook);
  else
    add(&count->lost, hook);
}

/* Reports a followed packet's firing in every way that was asked for, and brings its entry up to date. */
static __always_inline void report(void* ctx, const struct sk_buff* skb, struct firing* fired, struct tracked* entry,
                                   const struct view* view, struct weir_trace_count* count) {
  if (!fired->placed && !fired->is_first) {
    fired->netns = entry->netns;
    fired->ifindex = entry->ifindex;
  }
  bool delivered = true;
  if (emit_events) delivered = emit(ctx, skb, fired, entry, view);
  if (watch_mask) watch(skb, fired, entry);
  if (count_paths) {
    const __u64 now = bpf_ktime_get_ns();
    delivered &= step_on_path(fired, entry, now) != 0;
    if (!fired->is_clone) entry->seen_ns = now;
  }
  account(count, fired->hook, delivered);
  __sync_fetch_and_add(&entry->sequence, 1);
  entry->netns = fired->netns;
  entry->ifindex = fired->ifindex;
  entry->hook = fired->hook;
  if (fired->stage) entry->stage = fired->stage;
}

#define HEIR_NS 100000

static __always_inline void leave_heir(const struct tracked* entry) {
  const __u32 only = 0;
  struct heir* heir = bpf_map_lookup_elem(&heirs, &only);
  if (!heir) return;
  heir->skb = entry->skb;
  heir->freed_ns = bpf_ktime_get_ns();
  if (!heirs_known) heirs_known = true;
}

/* The entry of the packet that this one was copied from, made its own. */
static __noinline struct tracked* inherit(const struct sk_buff* skb, const struct firing* fired,
                                          const struct view* view) {
  const __u32 only = 0;
  struct heir* heir = bpf_map_lookup_elem(&heirs, &only);
  if (!heir || !heir->skb || bpf_ktime_get_ns() - heir->freed_ns > HEIR_NS) return NULL;
  const __u64 before = heir->skb;
  struct tracked* old = bpf_map_lookup_elem(&packets, &before);
  if (!old || old->skb != before || !can_be_here(old, fired)) return NULL;
  if (begins_anew(old, skb, fired->hook, fired->stage, fired->ifindex)) return NULL;
  struct fingerprint print;
  fingerprint_at(view->network, view->captured - (__u32)(view->network - view->start), &print);
  if (!print.header || print.header != old->print.header || !parts_agree(print.payload, old->print.payload))
    return NULL;
  struct tracked entry = *old;
  entry.skb = (__u64)skb;
  entry.head = view->head;
  entry.network_offset = view->network_offset;
  heir->skb = 0;
  forget(old);
  return put(&entry, skb);
}

/* What becomes of a packet that is followed already, may be, or is to be from here on. */
static __noinline int go_on(void* ctx, const struct sk_buff* skb, struct firing* fired, const struct view* view,
                            struct weir_trace_count* count) {
  struct tracked* entry = fired->maybe_known ? find(skb, view, fired) : NULL;
  if (!entry && heirs_known && fired->begins) entry = inherit(skb, fired, view);
  if (!entry) {
    /* Here and not in take_up(): what is called needs a stack of its own, and all together have 512 bytes. */
    if (!fired->wanted) fired->wanted = is_wanted(fired, view);
    const bool sampled = sample_flows <= 1 || flow_hash(view->network) % sample_flows == 0;
    entry = take_up(skb, fired, view, count, sampled);
    if (entry) fingerprint_at(view->network, view->captured - (__u32)(view->network - view->start), &entry->print);
  }
  if (!entry) return 0;
  if (!entry->journey) {
    add(&count->sampled_out, fired->hook);
  } else {
    report(ctx, skb, fired, entry, view, count);
    if (fired->hook == WEIR_HOOK_net_dev_queue && fired->begins) {
      __u16 size;
      __u16 segments;
      read_gso(skb, &size, &segments);
      if (size && skb->hash) adopt(segment_key(skb, fired->netns, fired->ifindex), entry);
    }
  }
  if (!fired->last || fired->is_clone) return 1;
  /* A clone may still be on its way, to a raw socket or in its place; its data is what it is known by. */
  if (!BPF_CORE_READ_BITFIELD(skb, cloned))
    forget(entry);
  else if (entry->stage != STAGE_SOCKET)
    leave_heir(entry);
  return 1;
}

/* Where the hook is. */
static __always_inline void settle(struct firing* fired) {
  const struct net_device* dev = fired->dev;
  if (!dev) return;
  fired->netns = weir_dev_netns(dev);
  fired->ifindex = dev->ifindex;
  fired->placed = true;
}

/* Whether it may be a segment of a packet that is followed. */
static __always_inline bool maybe_segment(const struct sk_buff* skb, struct firing* fired) {
  if (fired->hook != WEIR_HOOK_net_dev_start_xmit || !parents_known || skb->hash == 0) return false;
  settle(fired);
  return maybe_tracked((__u32)segment_key(skb, fired->netns, fired->ifindex));
}

/* In each program itself, because where processors are guarded against speculation a return costs more than all that a
 * trace which waits for a rare packet does here. */
static __always_inline int follow(void* ctx, const struct sk_buff* skb, struct firing* fired) {
  const __u32 row = fired->hook;
  if (!running) return 0;
  struct weir_trace_count* count = bpf_map_lookup_elem(&counts, &row);
  if (!count) return 0;
  add(&count->seen, fired->hook);
  const bool segment = maybe_segment(skb, fired);
  if (only_netns) settle(fired);
  fired->maybe_known = maybe_tracked(low_half(skb)) || maybe_tracked((__u32)head_of(skb));
  struct view view;
  if ((!fired->begins && !segment && !fired->maybe_known) || !look_at_packet(skb, &view)) {
    add(&count->filtered, fired->hook);
    return 0;
  }
  if (!fired->maybe_known && !parents_known && !heirs_known) {
    fired->wanted = is_wanted(fired, &view);
    if (!fired->wanted) {
      add(&count->filtered, fired->hook);
      return 0;
    }
  }
  settle(fired);
  return go_on(ctx, skb, fired, &view, count);
}
