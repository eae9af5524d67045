// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The hooks of `weir trace`. Loaded on demand; which of them are attached is decided by user space.
#include <asm/ptrace.h>

#include "observe/trace/bpf/trace_beside.h"
#include "observe/trace/bpf/trace_follow.h"
#include "observe/trace/bpf/trace_lone.h"

#define NF_ACCEPT 1
#define TCX_NEXT (-1)
#define NF_LOCAL_OUT 3
#define NF_POST_ROUTING 4
#define NUD_INCOMPLETE 1

extern void* bpf_cast_to_kern_ctx(void* ctx) __ksym __weak;

static __always_inline void place(struct firing* fired, const struct net_device* dev) {
  fired->dev = dev;
}

/* Hooks at which skb->dev is the device. */
#define AT_DEVICE(name, at_stage, asks)                                                  \
  SEC("tp_btf/" #name)                                                                   \
  int BPF_PROG(trace_##name, struct sk_buff* skb) {                                      \
    struct firing fired = {.hook = WEIR_HOOK_##name, .stage = at_stage, .begins = asks}; \
    place(&fired, skb->dev);                                                             \
    return follow(ctx, skb, &fired), 0;                                                  \
  }

AT_DEVICE(net_dev_queue, STAGE_TX, true)
AT_DEVICE(netif_rx, STAGE_RX, true)
AT_DEVICE(napi_gro_receive_entry, STAGE_RX, true)
AT_DEVICE(napi_gro_frags_entry, STAGE_RX, true)

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(trace_netif_receive_skb, struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_netif_receive_skb, .stage = STAGE_RX, .begins = true};
  place(&fired, skb->dev);
  if (follow(ctx, skb, &fired)) set_received(skb);
  return 0;
}

SEC("tp_btf/qdisc_enqueue")
int BPF_PROG(trace_qdisc_enqueue, struct Qdisc* qdisc, const struct netdev_queue* queue, struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_qdisc_enqueue, .argument = qdisc->handle};
  place(&fired, queue->dev);
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/qdisc_dequeue")
int BPF_PROG(trace_qdisc_dequeue, struct Qdisc* qdisc, const struct netdev_queue* queue, int packets,
             struct sk_buff* skb) {
  if (!skb) return 0;
  struct firing fired = {.hook = WEIR_HOOK_qdisc_dequeue, .argument = qdisc->handle, .result = packets};
  place(&fired, queue->dev);
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(trace_net_dev_start_xmit, const struct sk_buff* skb, const struct net_device* dev) {
  struct firing fired = {.hook = WEIR_HOOK_net_dev_start_xmit, .stage = STAGE_TX};
  place(&fired, dev);
  return follow(ctx, skb, &fired), 0;
}

/* A driver that took the packet may have freed it: only a refusal says anything, and leaves it to be looked at. */
SEC("tp_btf/net_dev_xmit")
int BPF_PROG(trace_net_dev_xmit, struct sk_buff* skb, int rc, struct net_device* dev) {
  if (rc != 0x10 /* NETDEV_TX_BUSY */) return 0;
  struct firing fired = {.hook = WEIR_HOOK_net_dev_xmit, .stage = STAGE_TX, .result = rc};
  place(&fired, dev);
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(trace_skb_copy_datagram_iovec, const struct sk_buff* skb, int bytes) {
  struct firing fired = {.hook = WEIR_HOOK_skb_copy_datagram_iovec, .stage = STAGE_SOCKET, .result = bytes};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/sock_rcvqueue_full")
int BPF_PROG(trace_sock_rcvqueue_full, struct sock* sk, struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_sock_rcvqueue_full, .stage = STAGE_SOCKET};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(trace_udp_fail_queue_rcv_skb, int rc, struct sock* sk, struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_udp_fail_queue_rcv_skb, .stage = STAGE_SOCKET, .result = rc};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(trace_tcp_probe, struct sock* sk, const struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_tcp_probe, .stage = STAGE_SOCKET};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/tcp_bad_csum")
int BPF_PROG(trace_tcp_bad_csum, const struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_tcp_bad_csum};
  return follow(ctx, skb, &fired), 0;
}

/* The segment in the retransmit queue: its headers are those of the transmission before, whose journey this ends. */
SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(trace_tcp_retransmit_skb, const struct sock* sk, const struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_tcp_retransmit_skb, .last = true};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(trace_tcp_send_reset, const struct sock* sk, const struct sk_buff* skb) {
  if (!skb) return 0;
  struct firing fired = {.hook = WEIR_HOOK_tcp_send_reset};
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/icmp_send")
int BPF_PROG(trace_icmp_send, const struct sk_buff* skb, int type, int code) {
  struct firing fired = {.hook = WEIR_HOOK_icmp_send, .result = type << 8 | code};
  return follow(ctx, skb, &fired), 0;
}

/* The packet was put into the neighbour's queue right before, and is its last one as long as the neighbour is unknown.
 */
SEC("tp_btf/neigh_event_send_done")
int BPF_PROG(trace_neigh_event_send_done, const struct neighbour* neighbour, int queued) {
  const __u32 waiting = neighbour->arp_queue.qlen;
  if (!queued || !waiting || !(neighbour->nud_state & NUD_INCOMPLETE)) return 0;
  const struct sk_buff* skb = neighbour->arp_queue.prev;
  if (!skb) return 0;
  struct firing fired = {.hook = WEIR_HOOK_neigh_event_send_done, .stage = STAGE_TX, .begins = true, .result = waiting};
  place(&fired, neighbour->dev);
  return follow(ctx, skb, &fired), 0;
}

/* Where it is only known from the packet itself, it may have no device: a socket keeps other things in that field. */
static __always_inline void place_by_packet(struct firing* fired, const struct sk_buff* skb) {
  const struct net_device* dev = skb->dev;
  const struct sock* sk = skb->sk;
  if ((__u64)dev >> 47 == 0x1ffff && dev->nd_net.net && dev->ifindex > 0) {
    fired->netns = weir_dev_netns(dev);
    fired->ifindex = dev->ifindex;
  } else if (sk && sk->__sk_common.skc_net.net) {
    fired->netns = weir_net_id(sk->__sk_common.skc_net.net);
  }
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(trace_kfree_skb, struct sk_buff* skb, void* location) {
  struct firing fired = {.hook = WEIR_HOOK_kfree_skb, .argument = (__u64)location, .last = true, .begins = true};
  if (drop_has_reason) fired.result = (int)ctx[2];
  place_by_packet(&fired, skb);
  return follow(ctx, skb, &fired), 0;
}

SEC("tp_btf/consume_skb")
int BPF_PROG(trace_consume_skb, struct sk_buff* skb) {
  struct firing fired = {.hook = WEIR_HOOK_consume_skb, .last = true};
  fired.outlived = BPF_CORE_READ_BITFIELD(skb, cloned);
  place_by_packet(&fired, skb);
  return follow(ctx, skb, &fired), 0;
}

/* One program a priority: a netfilter link has no cookie to tell them apart, the hook is in the state. */
static __always_inline int nf_look(struct bpf_nf_ctx* ctx, __u16 slot) {
  const struct nf_hook_state* state = ctx->state;
  const __u8 hook = state->hook;
  const bool out = hook == NF_LOCAL_OUT || hook == NF_POST_ROUTING;
  struct firing fired = {.hook = WEIR_HOOK_NF + (hook & 7) * WEIR_NF_SLOTS + slot,
                         .stage = hook == NF_LOCAL_OUT ? STAGE_TX : 0,
                         .begins = true};
  const struct net_device* dev = out ? state->out : state->in;
  place(&fired, dev);
  follow(ctx, ctx->skb, &fired);
  return NF_ACCEPT;
}

#define NF_PROGRAM(name, slot)       \
  SEC("netfilter/" #name)            \
  int name(struct bpf_nf_ctx* ctx) { \
    return nf_look(ctx, slot);       \
  }

NF_PROGRAM(nf_first, 0)
NF_PROGRAM(nf_conntrack, 1)
NF_PROGRAM(nf_mangle, 2)
NF_PROGRAM(nf_dnat, 3)
NF_PROGRAM(nf_filter, 4)
NF_PROGRAM(nf_snat, 5)
NF_PROGRAM(nf_last, 6)

SEC("tc/trace_tcx_ingress")
int trace_tcx_ingress(struct __sk_buff* ctx) {
  const struct sk_buff* skb = bpf_cast_to_kern_ctx(ctx);
  struct firing fired = {.hook = WEIR_HOOK_TCX_INGRESS, .stage = STAGE_RX, .begins = true};
  place(&fired, skb->dev);
  follow(ctx, skb, &fired);
  return TCX_NEXT;
}

SEC("tc/trace_tcx_egress")
int trace_tcx_egress(struct __sk_buff* ctx) {
  const struct sk_buff* skb = bpf_cast_to_kern_ctx(ctx);
  struct firing fired = {.hook = WEIR_HOOK_TCX_EGRESS, .stage = STAGE_TX, .begins = true};
  place(&fired, skb->dev);
  follow(ctx, skb, &fired);
  return TCX_NEXT;
}

/* Any function with a sk_buff among its first five arguments; the cookie is the hook's number. */
#define FUNCTION_PROGRAM(argument)                                                                       \
  SEC("kprobe.multi/argument" #argument)                                                                 \
  int trace_function##argument(struct pt_regs* ctx) {                                                    \
    const struct sk_buff* skb =                                                                          \
        bpf_rdonly_cast((void*)PT_REGS_PARM##argument(ctx), bpf_core_type_id_kernel(struct sk_buff));    \
    struct firing fired = {.hook = bpf_get_attach_cookie(ctx) & (WEIR_TRACE_HOOKS - 1), .begins = true}; \
    place_by_packet(&fired, skb);                                                                        \
    follow(ctx, skb, &fired);                                                                            \
    return 0;                                                                                            \
  }

FUNCTION_PROGRAM(1)
FUNCTION_PROGRAM(2)
FUNCTION_PROGRAM(3)
FUNCTION_PROGRAM(4)
FUNCTION_PROGRAM(5)

/* The same by fentry, whose arguments are typed: where a kernel has no kprobe.multi or bpf_rdonly_cast(). Loaded once
 * for each function. */
#define FENTRY_PROGRAM(argument)                                                                         \
  SEC("fentry/argument" #argument)                                                                       \
  int trace_fentry##argument(__u64* ctx) {                                                               \
    const struct sk_buff* skb = (const void*)ctx[(argument)-1];                                          \
    struct firing fired = {.hook = bpf_get_attach_cookie(ctx) & (WEIR_TRACE_HOOKS - 1), .begins = true}; \
    place_by_packet(&fired, skb);                                                                        \
    follow(ctx, skb, &fired);                                                                            \
    return 0;                                                                                            \
  }

FENTRY_PROGRAM(1)
FENTRY_PROGRAM(2)
FENTRY_PROGRAM(3)
FENTRY_PROGRAM(4)
FENTRY_PROGRAM(5)

char _license[] SEC("license") = "Dual BSD/GPL";
