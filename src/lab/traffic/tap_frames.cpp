// A pretended guest: frames written into the queues of a TAP device, many flows, as a hypervisor would.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "lab/traffic/endpoint.h"
#include "lab/traffic/frame.h"
#include "lab/traffic/generator.h"
#include "lab/traffic/pacer.h"

namespace weir::lab {

namespace {

Result<sys::Fd> attach_queue(const TrafficPlan& plan) {
  sys::Fd tap(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.valid()) return fail_errno(errno, "/dev/net/tun");
  ifreq request{};
  std::copy_n(plan.tap.c_str(), std::min<std::size_t>(plan.tap.size(), IFNAMSIZ - 1), request.ifr_name);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (plan.tap_queues > 1 ? IFF_MULTI_QUEUE : 0));
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) return fail_errno(errno, "attaching to " + plan.tap);
  return tap;
}

Result<std::vector<std::vector<std::uint8_t>>> make_flows(const TrafficPlan& plan) {
  std::vector<std::vector<std::uint8_t>> frames;
  for (unsigned i = 0; i < plan.flows; ++i) {
    constexpr unsigned kFirstPort = 20'000;  // --flows is at most 20'000
    auto frame = make_frame({.source_mac = plan.source_mac,
                             .destination_mac = plan.destination_mac,
                             .source = plan.source,
                             .destination = plan.destinations[i % plan.destinations.size()],
                             .source_port = static_cast<std::uint16_t>(kFirstPort + i),
                             .destination_port = kDiscardPort,
                             .l4 = plan.l4,
                             .payload_bytes = plan.payload_bytes});
    if (!frame) return pass(std::move(frame));
    frames.push_back(std::move(*frame));
  }
  return frames;
}

}  // namespace

Result<void> write_tap_frames(const TrafficPlan& plan, Stats& stats) {
  std::vector<sys::Fd> queues;
  for (unsigned i = 0; i < plan.tap_queues; ++i) {
    auto queue = attach_queue(plan);
    if (!queue) return pass(std::move(queue));
    queues.push_back(std::move(*queue));
  }
  const auto frames = make_flows(plan);
  if (!frames) return std::unexpected(frames.error());
  auto pacer = Pacer::start(std::max<std::uint64_t>(1, plan.pps));
  if (!pacer) return pass(std::move(pacer));
  stats.ready = true;
  std::size_t turn = 0;
  for (;;) {
    for (std::uint64_t due = pacer->wait(); due > 0; --due, ++turn) {
      const std::size_t flow = turn % frames->size();
      const std::vector<std::uint8_t>& frame = (*frames)[flow];
      // A guest keeps a flow on one queue.
      if (write(queues[flow % queues.size()].get(), frame.data(), frame.size()) < 0) {
        ++stats.errors;
        continue;
      }
      ++stats.packets;
      stats.bytes += frame.size();
    }
  }
}

}  // namespace weir::lab
