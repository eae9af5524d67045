/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The exact counters. Each CPU has an open-addressed table of its own in a per-CPU array: a packet pays for one
 * multiplication and one comparison instead of a hash and a bucket walk (docs/performance.md: less than half of the
 * whole price). A row is claimed once and keeps its key, so a reader can never see a count move. What finds no
 * row in WEIR_ROW_PROBES steps is counted in a hash map, as exactly. */
#pragma once

#include "observe/queues/bpf/queues_abi.h"
#include "weir_kernel.h"

#define WEIR_ROW_PROBES 4

const volatile __u32 row_mask = 1023; /* rows of a CPU minus one; a power of two minus one */

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1024); /* resized at load time with row_mask, see observe/dataplane */
  __type(key, __u32);
  __type(value, struct weir_queue_row);
} queue_rows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, 4096); /* resized at load time by the number of CPUs */
  __type(key, struct weir_queue_key);
  __type(value, struct weir_queue_count);
} queue_counts SEC(".maps");

/* The half of a key that says where inside the namespace; never 0, because no ifindex is. */
static __always_inline __u64 row_place(const struct weir_queue_key* key) {
  return (__u64)key->ifindex | (__u64)key->queue << 32 | (__u64)key->direction << 48;
}

static __always_inline __u32 row_start(__u64 netns, __u64 place) {
  /* Fibonacci hashing (Knuth 6.4) of both halves; the high bits are the mixed ones. */
  return (__u32)((netns * 0x9E3779B97F4A7C15ULL ^ place) * 0xC2B2AE3D27D4EB4FULL >> 40);
}

/* Takes a free row. Interrupts may count another packet on this CPU in between: the first to set `place` owns the row,
 * and one that meets it half claimed goes on to the next, where the reader finds the same key and adds both. */
static __always_inline bool row_claim(struct weir_queue_row* row, __u64 netns, __u64 place) {
  if (__sync_val_compare_and_swap(&row->place, 0, place) != 0) return false;
  row->netns = netns;
  return true;
}

/* The counters of this key on this CPU; NULL when there is room nowhere. */
static __always_inline struct weir_queue_count* queue_row(const struct weir_queue_key* key) {
  const __u64 place = row_place(key);
  const __u32 start = row_start(key->netns, place);
#pragma unroll
  for (__u32 step = 0; step < WEIR_ROW_PROBES; step++) {
    const __u32 index = (start + step) & row_mask;
    struct weir_queue_row* row = bpf_map_lookup_elem(&queue_rows, &index);
    if (!row) break;
    if (row->place == place && row->netns == key->netns) return &row->count;
    if (row->place == 0 && row_claim(row, key->netns, place)) return &row->count;
  }
  struct weir_queue_count* count = bpf_map_lookup_elem(&queue_counts, key);
  if (count) return count;
  const struct weir_queue_count zero = {};
  bpf_map_update_elem(&queue_counts, key, &zero, BPF_NOEXIST);
  return bpf_map_lookup_elem(&queue_counts, key);
}
