// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Follows skb->queue_mapping of packets on their way to a watched device and aggregates, in the kernel, between which
// two points it last changed. Loaded on demand: `weir queues explain`, and the doctor once it suspects a device.
#include "observe/queues/bpf/packet_slot.h"
#include "observe/queues/bpf/path_abi.h"
#include "weir_kernel.h"

#define PATH_SLOTS 16384
#define STALE_NS 500000000ULL /* a free that no tracepoint shows must not glue two packets together for long */
#define NF_ACCEPT 1
#define TCX_NEXT (-1)
#define TC_ACT_SHOT 2 /* linux/pkt_cls.h */
#define TC_ACT_PIPE 3

struct place {
  __u64 netns;
  __u32 ifindex;
  __u16 value;
  __u8 point;
  __u8 pad;
};

struct path_slot {
  __u64 skb;
  __u64 head;
  __u64 seen_ns;
  struct place last;
  struct place from; /* the last change: value `from` before, `to` after */
  struct place to;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PATH_SLOTS);
  __type(key, __u32);
  __type(value, struct path_slot);
} path_slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 256);
  __type(key, struct weir_path_target);
  __type(value, __u32);
} path_targets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct weir_path_key);
  __type(value, __u64);
} path_changes SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} path_lost SEC(".maps");

extern void* bpf_cast_to_kern_ctx(void* ctx) __ksym __weak;

static __always_inline struct path_slot* slot_of(const struct sk_buff* skb) {
  const __u32 index = packet_slot_index(skb, PATH_SLOTS);
  return bpf_map_lookup_elem(&path_slots, &index);
}

/* The packet's slot; `create` takes it over when it belongs to another packet, or to an older life of this address. */
static __always_inline struct path_slot* follow(const struct sk_buff* skb, bool create) {
  struct path_slot* slot = slot_of(skb);
  if (!slot) return NULL;
  const __u64 now = bpf_ktime_get_ns();
  const __u64 head = (__u64)skb->head;
  if (slot->skb != (__u64)skb || slot->head != head || now - slot->seen_ns > STALE_NS) {
    if (!create) return NULL;
    __builtin_memset(slot, 0, sizeof(*slot));
    slot->skb = (__u64)skb;
    slot->head = head;
  }
  slot->seen_ns = now;
  return slot;
}

static __always_inline void look(struct path_slot* slot, const struct sk_buff* skb, const struct net_device* dev,
                                 __u8 point) {
  const struct place here = {
      .netns = weir_dev_netns(dev), .ifindex = dev->ifindex, .value = skb->queue_mapping, .point = point};
  if (here.value != slot->last.value) {
    slot->from = slot->last;
    slot->to = here;
  }
  slot->last = here;
}

static __always_inline void look_at(const struct sk_buff* skb, const struct net_device* dev, __u8 point, bool create) {
  struct path_slot* slot = follow(skb, create);
  if (slot && dev) look(slot, skb, dev, point);
}

static __always_inline bool watched(__u64 netns, __u32 ifindex) {
  const struct weir_path_target target = {.netns = netns, .ifindex = ifindex};
  return bpf_map_lookup_elem(&path_targets, &target) != NULL;
}

/* The packet has got its queue on a watched device: count how it came to the mapping that it had, and forget it. */
static __always_inline void arrive(struct path_slot* slot, const struct sk_buff* skb, __u64 netns, __u32 ifindex) {
  struct weir_path_key key = {.netns = netns, .ifindex = ifindex, .origin_ifindex = skb->skb_iif};
  if (slot && slot->last.value != 0) {
    key.from_netns = slot->from.netns;
    key.from_ifindex = slot->from.ifindex;
    key.from_point = slot->from.point;
    key.before = slot->from.value;
    key.to_netns = slot->to.netns;
    key.to_ifindex = slot->to.ifindex;
    key.to_point = slot->to.point;
    key.after = slot->to.value;
  }
  if (slot) slot->skb = 0;
  __u64* count = bpf_map_lookup_elem(&path_changes, &key);
  if (!count) {
    const __u64 zero = 0;
    bpf_map_update_elem(&path_changes, &key, &zero, BPF_NOEXIST);
    count = bpf_map_lookup_elem(&path_changes, &key);
  }
  if (count) {
    __sync_fetch_and_add(count, 1);
    return;
  }
  const __u32 only = 0;
  __u64* lost = bpf_map_lookup_elem(&path_lost, &only);
  if (lost) *lost += 1;
}

/* Right before a watched device picks the queue: the data plane's samples go by this value as well. */
static __always_inline void look_before_pick(const struct sk_buff* skb, const struct net_device* dev, __u8 point) {
  look_at(skb, dev, point, true);
  packet_slot_write(skb, dev->ifindex, skb->queue_mapping, true);
}

