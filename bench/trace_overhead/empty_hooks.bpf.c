// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Empty programs at the tracepoints of `weir trace`: what being called there costs before anything is done.
#include "observe/trace/bpf/trace_hooks.h"
#include "weir_kernel.h"

#define X(number, program, ...)    \
  SEC("tp_btf/" #program)          \
  int empty_##program(void* ctx) { \
    return 0;                      \
  }
WEIR_TRACEPOINTS(X)
#undef X

char _license[] SEC("license") = "Dual BSD/GPL";
