#include "observe/config/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "base/result.h"

namespace weir::observe::config {

namespace {

template <class Command>
Result<Command> ask(const sys::Fd& socket, const std::string& name, std::uint32_t number) {
  Command command{};
  command.cmd = number;
  ifreq request{};
  std::memcpy(request.ifr_name, name.data(), std::min(name.size(), sizeof request.ifr_name - 1));
  request.ifr_data = reinterpret_cast<char*>(&command);
  if (::ioctl(socket.get(), SIOCETHTOOL, &request) != 0) return fail_errno(errno, "ethtool");
  return command;
}

template <std::size_t N>
std::string text(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

}  // namespace

void read_ethtool(const sys::Fd& socket, model::DeviceConfig& device) {
  if (auto info = ask<ethtool_drvinfo>(socket, device.ref.name, ETHTOOL_GDRVINFO)) {
    device.driver = text(info->driver);
    device.bus_info = text(info->bus_info);
    // Software devices say so in words of their own.
    if (device.bus_info == "N/A" || device.bus_info == "tap" || device.bus_info == "tun") device.bus_info.clear();
  } else if (info.error().code != Errc::unsupported) {
    device.unread.push_back("driver: " + info.error().message);
  }
  if (device.driver.empty()) device.driver = device.link_kind;
  if (auto channels = ask<ethtool_channels>(socket, device.ref.name, ETHTOOL_GCHANNELS)) {
    device.combined_channels = channels->combined_count;
    device.max_combined_channels = channels->max_combined;
  } else if (channels.error().code != Errc::unsupported) {
    device.unread.push_back("channels: " + channels.error().message);
  }
}

}  // namespace weir::observe::config
