/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where in memory a packet's headers stand, and what of them no hop changes. */
#pragma once

#include "observe/trace/bpf/trace_abi.h"
#include "observe/trace/bpf/trace_config.h"
#include "observe/trace/filter/bpf/filter_vlan.h"
#include "weir_kernel.h"
#include "weir_memory.h"

WEIR_FILTER_SLOT(weir_filter_link);
WEIR_FILTER_SLOT(weir_filter_network);

#define ETH_HLEN 14
#define NO_MAC_HEADER 0xffff
#define FINGERPRINT_BYTES 48

/* A packet from its Ethernet header on where there is one, else from its network header on. */
struct view {
  __u64 head;
  __u64 start;
  __u64 network;
  __u32 captured; /* linear bytes from `start` on */
  __u32 length;   /* all bytes from `start` on */
  __u32 tag;      /* VLAN tag that lies beside it: EtherType << 16 | TCI, 0: none */
  __u16 network_offset;
  bool is_link;
};

/* What stays the same of a packet from its first hop to its last, NAT included. 0: not known here. */
struct fingerprint {
  __u32 header;
  __u32 payload;
};

static __always_inline bool has_vlan_tag(const struct sk_buff* skb) {
  if (bpf_core_field_exists(skb->vlan_present)) return BPF_CORE_READ_BITFIELD(skb, vlan_present);
  return skb->vlan_proto != 0;
}

static __always_inline __u64 head_of(const struct sk_buff* skb) {
  if (!reads_by_address) return (__u64)skb->head;
  return *(const __u64*)((const char*)bpf_rdonly_cast(skb, 0) + bpf_core_field_offset(struct sk_buff, head));
}

static __always_inline bool is_vlan_type(__u16 type_be) {
  return type_be == bpf_htons(0x8100) || type_be == bpf_htons(0x88a8);
}

/* Of a frame with tags in it the kernel has the network header at the first tag on one stretch of the way and behind
 * the last on the next: here it is always behind. */
static __noinline int step_over_tags(struct view* view) {
  __u16 type = 0;
  __u64 at = view->start + ETH_HLEN - sizeof(type);
  for (int i = 0; i < 3; ++i) {
    if (bpf_probe_read_kernel(&type, sizeof(type), (void*)at) != 0 || !is_vlan_type(type)) break;
    at += 4;
  }
  at += sizeof(type);
  if (at > view->start + view->captured) return 0;
  view->network_offset += (__u16)(at - view->network);
  view->network = at;
  return 0;
}

static __always_inline bool look_at_packet(const struct sk_buff* skb, struct view* view) {
  const __u64 head = head_of(skb);
  const __u16 mac = skb->mac_header;
  const __u16 network = skb->network_header;
  const __u32 tail = skb->tail;
  if (!head) return false;
  /* A MAC header behind the network header is that of the packet that was encapsulated. */
  view->is_link = mac != NO_MAC_HEADER && mac + ETH_HLEN <= network;
  const __u16 offset = view->is_link ? mac : network;
  if (!network || tail < offset) return false;
  view->head = head;
  view->start = head + offset;
  view->network = head + network;
  view->network_offset = network;
  view->captured = tail - offset;
  view->length = view->captured + skb->data_len;
  view->tag = has_vlan_tag(skb) ? (__u32)bpf_ntohs(skb->vlan_proto) << 16 | skb->vlan_tci : 0;
  if (view->is_link && is_vlan_type(skb->protocol)) step_over_tags(view);
  return true;
}

static __always_inline __u32 mix(__u32 hash, __u32 word) {
  hash = (hash ^ word) * 0x9e3779b1U;
  return hash ^ hash >> 15;
}

static __always_inline __u32 word_at(const __u8* bytes) {
  __u32 word;
  __builtin_memcpy(&word, bytes, sizeof(word));
  return word;
}

static __always_inline bool is_echo(__u8 protocol, __u8 type) {
  return protocol == 1 ? type == 0 || type == 8 : type == 128 || type == 129;
}

/* `l4`: 16 bytes of the transport header. Ports are left out, and checksums: NAT writes both. */
static __always_inline void fingerprint_l4(struct fingerprint* print, __u8 protocol, const __u8* l4) {
  if (protocol == 6) {
    print->header = mix(mix(print->header, word_at(l4 + 4)), word_at(l4 + 8));
  } else if (protocol == 1 || protocol == 58) {
    print->header = mix(print->header, l4[0]);
    if (is_echo(protocol, l4[0])) {
      print->header = mix(print->header, l4[6] << 8 | l4[7]);
      print->payload = mix(word_at(l4 + 8), word_at(l4 + 12)) | 1;
    }
  } else if (protocol == 17) {
    print->payload = mix(word_at(l4 + 8), word_at(l4 + 12)) | 1;
  }
}

