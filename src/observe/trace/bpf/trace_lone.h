/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Hooks that no packet can be named for: XDP has no sk_buff yet, and a neighbour that cannot be made has none any more.
 * What they tell stands on its own. A filter cannot be asked for it, so with one they only speak when they were named.
 */
#pragma once

#include "observe/trace/bpf/trace_follow.h"

#define ENOBUFS 105

struct event_xdp {
  struct weir_trace_event head;
  struct weir_trace_xdp xdp;
};

struct lone {
  struct weir_trace_xdp xdp;
  __u64 netns;
  __u32 ifindex;
  __s32 result;
  __u16 hook;
};

static __always_inline void place_lone(struct lone* lone, const struct net_device* dev) {
  if (!dev) return;
  lone->netns = weir_dev_netns(dev);
  lone->ifindex = dev->ifindex;
}

static __noinline int tell(const struct lone* lone) {
  const __u32 row = lone->hook;
  if (!running) return 0;
  struct weir_trace_count* count = bpf_map_lookup_elem(&counts, &row);
  if (!count) return 0;
  add(&count->seen, lone->hook);
  const bool wanted = lone_wanted[row >> 6 & 1] >> (row & 63) & 1;
  if (!emit_events || !wanted || (only_netns && lone->netns != only_netns)) {
    add(&count->filtered, lone->hook);
    return 0;
  }
  struct event_xdp* event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
  if (event) {
    __builtin_memset(&event->head, 0, sizeof(event->head));
    event->head.time_ns = bpf_ktime_get_ns();
    event->head.netns = lone->netns;
    event->head.ifindex = lone->ifindex;
    event->head.cpu = bpf_get_smp_processor_id();
    event->head.hook = lone->hook;
    event->head.result = lone->result;
    event->head.flags = WEIR_FLAG_BESIDE;
    event->head.sections = lone->result ? 0 : WEIR_SECTION_XDP;
    __builtin_memcpy(&event->xdp, &lone->xdp, sizeof(event->xdp));
    bpf_ringbuf_submit(event, wakeup_flags());
  }
  account(count, lone->hook, event != NULL);
  return 0;
}

/* A neighbour that there was no room for: the table is full (gc_thresh3), or memory is. */
SEC("tp_btf/neigh_create")
int BPF_PROG(trace_neigh_create, void* table, const struct net_device* dev, const void* key,
             const struct neighbour* made) {
  if (made) return 0;
  struct lone lone = {.hook = WEIR_HOOK_neigh_create, .result = -ENOBUFS};
  place_lone(&lone, dev);
  return tell(&lone);
}

SEC("tp_btf/xdp_exception")
int BPF_PROG(trace_xdp_exception, const struct net_device* dev, const struct bpf_prog* program, __u32 action) {
  struct lone lone = {.hook = WEIR_HOOK_xdp_exception, .xdp = {.action = action, .dropped = 1}};
  place_lone(&lone, dev);
  if (program) lone.xdp.program = program->aux->id;
  return tell(&lone);
}

static __always_inline int redirected(__u16 hook, const struct net_device* dev, const struct bpf_prog* program,
                                      int error, __u32 to) {
  struct lone lone = {.hook = hook, .xdp = {.action = XDP_REDIRECT, .error = error, .to = to, .dropped = error != 0}};
  place_lone(&lone, dev);
  if (program) lone.xdp.program = program->aux->id;
  return tell(&lone);
}

SEC("tp_btf/xdp_redirect_err")
int BPF_PROG(trace_xdp_redirect_err, const struct net_device* dev, const struct bpf_prog* program, const void* target,
             int error, int map_type, __u32 map, __u32 index) {
  return redirected(WEIR_HOOK_xdp_redirect_err, dev, program, error, index);
}

SEC("tp_btf/xdp_redirect")
int BPF_PROG(trace_xdp_redirect, const struct net_device* dev, const struct bpf_prog* program, const void* target,
             int error, int map_type, __u32 map, __u32 index) {
  return redirected(WEIR_HOOK_xdp_redirect, dev, program, 0, index);
}

/* Batches: only what did not go through says anything. */
static __always_inline int batch(__u16 hook, const struct net_device* dev, __u32 action, int sent, int dropped,
                                 int error) {
  if (dropped <= 0) return 0;
  struct lone lone = {.hook = hook,
                      .xdp = {.action = action, .error = error, .sent = sent > 0 ? sent : 0, .dropped = dropped}};
  place_lone(&lone, dev);
  return tell(&lone);
}

SEC("tp_btf/xdp_devmap_xmit")
int BPF_PROG(trace_xdp_devmap_xmit, const struct net_device* from, const struct net_device* to, int sent, int dropped,
             int error) {
  return batch(WEIR_HOOK_xdp_devmap_xmit, to, XDP_REDIRECT, sent, dropped, error);
}

SEC("tp_btf/xdp_bulk_tx")
int BPF_PROG(trace_xdp_bulk_tx, const struct net_device* dev, int sent, int dropped, int error) {
  return batch(WEIR_HOOK_xdp_bulk_tx, dev, XDP_TX, sent, dropped, error);
}

static __always_inline int cpu_batch(__u16 hook, __u32 processed, __u32 dropped, __u32 cpu) {
  if (!dropped) return 0;
  struct lone lone = {.hook = hook, .xdp = {.action = XDP_REDIRECT, .to = cpu, .sent = processed, .dropped = dropped}};
  return tell(&lone);
}

SEC("tp_btf/xdp_cpumap_enqueue")
int BPF_PROG(trace_xdp_cpumap_enqueue, int map, unsigned int processed, unsigned int dropped, int to_cpu) {
  return cpu_batch(WEIR_HOOK_xdp_cpumap_enqueue, processed, dropped, to_cpu);
}

/* Runs on the CPU that was redirected to. */
SEC("tp_btf/xdp_cpumap_kthread")
int BPF_PROG(trace_xdp_cpumap_kthread, int map, unsigned int processed, unsigned int dropped) {
  return cpu_batch(WEIR_HOOK_xdp_cpumap_kthread, processed, dropped, bpf_get_smp_processor_id());
}
