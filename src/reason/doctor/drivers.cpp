#include "reason/doctor/drivers.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace weir::reason {

namespace {
// These have no ndo_select_queue: the core decides for them (read in Linux 6.12).
constexpr std::array<std::string_view, 4> kCoreDecides = {"virtio_net", "gve", "veth", "tg3"};
// These ask netdev_pick_tx() for all but special packets (FCoE, PTP, macvlan offload, HTB offload).
constexpr std::array<std::string_view, 6> kWrapsCore = {"mlx5_core", "mlx4_en", "ice", "i40e", "ixgbe", "bnx2x"};

template <std::size_t N>
bool is_in(const std::array<std::string_view, N>& list, std::string_view driver) {
  return std::ranges::find(list, driver) != list.end();
}
}  // namespace

bool kernel_at_least(std::string_view release, unsigned major, unsigned minor) {
  const auto parts = split(release, '.');
  if (parts.size() < 2) return false;
  const std::string_view second = parts[1].substr(0, parts[1].find_first_not_of("0123456789"));
  const auto have_major = parse_u64(parts[0]);
  const auto have_minor = parse_u64(second);
  if (!have_major || !have_minor) return false;
  return *have_major > major || (*have_major == major && *have_minor >= minor);
}

DriverChoice driver_choice(std::string_view driver, std::string_view kernel_release) {
  if (driver == "ena") {
    if (kernel_at_least(kernel_release, 6, 9)) return {.has_own_choice = false};
    return {.recorded_first = true,
            .why = "ena_select_queue() of kernels before 6.9 takes a recorded receive queue before XPS and hash",
            .remedy = "run Linux 6.9 or later, or a stable kernel that dropped ena_select_queue()"};
  }
  if (driver == "mana") {
    return {.recorded_first = true,
            .why = "mana_select_queue() takes a recorded receive queue before XPS and hash",
            .remedy = "clear the recorded queue where the packets enter the host"};
  }
  if (driver == "hv_netvsc") {
    return {.recorded_first = true,
            .why = "netvsc_select_queue() takes a recorded receive queue before XPS and hash",
            .remedy = "clear the recorded queue where the packets enter the host"};
  }
  return {.has_own_choice = !is_in(kCoreDecides, driver), .wraps_core = is_in(kWrapsCore, driver)};
}

}  // namespace weir::reason
