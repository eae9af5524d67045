// Journeys made up for tests of what is written of them.
#pragma once

#include <string>
#include <vector>

#include "model/trace.h"
#include "support/packet_samples.h"

namespace weir::test {

/// One hook of a made-up journey; `sample` is empty where the headers are as before.
struct Stop {
  const char* hook;
  model::DeviceRef device;
  const char* sample = "";
  std::uint16_t queue_mapping = 0;
  std::uint16_t protocol = 0x0800;
};

/// A journey through `stops`, one microsecond and one nanosecond apart, that ends well.
inline model::Journey journey(std::uint64_t id, std::uint64_t start_ns, const std::vector<Stop>& stops) {
  model::Journey made{.id = id, .events = {}, .end = model::JourneyEnd::delivered, .lost_events = 0, .begins = true};
  for (const Stop& stop : stops) {
    model::TraceEvent event;
    event.journey = id;
    event.sequence = static_cast<std::uint32_t>(made.events.size());
    event.time_ns = start_ns + 1001 * made.events.size();
    event.hook = {0, stop.hook};
    event.device = stop.device;
    event.skb.queue_mapping = stop.queue_mapping;
    event.skb.protocol = stop.protocol;
    event.skb.len = 60;
    if (*stop.sample != '\0') event.packet = sample(stop.sample);
    made.events.push_back(event);
  }
  made.events.front().first = true;
  made.events.back().last = true;
  return made;
}

inline const model::DeviceRef kPodEth0{{7, "pod"}, IfIndex{2}, "eth0"};
inline const model::DeviceRef kHostVeth{{1, "init"}, IfIndex{9}, "veth-pod"};
inline const model::DeviceRef kHostNic{{1, "init"}, IfIndex{2}, "nic0"};
inline const model::DeviceRef kPodNoDevice{{7, "pod"}, IfIndex{0}, ""};

/// A SYN that leaves a pod, an ARP request beside it, and a ping that is dropped.
inline std::vector<model::Journey> some_journeys() {
  std::vector<model::Journey> all;
  all.push_back(journey(0xA1, 1'000'000'000,
                        {{"nf:LOCAL_OUT:first", kPodNoDevice, "tcp_syn"},
                         {"net:net_dev_queue", kPodEth0, "tcp_frame"},
                         {"net:netif_rx", kHostVeth, "", 1},
                         {"net:net_dev_queue", kHostNic, "vxlan", 1}}));
  all.push_back(journey(0xA2, 1'000'000'500,
                        {{"net:net_dev_queue", kPodEth0, "arp_request", 0, 0x0806},
                         {"net:netif_receive_skb", kHostVeth, "arp_reply", 0, 0x0806}}));
  all.push_back(
      journey(0xA3, 1'000'000'700, {{"net:netif_receive_skb", kHostVeth, "ping"}, {"skb:kfree_skb", kHostVeth}}));
  all.back().end = model::JourneyEnd::dropped;
  model::TraceEvent& drop = all.back().events.back();
  drop.drop = model::Drop{6, "NETFILTER_DROP", 0, "nf_hook_slow+0x9a"};
  drop.nft = model::NftVerdict{"inet", "filter", "forward", 12, "rule", "drop"};
  return all;
}

}  // namespace weir::test
