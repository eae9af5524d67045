/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether a flow is an elephant, decided on the value that its packet has just touched. */
#pragma once

#include "observe/flows/bpf/flow_state.h"

static __always_inline __u64 at_policy_rate(__u64 span_ns) {
  const __u64 most = 1ULL << 36; /* 69 s: the product stays far below 2^64 up to 100 Gbit/s */
  return (span_ns < most ? span_ns : most) * elephant_rate >> 20;
}

static __always_inline void tell_elephant(const struct weir_flow_id* id, const struct weir_flow_count* flow, __u32 what,
                                          __u64 span_ns, __u64 span_bytes) {
  struct weir_flow_event* event = bpf_ringbuf_reserve(&flow_events, sizeof(*event), 0);
  if (!event) {
    flow_stat_add(WEIR_FLOW_STAT_EVENTS_LOST, 1);
    return;
  }
  event->time_ns = bpf_ktime_get_ns();
  event->bytes = flow->bytes;
  event->span_ns = span_ns;
  event->span_bytes = span_bytes;
  event->id = *id;
  event->what = what;
  event->pad = 0;
  bpf_ringbuf_submit(event, 0);
}

/* A leaky bucket of the policy's rate tells since when the flow keeps that rate up. It holds half of the span that must
 * be sustained, so that one burst does not count for long. Two CPUs may judge at once; only one of them promotes. */
static __always_inline void judge_flow(const struct weir_flow_id* id, struct weir_flow_count* flow, __u64 bytes,
                                       __u64 before_ns, __u64 now) {
  if (flow->elephant) {
    const __u64 span = flow_span(flow->judged_ns, now);
    if (span < elephant_demote_ns) return;
    const __u64 moved = flow->bytes - flow->judged_bytes;
    flow->judged_ns = now;
    flow->judged_bytes = flow->bytes;
    if (moved >= at_policy_rate(span) / 2) return;
    if (__sync_val_compare_and_swap(&flow->elephant, 1, 0) == 1)
      tell_elephant(id, flow, WEIR_FLOW_DEMOTED, span, moved);
    flow->credit = 0;
    return;
  }
  const __u64 drained = at_policy_rate(flow_span(before_ns, now));
  const __u64 most = at_policy_rate(elephant_sustained_ns / 2);
  __u64 credit = flow->credit;
  if (credit <= drained) {
    credit = 0;
    flow->above_ns = now;
  } else {
    credit -= drained;
  }
  credit += bytes;
  flow->credit = credit < most + bytes ? credit : most + bytes;
  if (flow->bytes < elephant_bytes || flow_span(flow->above_ns, now) < elephant_sustained_ns) return;
  if (__sync_val_compare_and_swap(&flow->elephant, 0, 1) != 0) return;
  flow->judged_ns = now;
  flow->judged_bytes = flow->bytes;
  tell_elephant(id, flow, WEIR_FLOW_PROMOTED, flow_span(flow->first_ns, now), flow->bytes);
}