static __always_inline void forget(const struct sk_buff* skb) {
  struct path_slot* slot = slot_of(skb);
  if (slot && slot->skb == (__u64)skb) slot->skb = 0;
}

SEC("tp_btf/netif_rx")
int BPF_PROG(path_netif_rx, struct sk_buff* skb) {
  look_at(skb, skb->dev, WEIR_POINT_NETIF_RX, true);
  return 0;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(path_receive, struct sk_buff* skb) {
  look_at(skb, skb->dev, WEIR_POINT_RECEIVE, true);
  return 0;
}

/* After the pick: what a veth carries into the other namespace is the number of the tx queue. */
SEC("tp_btf/net_dev_queue")
int BPF_PROG(path_queue, struct sk_buff* skb) {
  const struct net_device* dev = skb->dev;
  const __u64 netns = weir_dev_netns(dev);
  if (watched(netns, dev->ifindex))
    arrive(follow(skb, false), skb, netns, dev->ifindex);
  else
    look_at(skb, dev, WEIR_POINT_PICK, true);
  return 0;
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(path_kfree, struct sk_buff* skb) {
  forget(skb);
  return 0;
}

SEC("tp_btf/consume_skb")
int BPF_PROG(path_consume, struct sk_buff* skb) {
  forget(skb);
  return 0;
}

/* Functions between the tracepoints, where this kernel lets them be looked at. A clsact's filters, on either side: */
static __always_inline void look_at_tc(const struct sk_buff* skb, __u8 ingress, __u8 egress) {
  look_at(skb, skb->dev, BPF_CORE_READ_BITFIELD_PROBED(skb, tc_at_ingress) ? ingress : egress, true);
}

SEC("fentry/tcf_classify")
int BPF_PROG(path_tc_first, struct sk_buff* skb) {
  look_at_tc(skb, WEIR_POINT_TC_INGRESS_FIRST, WEIR_POINT_TC_EGRESS_FIRST);
  return 0;
}

SEC("fexit/tcf_classify")
int BPF_PROG(path_tc_last, struct sk_buff* skb, const void* block, const void* filters, const void* found, bool compat,
             int verdict) {
  /* Dropped, stolen or redirected: it is no longer this device's packet, or no packet at all. */
  if (verdict <= TC_ACT_PIPE && verdict != TC_ACT_SHOT)
    look_at_tc(skb, WEIR_POINT_TC_INGRESS_LAST, WEIR_POINT_TC_EGRESS_LAST);
  return 0;
}

/* The very value that the pick goes by, behind a clsact's filters too. */
SEC("fentry/netdev_core_pick_tx")
int BPF_PROG(path_picking, struct net_device* dev, struct sk_buff* skb) {
  if (watched(weir_dev_netns(dev), dev->ifindex)) look_before_pick(skb, dev, WEIR_POINT_PICKING);
  return 0;
}

SEC("tc/path_egress")
int path_egress(struct __sk_buff* ctx) {
  const struct sk_buff* skb = bpf_cast_to_kern_ctx(ctx);
  look_before_pick(skb, skb->dev, WEIR_POINT_EGRESS);
  return TCX_NEXT;
}

static __always_inline int nf_look(const struct bpf_nf_ctx* ctx, __u8 point) {
  const struct net_device* dev = ctx->state->in;
  if (!dev) dev = ctx->state->out;
  look_at(ctx->skb, dev, point, false);
  return NF_ACCEPT;
}

/* One program a point: a netfilter link has no cookie to tell them apart. Priorities are chosen when they are attached.
 */
#define NF_PROGRAM(name, point)      \
  SEC("netfilter/" #name)            \
  int name(struct bpf_nf_ctx* ctx) { \
    return nf_look(ctx, point);      \
  }

NF_PROGRAM(nf_pre_first, WEIR_POINT_NF_PRE_FIRST)
NF_PROGRAM(nf_pre_last, WEIR_POINT_NF_PRE_LAST)
NF_PROGRAM(nf_forward_first, WEIR_POINT_NF_FORWARD_FIRST)
NF_PROGRAM(nf_forward_last, WEIR_POINT_NF_FORWARD_LAST)
NF_PROGRAM(nf_out_first, WEIR_POINT_NF_OUT_FIRST)
NF_PROGRAM(nf_out_last, WEIR_POINT_NF_OUT_LAST)
NF_PROGRAM(nf_post_first, WEIR_POINT_NF_POST_FIRST)
NF_PROGRAM(nf_post_last, WEIR_POINT_NF_POST_LAST)

char _license[] SEC("license") = "Dual BSD/GPL";
