/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hooks without a packet: route lookups and changes of a TCP socket's state. They belong to the packet that this CPU
 * received last, if they are about its addresses (or, as the check of the reverse path is, about the swapped ones). */
#pragma once

#include "observe/trace/bpf/trace_follow.h"

#define BESIDE_NS 500000

/* The packet that is being received on this CPU, if it is followed. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} received SEC(".maps");

static __always_inline void set_received(const struct sk_buff* skb) {
  const __u32 only = 0;
  __u64* last = bpf_map_lookup_elem(&received, &only);
  if (last) *last = (__u64)skb;
}

static __always_inline struct tracked* received_packet(void) {
  const __u32 only = 0;
  const __u64* last = bpf_map_lookup_elem(&received, &only);
  const __u64 skb = last ? *last : 0;
  struct tracked* entry = skb ? bpf_map_lookup_elem(&packets, &skb) : NULL;
  if (!entry || !entry->journey || !emit_events || entry->stage == STAGE_TX) return NULL;
  /* Long ago received, and this is something else that the CPU does since. */
  return bpf_ktime_get_ns() - entry->seen_ns < BESIDE_NS ? entry : NULL;
}

/* The head of an event that is not the packet's own: what is known of it, and no more. */
static __always_inline void fill_beside(struct weir_trace_event* event, const struct tracked* entry, __u16 hook,
                                        __s32 result) {
  __builtin_memset(event, 0, sizeof(*event));
  event->time_ns = bpf_ktime_get_ns();
  event->journey = entry->journey;
  event->skb = entry->skb;
  event->netns = entry->netns;
  event->ifindex = entry->ifindex;
  event->sequence = entry->sequence;
  event->cpu = bpf_get_smp_processor_id();
  event->hook = hook;
  event->branch = entry->branch;
  event->result = result;
  event->flags = WEIR_FLAG_BESIDE;
}

#define LOOPBACK_IFINDEX 1

struct lookup {
  struct weir_trace_fib fib;
  __u32 iif;
  __u16 hook;
  __u8 bytes; /* of an address */
};

static __always_inline bool equal_bytes(const __u8* a, const __u8* b, __u8 bytes) {
  for (int i = 0; i < 16; i += 4) {
    if (i < bytes && word_at(a + i) != word_at(b + i)) return false;
  }
  return true;
}

static __always_inline bool asks_for(const struct lookup* lookup, const struct tracked* entry) {
  __u8 header[40];
  if (bpf_probe_read_kernel(header, sizeof(header), (void*)(entry->head + entry->network_offset)) != 0) return false;
  const __u8* source = lookup->bytes == 4 ? header + 12 : header + 8;
  const __u8* destination = lookup->bytes == 4 ? header + 16 : header + 24;
  if (header[0] >> 4 != (lookup->bytes == 4 ? 4 : 6)) return false;
  const __u8* from = lookup->fib.source;
  const __u8* to = lookup->fib.destination;
  /* A lookup for a packet to be sent comes from the loopback device: it may be of a like packet, elsewhere. */
  const bool sends = lookup->iif == LOOPBACK_IFINDEX && entry->ifindex != LOOPBACK_IFINDEX;
  return (!sends && equal_bytes(to, destination, lookup->bytes)) ||
         (equal_bytes(to, source, lookup->bytes) && equal_bytes(from, destination, lookup->bytes));
}

/* Counts a lookup; true when there is a packet that it may belong to. Most often there is none. */
static __always_inline bool lookup_matters(__u16 hook) {
  const __u32 row = hook;
  if (!running) return false;
  struct weir_trace_count* count = bpf_map_lookup_elem(&counts, &row);
  if (!count) return false;
  add(&count->seen, hook);
  const struct tracked* entry = received_packet();
  if (entry && entry->stage == STAGE_RX) return true;
  add(&count->filtered, hook);
  return false;
}

static __noinline int follow_lookup(const struct lookup* lookup) {
  const __u32 row = lookup->hook;
  struct weir_trace_count* count = bpf_map_lookup_elem(&counts, &row);
  if (!count) return 0;
  struct tracked* entry = received_packet();
  if (!entry || !asks_for(lookup, entry)) {
    add(&count->filtered, lookup->hook);
    return 0;
  }
  struct event_fib* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (event) {
    fill_beside(&event->head, entry, lookup->hook, lookup->fib.error);
    event->head.sections = WEIR_SECTION_FIB;
    __builtin_memcpy(&event->fib, &lookup->fib, sizeof(event->fib));
    bpf_ringbuf_submit(event, wakeup_flags());
  }
  account(count, lookup->hook, event != NULL);
  __sync_fetch_and_add(&entry->sequence, 1);
  return 0;
}

