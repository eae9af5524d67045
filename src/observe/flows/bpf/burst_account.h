/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* burst_account(): bytes a millisecond of each device and direction, in short runs. Without a run these are no
 * instructions at all: the verifier takes out what a constant rules out. */
#pragma once

#include "observe/flows/bpf/bursts_abi.h"
#include "weir_kernel.h"

const volatile bool account_bursts = false;
const volatile __u32 burst_lane_count = WEIR_BURST_LANES;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct weir_burst_run);
} burst_run SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, WEIR_BURST_LANES);
  __type(key, __u32);
  __type(value, struct weir_burst_lane);
} burst_lanes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, WEIR_BURST_LANES);
  __type(key, struct weir_burst_place);
  __type(value, __u32);
} burst_places SEC(".maps");

/* A row for a device that is seen for the first time; of two CPUs that do so at once, one's row stays empty. */
static __always_inline struct weir_burst_lane* new_burst_lane(const struct weir_burst_place* place,
                                                              struct weir_burst_run* run) {
  if (run->lanes >= burst_lane_count) return NULL;
  __u32 lane = (__u32)__sync_fetch_and_add(&run->lanes, 1);
  if (lane >= burst_lane_count) return NULL;
  if (bpf_map_update_elem(&burst_places, place, &lane, BPF_NOEXIST)) {
    const __u32* other = bpf_map_lookup_elem(&burst_places, place);
    if (!other) return NULL;
    lane = *other;
    return bpf_map_lookup_elem(&burst_lanes, &lane);
  }
  struct weir_burst_lane* row = bpf_map_lookup_elem(&burst_lanes, &lane);
  if (!row) return NULL;
  row->netns = place->netns;
  row->ifindex = place->ifindex;
  row->direction = place->direction;
  return row;
}

static __always_inline void burst_account(const struct net_device* dev, __u32 direction, __u64 bytes) {
  const __u32 only = 0;
  struct weir_burst_run* run = bpf_map_lookup_elem(&burst_run, &only);
  if (!run || !run->start_ns) return;
  const __u64 now = bpf_ktime_get_ns();
  const __u64 start = run->start_ns;
  if (now < start) return;
  const __u64 bin = (now - start) / WEIR_BURST_BIN_NS;
  if (bin >= WEIR_BURST_BINS) return;
  const struct weir_burst_place place = {.netns = weir_dev_netns(dev), .ifindex = dev->ifindex, .direction = direction};
  const __u32* lane = bpf_map_lookup_elem(&burst_places, &place);
  struct weir_burst_lane* row = lane ? bpf_map_lookup_elem(&burst_lanes, lane) : new_burst_lane(&place, run);
  if (!row) {
    __sync_fetch_and_add(&run->unplaced_bytes, bytes);
    return;
  }
  __sync_fetch_and_add(&row->bytes[bin & (WEIR_BURST_BINS - 1)], (__u32)bytes);
}