/* Of the packet whose network header is at `network`, of which `captured` bytes are linear. IPv4: the identification
 * and fragment offset, TCP sequence and acknowledgement, ICMP sequence, the first payload of UDP and echo. */
static __noinline int fingerprint_at(__u64 network, __u32 captured, struct fingerprint* print) {
  __u8 bytes[FINGERPRINT_BYTES + 16] = {};
  print->header = 0;
  print->payload = 0;
  if (captured < 20) return 0; /* an IPv4 header: padding may have been cut off behind it */
  __u32 size = captured < sizeof(bytes) ? captured : sizeof(bytes);
  /* Verifiers before 6.8 know the bounds of the register that was compared, not of an earlier copy of it. */
  asm volatile("" : "+r"(size));
  if (bpf_probe_read_kernel(bytes, size, (void*)network) != 0) return 0;
  const __u8 version = bytes[0] >> 4;
  if (version == 4) {
    const __u8 header = (bytes[0] & 15) * 4;
    print->header = mix(mix(mix(1, bytes[9]), bytes[4] << 8 | bytes[5]), (bytes[6] & 0x3f) << 8 | bytes[7]);
    const bool later_fragment = (bytes[6] & 0x1f) != 0 || bytes[7] != 0;
    if (header == 20 && !later_fragment && size >= 36) fingerprint_l4(print, bytes[9], bytes + 20);
  } else if (version == 6) {
    print->header = mix(mix(2, bytes[6]), word_at(bytes) & bpf_htonl(0xfffff)); /* the flow label */
    /* An extension header is told by its own first words: a fragment's identification is among them. */
    if (bytes[6] == 6 || bytes[6] == 17 || bytes[6] == 58) {
      if (size >= 56) fingerprint_l4(print, bytes[6], bytes + 40);
    } else if (size >= 48) {
      print->header = mix(mix(print->header, word_at(bytes + 40)), word_at(bytes + 44));
    }
  } else {
    for (int i = 0; i < 28; i += 4) print->header = mix(print->header, word_at(bytes + i));
  }
  print->header |= 1;
  return 0;
}

static __always_inline bool parts_agree(__u32 a, __u32 b) {
  return a == b || a == 0 || b == 0;
}

/* What has no header that could be known is no packet that had one: a message of netlink, say, at an address at which a
 * packet was freed unseen. */
static __always_inline bool same_packet(const struct fingerprint* now, const struct fingerprint* before) {
  return (now->header == before->header || before->header == 0) && parts_agree(now->payload, before->payload);
}

static __always_inline bool passes_filter(const struct view* view) {
  if (!view->is_link) return weir_filter_network(view->start, view->captured, view->length) != 0;
  if (view->tag != 0 && filter_speaks_of_vlans) {
    return weir_filter_link_tagged(view->start, view->captured, view->length, view->tag) != 0;
  }
  return weir_filter_link(view->start, view->captured, view->length) != 0;
}

/* The same for both directions of a flow, and for all of its fragments. */
static __noinline __u32 flow_hash(__u64 network) {
  __u8 bytes[44] = {};
  if (bpf_probe_read_kernel(bytes, sizeof(bytes), (void*)network) != 0) return 0;
  const __u8 version = bytes[0] >> 4;
  __u32 sum = 0;
  if (version == 4) {
    sum = mix(word_at(bytes + 12) ^ word_at(bytes + 16), bytes[9]);
    const bool fragment = (bytes[6] & 0x3f) != 0 || bytes[7] != 0;
    if ((bytes[9] == 6 || bytes[9] == 17) && !fragment && (bytes[0] & 15) == 5) {
      const __u32 ports = word_at(bytes + 20);
      sum = mix(sum, (ports ^ ports >> 16) & 0xffff);
    }
  } else if (version == 6) {
    for (int i = 8; i < 24; i += 4) sum = mix(sum, word_at(bytes + i) ^ word_at(bytes + i + 16));
    sum = mix(sum, bytes[6]);
    if (bytes[6] == 6 || bytes[6] == 17) {
      const __u32 ports = word_at(bytes + 40);
      sum = mix(sum, (ports ^ ports >> 16) & 0xffff);
    }
  }
  return sum;
}
