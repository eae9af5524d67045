/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets whose flow finds no room: their bytes exactly, and the heavy ones among their flows nearly. */
#pragma once

#include "observe/flows/bpf/flow_rows.h"

#define ELASTIC_LAMBDA 8

static __always_inline void take_row(struct weir_flow_sketch* row, const struct weir_flow_id* id, __u64 bytes,
                                     __u64 now) {
  row->id = *id;
  row->bytes = bytes;
  row->packets = 1;
  row->others = 0;
  row->since_ns = now;
  row->last_ns = now;
}

static __always_inline void sketch_flow(const struct weir_flow_id* id, __u64 hash, __u64 bytes, __u64 now) {
  struct weir_flow_sketch* weaker = NULL;
#pragma unroll
  for (int way = 0; way < 2; way++) {
    const __u32 index = (__u32)(hash >> (way * 32)) & flow_sketch_mask;
    struct weir_flow_sketch* row = bpf_map_lookup_elem(&flow_sketch, &index);
    if (!row) return;
    if (row->id.ethertype == 0) return take_row(row, id, bytes, now);
    if (same_flow(&row->id, id)) {
      row->bytes += bytes;
      row->packets += 1;
      row->last_ns = now;
      return;
    }
    if (!weaker || row->bytes < weaker->bytes) weaker = row;
  }
  if (!weaker) return;
  weaker->others += bytes;
  if (weaker->others > ELASTIC_LAMBDA * weaker->bytes) take_row(weaker, id, bytes, now);
}

static __noinline int flow_overflow(const struct weir_flow_id* id, __u64 hash, __u64 bytes, __u64 now) {
  const struct weir_flow_place place = {.netns = id->netns, .ifindex = id->ifindex, .direction = id->direction};
  struct weir_flow_overflow* sum = bpf_map_lookup_elem(&flow_overflows, &place);
  if (!sum) {
    const struct weir_flow_overflow zero = {};
    bpf_map_update_elem(&flow_overflows, &place, &zero, BPF_NOEXIST);
    sum = bpf_map_lookup_elem(&flow_overflows, &place);
  }
  if (sum) {
    __sync_fetch_and_add(&sum->bytes, bytes);
    __sync_fetch_and_add(&sum->packets, 1);
  } else {
    flow_stat_add(WEIR_FLOW_STAT_UNCOUNTED, bytes);
  }
  sketch_flow(id, hash, bytes, now);
  return 0;
}
