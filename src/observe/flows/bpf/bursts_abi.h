/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The contract between the burst account and observe/flows: included and size-asserted by both compilers. */
#pragma once

#include "bpf/include/weir_abi.h"

/* Bytes of one device and direction in each millisecond of a run: the method of Millisampler (Ghabashneh et al., IMC
 * 2022, section 3). All CPUs add to the same row, by atomic additions. */
#define WEIR_BURST_BINS 4096
#define WEIR_BURST_BIN_NS 1000000
#define WEIR_BURST_LANES 512
struct weir_burst_lane {
  __u64 netns;
  __u32 ifindex;
  __u32 direction; /* enum weir_direction */
  __u32 bytes[WEIR_BURST_BINS];
};
WEIR_ABI_ASSERT(sizeof(struct weir_burst_lane) == 16400);

struct weir_burst_place {
  __u64 netns;
  __u32 ifindex;
  __u32 direction;
};
WEIR_ABI_ASSERT(sizeof(struct weir_burst_place) == 16);

/* The one run that there is. */
struct weir_burst_run {
  __u64 start_ns;       /* CLOCK_MONOTONIC of the first bin's beginning; 0: not yet */
  __u64 lanes;          /* that were handed out, or asked for when there were no more */
  __u64 unplaced_bytes; /* of devices that found no row */
};
WEIR_ABI_ASSERT(sizeof(struct weir_burst_run) == 24);
