/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reading kernel memory without a helper call, where the verifier lets us (bpf/memory_access.h). */
#pragma once

#include "weir_kernel.h"

extern void* bpf_rdonly_cast(const void* pointer, __u32 type) __ksym __weak;

/* Whether memory at any address may be read that is made a pointer to void (Linux 6.17). From then on a pointer to
 * bytes is no number to the verifier any more, as it was before. */
const volatile bool reads_by_address = false;
const volatile bool have_rdonly_cast = false; /* bpf_rdonly_cast() itself (6.2) */
