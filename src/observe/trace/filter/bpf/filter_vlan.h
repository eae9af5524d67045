/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* VLAN tags that lie beside the frame (skb->vlan_tci), where most of them do: network cards and veth take them out. */
#pragma once

#include "observe/trace/filter/bpf/filter_slot.h"

#define WEIR_TAGGED_BYTES 96 /* Ethernet, tag, IPv6 or IPv4 with options, TCP */
#define WEIR_MAC_BYTES 12

__u32 weir_filter_link(__u64 start, __u32 captured, __u32 length);

/* weir_filter_link() on the frame as it is on the wire. `tag`: EtherType << 16 | TCI, host order. In place of
 * weir_filter_link() where the filter speaks of VLANs (PacketFilter::speaks_of_vlans), and only there: one that does
 * not sees the packet without its tag. PacketMatcher does the same with recorded packets. Global, so that its buffer is
 * on the stack once and it is verified once. */
__attribute__((noinline)) __u32 weir_filter_link_tagged(__u64 start, __u32 captured, __u32 length, __u32 tag) {
  __u8 frame[WEIR_TAGGED_BYTES] = {};
  const void* pointer = frame;
  __u64 address = 0;
  if (captured < WEIR_MAC_BYTES) return 0;
  __u32 rest = captured - WEIR_MAC_BYTES;
  if (rest > sizeof frame - WEIR_MAC_BYTES - 4) rest = sizeof frame - WEIR_MAC_BYTES - 4;
  if (bpf_probe_read_kernel(frame, WEIR_MAC_BYTES, (const void*)start)) return 0;
  frame[12] = (__u8)(tag >> 24);
  frame[13] = (__u8)(tag >> 16);
  frame[14] = (__u8)(tag >> 8);
  frame[15] = (__u8)tag;
  if (bpf_probe_read_kernel(frame + 16, rest, (const void*)(start + WEIR_MAC_BYTES))) return 0;
  /* The verifier lets a pointer become a number only this way. */
  if (bpf_probe_read_kernel(&address, sizeof address, &pointer)) return 0;
  return weir_filter_link(address, WEIR_MAC_BYTES + 4 + rest, length + 4);
}
