/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What headers need that both compilers include. */
#pragma once

#include <linux/types.h>

/* Of a packet as its device sees it. */
enum weir_direction { WEIR_TX = 0, WEIR_RX = 1 };

#ifdef __cplusplus
#define WEIR_ABI_ASSERT(condition) static_assert(condition, #condition)
#else
#define WEIR_ABI_ASSERT(condition) _Static_assert(condition, #condition)
#endif
