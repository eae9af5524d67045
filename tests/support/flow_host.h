// The namespaces of a test as a flow watch is told of them.
#pragma once

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "observe/flows/flow_watch.h"
#include "support/traffic.h"

namespace weir::test {

/// Devices that the watch may name, as they are now, and their counters.
class FlowHost {
 public:
  explicit FlowHost(const std::vector<const Namespace*>& namespaces) {
    for (const Namespace* ns : namespaces) {
      auto socket = sys::NetlinkSocket::adopt(socket_in(*ns, AF_NETLINK, SOCK_RAW));
      if (!socket) throw std::runtime_error(socket.error().message);
      parts_->sockets.emplace_back(ns->id(), *std::move(socket));
      for (const auto& [name, link] : ns->links()) {
        model::DeviceConfig device;
        device.ref = {
            .netns = {ns->id(), fmt::format("id:{}", ns->id())}, .ifindex = IfIndex{link.ifindex}, .name = name};
        parts_->config.devices.push_back(std::move(device));
      }
    }
  }

  /// `request` with the devices of this host.
  [[nodiscard]] observe::FlowRequest watched_by(observe::FlowRequest request) const {
    request.read_config = [parts = parts_]() -> Result<model::HostConfig> { return parts->config; };
    request.read_counters = [host = *this](const auto&) { return host.counters(); };
    return request;
  }

  [[nodiscard]] observe::InterfaceCounts counters() const {
    observe::InterfaceCounts counts;
    for (auto& [netns, socket] : parts_->sockets) {
      if (!observe::read_interface_counters(socket, netns, counts)) throw std::runtime_error("no counters");
    }
    return counts;
  }

 private:
  struct Parts {
    model::HostConfig config;
    std::vector<std::pair<std::uint64_t, sys::NetlinkSocket>> sockets;
  };
  std::shared_ptr<Parts> parts_ = std::make_shared<Parts>();
};

}  // namespace weir::test
