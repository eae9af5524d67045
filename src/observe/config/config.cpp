#include "observe/config/config.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/text.h"
#include "observe/config/attached.h"
#include "observe/config/ethtool.h"
#include "observe/config/links.h"
#include "observe/config/peers.h"
#include "observe/config/sysfs.h"
#include "observe/config/traffic_control.h"
#include "sys/host.h"

namespace weir::observe {

namespace {

using config::Link;
using model::DeviceConfig;

/// One read over several namespaces.
class Reading {
 public:
  Reading(const std::vector<std::string>& wanted, const std::vector<netns::Entry>& everywhere)
      : wanted_(wanted), peers_(everywhere) {}

  Result<std::vector<DeviceConfig>> read(const netns::Netns& ns, const model::NetnsRef& ref,
                                         std::vector<std::string>* unread) {
    auto fd = netns::open_socket(ns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (!fd) return pass(std::move(fd));
    auto socket = sys::NetlinkSocket::adopt(std::move(*fd));
    if (!socket) return pass(std::move(socket));
    bool consistent = true;
    auto links = config::read_links(*socket, &consistent);
    if (!links) return pass(std::move(links));
    if (!consistent) unread->push_back(ref.name + ": its devices kept changing while they were read");
    for (Link& link : *links) link.device.ref.netns = ref;
    for (const Link& link : *links) seen_names_.push_back(link.device.ref.name);
    for (Link& link : *links) {
      if (is_wanted(link.device)) follow(link, *links, *socket);
    }
    std::vector<DeviceConfig> devices;
    for (Link& link : *links) {
      if (is_wanted(link.device)) devices.push_back(std::move(link.device));
    }
    if (devices.empty()) return devices;
    read_qdiscs_and_filters(*socket, devices);
    read_from_drivers(ns, devices);
    read_from_sysfs(ns, devices, unread);
    config::read_tcx(ns, devices);
    config::read_xsk(ns, devices);
    return devices;
  }

  /// Ends of which only the index is known get their names: from what was read, else from their namespaces.
  void name_ends(std::vector<DeviceConfig>& devices) {
    std::map<model::DeviceRef, std::string> names;
    for (const DeviceConfig& device : devices) names[device.ref] = device.ref.name;
    for (DeviceConfig& device : devices) {
      for (auto* end : {&device.peer, &device.lower}) {
        if (!*end || !(*end)->name.empty()) continue;
        const auto known = names.find(**end);
        (*end)->name = known != names.end() ? known->second : peers_.device_name((*end)->netns, (*end)->ifindex.value);
        if (!(*end)->name.empty()) continue;
        device.unread.push_back("the other end, device " + std::to_string((*end)->ifindex.value) + " in " +
                                (*end)->netns.name + ", is gone");
        end->reset();
      }
    }
  }

  [[nodiscard]] const std::vector<std::string>& seen_names() const { return seen_names_; }

 private:
  [[nodiscard]] bool is_wanted(const DeviceConfig& device) const {
    return wanted_.empty() || std::ranges::find(wanted_, device.ref.name) != wanted_.end();
  }

  /// Fills peer or lower.
  void follow(Link& link, const std::vector<Link>& links, sys::NetlinkSocket& socket) {
    DeviceConfig& device = link.device;
    if (link.iflink == 0) return;
    model::DeviceRef end{device.ref.netns, IfIndex{link.iflink}, {}};
    if (link.iflink_netnsid) {
      const auto there = peers_.find(device.ref.netns.id, socket, *link.iflink_netnsid);
      if (!there) {
        device.unread.push_back("the other end: it is in a namespace without name and process (nsid " +
                                std::to_string(*link.iflink_netnsid) + ")");
        return;
      }
      end.netns = *there;
    } else {
      const auto local =
          std::ranges::find(links, end.ifindex, [](const Link& other) { return other.device.ref.ifindex; });
      if (local != links.end()) end.name = local->device.ref.name;
    }
    const bool is_pair = device.link_kind == "veth" || device.link_kind == "netkit" || device.link_kind == "vxcan";
    (is_pair ? device.peer : device.lower) = std::move(end);
  }

  static void read_qdiscs_and_filters(sys::NetlinkSocket& socket, std::vector<DeviceConfig>& devices) {
    auto qdiscs = config::read_qdiscs(socket);
    for (DeviceConfig& device : devices) {
      if (!qdiscs) {
        device.unread.push_back(qdiscs.error().message);
        continue;
      }
      for (config::DeviceQdisc& found : *qdiscs) {
        if (found.ifindex != device.ref.ifindex.value) continue;
        device.qdiscs.push_back(found.qdisc);
        if (found.traffic_classes.empty()) continue;
        device.traffic_classes = std::move(found.traffic_classes);
        device.prio_to_class = std::move(found.prio_to_class);
      }
      config::read_filters(socket, device);
    }
  }

  static void read_from_drivers(const netns::Netns& ns, std::vector<DeviceConfig>& devices) {
    const auto socket = netns::open_socket(ns, AF_UNIX, SOCK_DGRAM, 0);
    for (DeviceConfig& device : devices) {
      if (socket) {
        config::read_ethtool(*socket, device);
      } else {
        device.unread.push_back("driver: " + socket.error().message);
      }
    }
  }

  static void read_from_sysfs(const netns::Netns& ns, std::vector<DeviceConfig>& devices,
                              std::vector<std::string>* unread) {
    const auto sysfs = config::sysfs_of(ns);
    std::erase_if(devices, [&](DeviceConfig& device) {
      // Allocated queues are all in use unless sysfs says otherwise.
      device.real_tx_queues = device.num_tx_queues;
      device.real_rx_queues = device.num_rx_queues;
      const auto read = sysfs ? config::read_queues(*sysfs, device) : Result<void>(std::unexpected(sysfs.error()));
      if (read) return false;
      if (sysfs && read.error().code == Errc::not_found) {
        unread->push_back(model::to_string(device.ref) + ": vanished while it was read");
        return true;
      }
      device.unread.push_back("queues: " + read.error().message);
      return false;
    });
  }

  const std::vector<std::string>& wanted_;
  config::PeerResolver peers_;
  std::vector<std::string> seen_names_;
};

void read_facts(const sys::FileTree& root, model::HostConfig& host) {
  const auto take = [&](auto result, auto& into) {
    if (result) {
      into = std::move(*result);
    } else {
      host.unread.push_back(result.error().message);
    }
  };
  take(sys::hostname(root), host.hostname);
  take(sys::kernel_release(root), host.kernel);
  take(sys::numa_cpus(root), host.numa_cpus);
  if (const auto online = sys::online_cpus(root)) {
    host.online_cpus = static_cast<std::uint32_t>(std::max<std::size_t>(online->size(), 1));
  } else {
    host.unread.push_back(online.error().message);
  }
}

struct Target {
  netns::Netns ns;
  model::NetnsRef ref;
};

model::NetnsRef ref_of(const netns::Netns& ns, const std::vector<netns::Entry>& everywhere) {
  const auto entry = std::ranges::find(everywhere, ns.id(), &netns::Entry::id);
  return {ns.id(), entry == everywhere.end() ? "id:" + std::to_string(ns.id()) : entry->display()};
}

/// The namespaces that the caller named, each once.
Result<std::vector<Target>> named_targets(const std::vector<std::string>& specs,
                                          const std::vector<netns::Entry>& everywhere) {
  std::vector<Target> targets;
  std::set<std::uint64_t> ids;
  for (const std::string& spec : specs) {
    auto ns = netns::Netns::open(spec);
    if (!ns) return pass(std::move(ns));
    auto ref = ref_of(*ns, everywhere);
    if (ids.insert(ns->id()).second) targets.push_back({std::move(*ns), std::move(ref)});
  }
  if (!specs.empty()) return targets;
  auto own = netns::Netns::current();
  if (!own) return pass(std::move(own));
  auto ref = ref_of(*own, everywhere);
  targets.push_back({std::move(*own), std::move(ref)});
  return targets;
}

Result<void> read_target(Reading& reading, const Target& target, model::HostConfig& host) {
  auto devices = reading.read(target.ns, target.ref, &host.unread);
  if (!devices) return pass(std::move(devices), "namespace " + target.ref.name);
  std::ranges::move(*devices, std::back_inserter(host.devices));
  return {};
}

Result<void> check_found(const ConfigOptions& options, const Reading& reading, const model::HostConfig& host) {
  for (const std::string& name : options.devices) {
    const auto has_name = [&](const DeviceConfig& device) { return device.ref.name == name; };
    if (std::ranges::any_of(host.devices, has_name)) continue;
    std::vector<std::string> known = reading.seen_names();
    std::ranges::sort(known);
    known.erase(std::ranges::unique(known).begin(), known.end());
    const bool everywhere = options.namespaces.size() == 1 && options.namespaces.front() == "all";
    const std::string where = options.namespaces.empty()       ? "this namespace"
                              : everywhere                     ? "any namespace"
                              : options.namespaces.size() == 1 ? "namespace " + options.namespaces.front()
                                                               : "these namespaces";
    return fail(Errc::not_found, fmt::format("no device \"{}\" in {}", name, where), suggest(name, known));
  }
  return {};
}

}  // namespace

Result<std::vector<DeviceConfig>> read_namespace(const netns::Netns& ns, const model::NetnsRef& ref,
                                                 const std::vector<std::string>& devices,
                                                 const std::vector<netns::Entry>& everywhere,
                                                 std::vector<std::string>* unread) {
  Reading reading(devices, everywhere);
  auto found = reading.read(ns, ref, unread);
  if (found) reading.name_ends(*found);
  return found;
}

Result<model::HostConfig> read_host(const ConfigOptions& options) {
  model::HostConfig host;
  const auto root = sys::FileTree::open();
  if (!root) return std::unexpected(root.error());
  read_facts(*root, host);
  auto everywhere = netns::list(&host.unread);
  if (!everywhere) return pass(std::move(everywhere));
  Reading reading(options.devices, *everywhere);
  if (std::ranges::find(options.namespaces, "all") != options.namespaces.end()) {
    // Opened one after the other: a host may have more namespaces than a process may have descriptors.
    for (const netns::Entry& entry : *everywhere) {
      auto ns = netns::open(entry);
      auto read = ns ? read_target(reading, {std::move(*ns), {entry.id, entry.display()}}, host)
                     : Result<void>(std::unexpected(std::move(ns).error()));
      if (!read) host.unread.push_back(read.error().message);
    }
  } else {
    auto targets = named_targets(options.namespaces, *everywhere);
    if (!targets) return pass(std::move(targets));
    for (const Target& target : *targets) {
      if (auto read = read_target(reading, target, host); !read) return pass(std::move(read));
    }
  }
  reading.name_ends(host.devices);
  if (auto found = check_found(options, reading, host); !found) return pass(std::move(found));
  return host;
}

Result<model::HostConfig> read_recorded(const sys::FileTree& root) {
  model::HostConfig host;
  read_facts(root, host);
  auto sysfs = root.subtree("sys");
  if (!sysfs) return pass(std::move(sysfs));
  auto names = config::device_names(*sysfs);
  if (!names) return pass(std::move(names));
  for (const std::string& name : *names) {
    auto device = config::read_device(*sysfs, name);
    if (!device) return pass(std::move(device));
    device->ref.netns = {1, "init"};
    host.devices.push_back(std::move(*device));
  }
  std::ranges::sort(host.devices, {}, &DeviceConfig::ref);
  return host;
}

}  // namespace weir::observe
