/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps and settings of the flow account. */
#pragma once

#include "observe/flows/bpf/flows_abi.h"
#include "weir_kernel.h"

const volatile bool account_flows = false;
/* The policy of model::ElephantPolicy; the rate in bytes per 2^20 ns, so that a shift divides. */
const volatile __u64 elephant_bytes = 1 << 20;
const volatile __u64 elephant_rate = 1310;
const volatile __u64 elephant_sustained_ns = 100000000;
const volatile __u64 elephant_demote_ns = 5000000000;

const volatile __u32 flow_row_mask = 131071;                   /* rows minus one; a power of two minus one */
const volatile __u32 flow_near_mask = WEIR_FLOW_NEAR_ROWS - 1; /* of the first rows, at most flow_row_mask */
const volatile __u32 flow_sketch_mask = WEIR_FLOW_SKETCH_ROWS - 1;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 131072); /* resized at load time with flow_row_mask, see observe/dataplane */
  __type(key, __u32);
  __type(value, struct weir_flow_row);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, struct weir_flow_id);
  __type(value, struct weir_flow_nat);
} flow_nats SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8192);
  __type(key, struct weir_flow_place);
  __type(value, struct weir_flow_overflow);
} flow_overflows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_FLOW_SKETCH_ROWS);
  __type(key, __u32);
  __type(value, struct weir_flow_sketch);
} flow_sketch SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 18);
} flow_events SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, WEIR_FLOW_STAT_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} flow_stats SEC(".maps");

/* CLOCK_MONOTONIC as of the first packet of the tick on this CPU: the clock itself is read once a tick, because reading
 * it costs as much as all the rest. Two CPUs may differ by a tick, so time may seem to run backwards. */
struct flow_tick {
  __u64 jiffies;
  __u64 ns;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct flow_tick);
} flow_clock SEC(".maps");

static __always_inline __u64 flow_now(void) {
  const __u32 only = 0;
  struct flow_tick* tick = bpf_map_lookup_elem(&flow_clock, &only);
  const __u64 jiffies = bpf_jiffies64();
  if (!tick) return bpf_ktime_get_ns();
  if (tick->jiffies != jiffies) {
    tick->ns = bpf_ktime_get_ns();
    tick->jiffies = jiffies;
  }
  return tick->ns;
}

/* 0 when another CPU's tick was ahead. */
static __always_inline __u64 flow_span(__u64 from_ns, __u64 to_ns) {
  return to_ns > from_ns ? to_ns - from_ns : 0;
}

static __always_inline void flow_stat_add(__u32 stat, __u64 amount) {
  __u64* value = bpf_map_lookup_elem(&flow_stats, &stat);
  if (value) __sync_fetch_and_add(value, amount);
}
