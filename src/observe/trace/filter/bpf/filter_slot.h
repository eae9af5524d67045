/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Functions of a BPF object that decide whether a packet is wanted, with room for what the user's expression becomes.
 *
 *     WEIR_FILTER_SLOT(weir_filter_link);
 *     if (weir_filter_link(address, captured, length)) ...
 *
 * User space writes the instructions over the function in the object file, before it is loaded (place.h). Being global,
 * the function is verified once and on its own, with three unknown numbers: no caller grows more complex by it. */
#pragma once

/* Twice what the kernel takes of a socket's classic filter (BPF_MAXINSNS). */
#define WEIR_FILTER_INSTRUCTIONS 8192
#define WEIR_FILTER_LINK "weir_filter_link"
#define WEIR_FILTER_NETWORK "weir_filter_network"

#ifdef __bpf__

#include "weir_kernel.h"

#define WEIR_FILTER_TEXT_(number) #number
#define WEIR_FILTER_TEXT(number) WEIR_FILTER_TEXT_(number)

/* Not 0 when a packet is wanted that begins at the kernel address `start`, is `length` bytes long and of which
 * `captured` bytes are there to be read. As compiled every packet is. The room must be reachable or the verifier
 * refuses the program, and known never to be reached so that it cuts it out at once; it would take `goto +0` out one by
 * one, which moves everything behind it each time. The arguments are the assembler's, or clang may leave them out in
 * calls. */
#define WEIR_FILTER_SLOT(name)                                                                 \
  __u32 name(__u64 start, __u32 captured, __u32 length);                                       \
  __attribute__((noinline)) __u32 name(__u64 start, __u32 captured, __u32 length) {            \
    __u64 wanted;                                                                              \
    asm volatile(                                                                            \
        "r0 = 1\n"                                                                           \
        "if r0 == 1 goto .Lwanted_%=\n"                                                   \
        ".rept " WEIR_FILTER_TEXT(WEIR_FILTER_INSTRUCTIONS) "\n"                             \
        "r0 = 1\n"                                                                           \
        ".endr\n"                                                                            \
        ".Lwanted_%=: %[wanted] = r0"                                                     \
        : [wanted] "=r"(wanted)                                                              \
        : "r"(start), "r"((__u64)captured), "r"((__u64)length)                               \
        : "r0", "memory"); \
    return (__u32)wanted;                                                                      \
  }                                                                                            \
  _Static_assert(1, "takes the semicolon")

#endif
