/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table of flows. An array with open addressing and double hashing (Knuth 6.4, algorithm D): a hit costs seven
 * multiplications that do not wait for each other, and one comparison, and no call of a helper. */
#pragma once

#include "observe/flows/bpf/flow_state.h"

static __always_inline bool same_flow(const struct weir_flow_id* a, const struct weir_flow_id* b) {
  const __u64* x = (const void*)a;
  const __u64* y = (const void*)b;
  __u64 differ = 0;
#pragma unroll
  for (int word = 0; word < (int)(sizeof(*a) / 8); word++) differ |= x[word] ^ y[word];
  return differ == 0;
}

/* Multilinear hashing (Lemire and Kaser, 2014) over the words of the key, then the finaliser of murmur3. */
static __always_inline __u64 hash_flow(const struct weir_flow_id* id) {
  const __u64* words = (const void*)id;
  __u64 hash =
      words[0] * 0x9E3779B97F4A7C15ULL + (words[1] ^ words[1] >> 32) * 0xC2B2AE3D27D4EB4FULL +
      (words[2] ^ words[2] >> 32) * 0x165667B19E3779F9ULL + (words[3] ^ words[3] >> 32) * 0xD6E8FEB86659FD93ULL +
      (words[4] ^ words[4] >> 32) * 0xA0761D6478BD642FULL + (words[5] ^ words[5] >> 32) * 0xE7037ED1A0B428DBULL +
      (words[6] ^ words[6] >> 32) * 0x8EBC6AF09C88C6E3ULL;
  hash ^= hash >> 33;
  hash *= 0xFF51AFD7ED558CCDULL;
  return hash ^ hash >> 33;
}

/* Whoever sets `state` first owns the row; it goes live when it can be read. */
static __always_inline bool claim_row(struct weir_flow_row* row, const struct weir_flow_id* id, __u64 now) {
  if (__sync_val_compare_and_swap(&row->state, WEIR_FLOW_FREE, WEIR_FLOW_CLAIMED) != WEIR_FLOW_FREE) return false;
  const struct weir_flow_count fresh = {.first_ns = now, .above_ns = now};
  row->id = *id;
  row->count = fresh;
  __sync_lock_test_and_set(&row->state, WEIR_FLOW_LIVE);
  return true;
}

/* Index of a probe; the same hash always has the same ones. */
static __always_inline __u32 flow_probe(__u64 hash, int probe) {
  const __u32 step = (__u32)(hash >> 32) | 1;
  const __u32 at = (__u32)hash + (__u32)probe * step;
  return at & (probe < WEIR_FLOW_NEAR_PROBES ? flow_near_mask : flow_row_mask);
}

/* Makes the flow's row, or finds it far from its first place: others may have stood before it when it was made. A free
 * row is taken only when the flow is not in the first place behind the near ones either. */
static __noinline struct weir_flow_count* flow_far(const struct weir_flow_id* id, __u64 hash, __u64 now) {
  for (int probe = 0; probe < WEIR_FLOW_PROBES; probe++) {
    const __u32 index = flow_probe(hash, probe);
    struct weir_flow_row* row = bpf_map_lookup_elem(&flows, &index);
    if (!row) return NULL;
    if (row->state == WEIR_FLOW_LIVE && same_flow(&row->id, id)) return &row->count;
    if (row->state == WEIR_FLOW_FREE && claim_row(row, id, now)) return &row->count;
  }
  return NULL;
}

/* The flow's counters, made when this is its first packet; NULL when there is no room. */
static __always_inline struct weir_flow_count* flow_of(const struct weir_flow_id* id, __u64 hash, __u64 now) {
#pragma unroll
  for (int probe = 0; probe <= WEIR_FLOW_NEAR_PROBES; probe++) {
    const __u32 index = flow_probe(hash, probe);
    struct weir_flow_row* row = bpf_map_lookup_elem(&flows, &index);
    if (!row) return NULL;
    if (row->state == WEIR_FLOW_LIVE && same_flow(&row->id, id)) return &row->count;
  }
  return flow_far(id, hash, now);
}