static __always_inline void read_gateway(struct weir_trace_fib* fib, const struct fib_nh_common* next) {
  const struct net_device* dev = next->nhc_dev;
  if (dev) fib->oif = dev->ifindex;
  fib->gateway_family = next->nhc_gw_family;
  bpf_probe_read_kernel(fib->gateway, sizeof(fib->gateway), &next->nhc_gw);
}

SEC("tp_btf/fib_table_lookup")
int BPF_PROG(trace_fib_table_lookup, __u32 table, const struct flowi4* flow, const struct fib_nh_common* next,
             int error) {
  if (!lookup_matters(WEIR_HOOK_fib_table_lookup)) return 0;
  struct lookup lookup = {.iif = flow->__fl_common.flowic_iif, .hook = WEIR_HOOK_fib_table_lookup, .bytes = 4};
  lookup.fib.table = table;
  lookup.fib.error = error;
  lookup.fib.family = AF_INET;
  const __be32 source = flow->saddr;
  const __be32 destination = flow->daddr;
  __builtin_memcpy(lookup.fib.source, &source, sizeof(source));
  __builtin_memcpy(lookup.fib.destination, &destination, sizeof(destination));
  if (next) read_gateway(&lookup.fib, next);
  return follow_lookup(&lookup);
}

SEC("tp_btf/fib6_table_lookup")
int BPF_PROG(trace_fib6_table_lookup, const struct net* net, const struct fib6_result* found,
             const struct fib6_table* table, const struct flowi6* flow) {
  if (!lookup_matters(WEIR_HOOK_fib6_table_lookup)) return 0;
  struct lookup lookup = {.iif = flow->__fl_common.flowic_iif, .hook = WEIR_HOOK_fib6_table_lookup, .bytes = 16};
  lookup.fib.table = table->tb6_id;
  lookup.fib.family = AF_INET6;
  bpf_probe_read_kernel(lookup.fib.source, 16, &flow->saddr);
  bpf_probe_read_kernel(lookup.fib.destination, 16, &flow->daddr);
  const struct fib6_nh* next = found->nh;
  if (next) read_gateway(&lookup.fib, &next->nh_common);
  return follow_lookup(&lookup);
}

/* Ends the journey of what opens and closes connections: it is freed where no tracepoint looks. */
static __always_inline bool is_for(const struct sock_common* sk, const struct tracked* entry) {
  __u8 header[64];
  if (bpf_probe_read_kernel(header, sizeof(header), (void*)(entry->head + entry->network_offset)) != 0) return false;
  const __u32 offset = header[0] >> 4 == 6 ? 40 : (header[0] & 15) * 4;
  __be16 ports[2] = {};
  if (offset > sizeof(header) - sizeof(ports)) return false;
  if (bpf_probe_read_kernel(ports, sizeof(ports), (void*)(entry->head + entry->network_offset + offset)) != 0)
    return false;
  const __be16 peer = sk->skc_dport; /* 0: a UDP socket that takes from everybody */
  return (ports[0] == peer || peer == 0) && ports[1] == bpf_htons(sk->skc_num) &&
         weir_net_id(sk->skc_net.net) == entry->netns;
}

static __noinline int follow_socket(const struct sock_common* sk, __u16 hook, int result) {
  const __u32 row = hook;
  if (!running) return 0;
  struct weir_trace_count* count = bpf_map_lookup_elem(&counts, &row);
  if (!count) return 0;
  add(&count->seen, hook);
  struct tracked* entry = received_packet();
  if (!entry || !is_for(sk, entry)) {
    add(&count->filtered, hook);
    return 0;
  }
  struct event_small* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (event) {
    fill_beside(&event->head, entry, hook, result);
    bpf_ringbuf_submit(event, wakeup_flags());
  }
  account(count, hook, event != NULL);
  __sync_fetch_and_add(&entry->sequence, 1);
  entry->stage = STAGE_SOCKET; /* routes that are looked up from now on are those of the answer */
  return 0;
}

/* A packet has been put into a socket's queue. */
SEC("tp_btf/sk_data_ready")
int BPF_PROG(trace_sk_data_ready, const struct sock* sk) {
  return follow_socket(&sk->__sk_common, WEIR_HOOK_sk_data_ready, 0);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(trace_inet_sock_set_state, const struct sock* sk, const int before, const int after) {
  return follow_socket(&sk->__sk_common, WEIR_HOOK_inet_sock_set_state, before << 8 | after);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(trace_tcp_receive_reset, const struct sock* sk) {
  return follow_socket(&sk->__sk_common, WEIR_HOOK_tcp_receive_reset, 0);
}

/* Because of a SYN that came again; what the timer sends again belongs to no packet. */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(trace_tcp_retransmit_synack, const struct sock* sk, const struct request_sock* request) {
  return follow_socket(&request->__req_common, WEIR_HOOK_tcp_retransmit_synack, 0);
}
