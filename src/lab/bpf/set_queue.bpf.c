// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The state that a driver leaves behind which records a receive queue: skb->queue_mapping is set where packets enter.
#include <linux/bpf.h>
// The helpers need the types above.
#include <bpf/bpf_helpers.h>

const volatile __u32 queue_mapping = 1;

SEC("tc")
int lab_set_queue(struct __sk_buff* skb) {
  skb->queue_mapping = queue_mapping;
  return -1;  // TC_ACT_UNSPEC: later filters still run
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
