#include "observe/config/sysfs.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/mount.h>

#include <algorithm>

#include "base/text.h"

namespace weir::observe::config {

namespace {

constexpr const char* kNet = "class/net/";

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

/// The numbers N of the queues/PREFIX-N directories; they are contiguous from 0, so their count says all.
std::size_t count_queues(const std::vector<std::string>& names, std::string_view prefix) {
  return static_cast<std::size_t>(
      std::ranges::count_if(names, [&](const std::string& name) { return name.starts_with(prefix); }));
}

class QueueReader {
 public:
  QueueReader(const sys::FileTree& sysfs, model::DeviceConfig& device)
      : sysfs_(sysfs), device_(device), queues_(kNet + device.ref.name + "/queues/") {}

  /// One map a queue. Maps that do not exist for this device or kernel (a single queue has no XPS) are left empty;
  /// each other trouble is noted once.
  std::vector<std::vector<std::uint32_t>> maps(const char* direction, std::size_t count, const char* file) {
    std::vector<std::vector<std::uint32_t>> maps(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto map = sysfs_.cpu_mask(queue(direction, i) + file);
      if (map) {
        maps[i] = std::move(*map);
      } else if (map.error().code != Errc::not_found) {
        device_.unread.push_back(std::string(file) + ": " + map.error().message);
        break;
      }
    }
    return maps;
  }

  /// The classes of the tx queues, from queues/tx-N/traffic_class (Linux 4.19).
  void classes() {
    std::vector<model::TrafficClass> classes;
    for (std::uint32_t i = 0; i < device_.real_tx_queues; ++i) {
      const auto number = sysfs_.number(queue("tx-", i) + "traffic_class");
      if (!number || *number >= 16) return;
      if (classes.size() <= *number) classes.resize(*number + 1);
      if (classes[*number].count++ == 0) classes[*number].offset = i;
    }
    // Without classes every queue says class 0.
    if (classes.size() > 1) device_.traffic_classes = std::move(classes);
  }

 private:
  [[nodiscard]] std::string queue(const char* direction, std::size_t index) const {
    return queues_ + direction + std::to_string(index) + "/";
  }
  const sys::FileTree& sysfs_;
  model::DeviceConfig& device_;
  std::string queues_;
};

/// A number of a device, `otherwise` when it has none.
std::uint64_t number_or(const sys::FileTree& sysfs, const std::string& path, std::uint64_t otherwise) {
  return sysfs.number(path).value_or(otherwise);
}

}  // namespace

Result<sys::FileTree> sysfs_of(const netns::Netns& ns) {
  sys::Fd mount;
  auto mounted = netns::run_in(ns, [&]() -> Result<void> {
    // sysfs takes the namespace of the thread that opens the context.
    const sys::Fd context(::fsopen("sysfs", FSOPEN_CLOEXEC));
    if (!context.valid()) return fail_errno(errno, "fsopen");
    if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return fail_errno(errno, "fsconfig");
    mount = sys::Fd(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
    if (!mount.valid()) return fail_errno(errno, "fsmount");
    return {};
  });
  if (!mounted) return pass(std::move(mounted), "sysfs of the namespace");
  return sys::FileTree::adopt(std::move(mount));
}

Result<void> read_queues(const sys::FileTree& sysfs, model::DeviceConfig& device) {
  auto names = sysfs.directory(kNet + device.ref.name + "/queues");
  if (!names) return pass(std::move(names));
  const std::size_t tx = count_queues(*names, "tx-");
  const std::size_t rx = count_queues(*names, "rx-");
  // A kernel without CONFIG_SYSFS queues shows none, yet every device has one.
  device.real_tx_queues = static_cast<std::uint32_t>(std::max<std::size_t>(tx, 1));
  device.real_rx_queues = static_cast<std::uint32_t>(std::max<std::size_t>(rx, 1));
  QueueReader reader(sysfs, device);
  device.xps_cpus = reader.maps("tx-", tx, "xps_cpus");
  device.xps_rxqs = reader.maps("tx-", tx, "xps_rxqs");
  device.rps_cpus = reader.maps("rx-", rx, "rps_cpus");
  if (device.traffic_classes.empty()) reader.classes();
  return {};
}

Result<model::DeviceConfig> read_device(const sys::FileTree& sysfs, const std::string& name) {
  const std::string folder = kNet + name + "/";
  auto ifindex = sysfs.number(folder + "ifindex");
  if (!ifindex) return pass(std::move(ifindex));
  model::DeviceConfig device;
  device.ref.name = name;
  device.ref.ifindex = IfIndex{static_cast<std::uint32_t>(*ifindex)};
  const std::uint64_t flags = number_or(sysfs, folder + "flags", 0);
  device.up = (flags & IFF_UP) != 0;
  device.loopback = (flags & IFF_LOOPBACK) != 0;
  device.mtu = static_cast<std::uint32_t>(number_or(sysfs, folder + "mtu", 0));
  device.master = static_cast<std::uint32_t>(number_or(sysfs, folder + "master/ifindex", 0));
  if (const auto driver = sysfs.link_target(folder + "device/driver")) device.driver = base_name(*driver);
  if (const auto bus = sysfs.link_target(folder + "device")) device.bus_info = base_name(*bus);
  if (auto queues = read_queues(sysfs, device); !queues) device.unread.push_back("queues: " + queues.error().message);
  device.num_tx_queues = device.real_tx_queues;
  device.num_rx_queues = device.real_rx_queues;
  return device;
}

Result<std::vector<std::string>> device_names(const sys::FileTree& sysfs) {
  auto names = sysfs.directory("class/net");
  if (!names) return pass(std::move(names));
  // bonding_masters is a file of class/net, not a device.
  std::erase_if(*names, [&](const std::string& name) { return !sysfs.number(kNet + name + "/ifindex"); });
  return names;
}

}  // namespace weir::observe::config
