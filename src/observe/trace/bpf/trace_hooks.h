/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hooks with fixed numbers: X(number, program, "name", begins, needs). Included by both compilers.
 * `begins`: a packet may be seen here for the first time, so the filter is asked here. */
#pragma once

/* Tracepoints with a sk_buff. The name is subsystem:event, as in /sys/kernel/tracing/events. */
#define WEIR_TRACEPOINTS(X)                                        \
  X(1, net_dev_queue, "net:net_dev_queue", 1)                      \
  X(2, qdisc_enqueue, "qdisc:qdisc_enqueue", 0)                    \
  X(3, qdisc_dequeue, "qdisc:qdisc_dequeue", 0)                    \
  X(4, net_dev_start_xmit, "net:net_dev_start_xmit", 0)            \
  X(5, net_dev_xmit, "net:net_dev_xmit", 0)                        \
  X(6, netif_rx, "net:netif_rx", 1)                                \
  X(7, netif_receive_skb, "net:netif_receive_skb", 1)              \
  X(8, napi_gro_receive_entry, "net:napi_gro_receive_entry", 1)    \
  X(9, napi_gro_frags_entry, "net:napi_gro_frags_entry", 1)        \
  X(10, skb_copy_datagram_iovec, "skb:skb_copy_datagram_iovec", 0) \
  X(11, sock_rcvqueue_full, "sock:sock_rcvqueue_full", 0)          \
  X(12, udp_fail_queue_rcv_skb, "udp:udp_fail_queue_rcv_skb", 0)   \
  X(13, tcp_probe, "tcp:tcp_probe", 0)                             \
  X(14, tcp_retransmit_skb, "tcp:tcp_retransmit_skb", 0)           \
  X(15, tcp_send_reset, "tcp:tcp_send_reset", 0)                   \
  X(16, tcp_bad_csum, "tcp:tcp_bad_csum", 0)                       \
  X(17, icmp_send, "icmp:icmp_send", 0)                            \
  X(18, fib_table_lookup, "fib:fib_table_lookup", 0)               \
  X(19, fib6_table_lookup, "fib6:fib6_table_lookup", 0)            \
  X(20, kfree_skb, "skb:kfree_skb", 1)                             \
  X(21, consume_skb, "skb:consume_skb", 0)                         \
  X(22, inet_sock_set_state, "sock:inet_sock_set_state", 0)        \
  X(23, sk_data_ready, "sock:sk_data_ready", 0)

/* Numbers of the places where a program of ours sits in the path: 7 priorities at each of 5 hooks of netfilter. */
#define WEIR_HOOK_NF 32
#define WEIR_NF_SLOTS 8
#define WEIR_HOOK_TCX_INGRESS 72
#define WEIR_HOOK_TCX_EGRESS 73
/* From here on: functions of the kernel, numbered as they are attached. */
#define WEIR_HOOK_FUNCTIONS 128
#define WEIR_TRACE_HOOKS 1024

enum weir_trace_hook {
#define X(number, program, name, begins) WEIR_HOOK_##program = (number),
  WEIR_TRACEPOINTS(X)
#undef X
};
