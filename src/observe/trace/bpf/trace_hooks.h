/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The hooks with fixed numbers: X(number, program, "name", begins, arguments). Included by both compilers.
 * `begins`: a packet may be seen here for the first time, so the filter is asked here. `arguments`: how many of the
 * tracepoint's our program reads; a kernel whose tracepoint has fewer does not have what it wants. */
#pragma once

/* Tracepoints. The name is subsystem:event, as in /sys/kernel/tracing/events. */
#define WEIR_TRACEPOINTS(X)                                           \
  X(1, net_dev_queue, "net:net_dev_queue", 1, 1)                      \
  X(2, qdisc_enqueue, "qdisc:qdisc_enqueue", 0, 3)                    \
  X(3, qdisc_dequeue, "qdisc:qdisc_dequeue", 0, 4)                    \
  X(4, net_dev_start_xmit, "net:net_dev_start_xmit", 0, 2)            \
  X(5, net_dev_xmit, "net:net_dev_xmit", 0, 3)                        \
  X(6, netif_rx, "net:netif_rx", 1, 1)                                \
  X(7, netif_receive_skb, "net:netif_receive_skb", 1, 1)              \
  X(8, napi_gro_receive_entry, "net:napi_gro_receive_entry", 1, 1)    \
  X(9, napi_gro_frags_entry, "net:napi_gro_frags_entry", 1, 1)        \
  X(10, skb_copy_datagram_iovec, "skb:skb_copy_datagram_iovec", 0, 2) \
  X(11, sock_rcvqueue_full, "sock:sock_rcvqueue_full", 0, 2)          \
  X(12, udp_fail_queue_rcv_skb, "udp:udp_fail_queue_rcv_skb", 0, 3)   \
  X(13, tcp_probe, "tcp:tcp_probe", 0, 2)                             \
  X(14, tcp_retransmit_skb, "tcp:tcp_retransmit_skb", 0, 2)           \
  X(15, tcp_send_reset, "tcp:tcp_send_reset", 0, 2)                   \
  X(16, tcp_bad_csum, "tcp:tcp_bad_csum", 0, 1)                       \
  X(17, icmp_send, "icmp:icmp_send", 0, 3)                            \
  X(18, fib_table_lookup, "fib:fib_table_lookup", 0, 4)               \
  X(19, fib6_table_lookup, "fib6:fib6_table_lookup", 0, 4)            \
  X(20, kfree_skb, "skb:kfree_skb", 1, 2)                             \
  X(21, consume_skb, "skb:consume_skb", 0, 1)                         \
  X(22, inet_sock_set_state, "sock:inet_sock_set_state", 0, 3)        \
  X(23, sk_data_ready, "sock:sk_data_ready", 0, 1)                    \
  X(24, neigh_event_send_done, "neigh:neigh_event_send_done", 1, 2)   \
  X(25, neigh_create, "neigh:neigh_create", 0, 4)                     \
  X(26, tcp_receive_reset, "tcp:tcp_receive_reset", 0, 1)             \
  X(27, tcp_retransmit_synack, "tcp:tcp_retransmit_synack", 0, 2)     \
  X(28, xdp_exception, "xdp:xdp_exception", 0, 3)                     \
  X(29, xdp_redirect_err, "xdp:xdp_redirect_err", 0, 7)               \
  X(30, xdp_redirect, "xdp:xdp_redirect", 0, 7)                       \
  X(31, xdp_devmap_xmit, "xdp:xdp_devmap_xmit", 0, 5)                 \
  X(74, xdp_bulk_tx, "xdp:xdp_bulk_tx", 0, 4)                         \
  X(75, xdp_cpumap_enqueue, "xdp:xdp_cpumap_enqueue", 0, 4)           \
  X(76, xdp_cpumap_kthread, "xdp:xdp_cpumap_kthread", 0, 3)

/* Numbers of the places where a program of ours sits in the path: 7 priorities at each of 5 hooks of netfilter. */
#define WEIR_HOOK_NF 32
#define WEIR_NF_SLOTS 8
#define WEIR_HOOK_TCX_INGRESS 72
#define WEIR_HOOK_TCX_EGRESS 73
/* Below: hooks with one program, tracepoints and tc; from here on: functions of the kernel, numbered as they are
 * attached. */
#define WEIR_HOOK_FUNCTIONS 128
#define WEIR_TRACE_HOOKS 1024

enum weir_trace_hook {
#define X(number, program, name, begins, arguments) WEIR_HOOK_##program = (number),
  WEIR_TRACEPOINTS(X)
#undef X
};
