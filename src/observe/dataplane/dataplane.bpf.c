// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The data plane: one program a hook, always on, for every namespace of the host. Features add account functions here,
// so that a packet pays for one entry into BPF a hook, whatever is switched on.
#include "observe/dataplane/packet_size.h"
#include "observe/flows/bpf/burst_account.h"
#include "observe/flows/bpf/flow_account.h"
#include "observe/queues/bpf/queue_account.h"
#include "weir_kernel.h"

const volatile bool account_queues = true;

/* Programs that are pinned are replaced by attaching the new ones beside them: one number says which of them count.
 * 0: these are alone, and nothing is asked. */
const volatile __u64 generation = 0;
volatile __u64 serving_generation;

static __always_inline bool is_serving(void) {
  return !generation || generation == serving_generation;
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(data_receive, struct sk_buff* skb) {
  if (!is_serving()) return 0;
  const __u64 bytes = received_bytes(skb);
  const __u32 wire = wire_packets(skb);
  if (account_queues) queue_account_rx(skb, bytes, wire);
  if (account_flows) flow_account_rx(skb, bytes, wire);
  if (account_bursts) burst_account(skb->dev, WEIR_RX, bytes);
  return 0;
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(data_transmit, struct sk_buff* skb, struct net_device* dev) {
  if (!is_serving()) return 0;
  const __u32 wire = wire_packets(skb);
  if (account_queues) queue_account_tx(skb, dev, wire);
  if (account_flows) flow_account_tx(skb, dev, wire);
  if (account_bursts) burst_account(dev, WEIR_TX, skb->len);
  return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
