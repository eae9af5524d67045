#include "observe/workloads/guests.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "base/text.h"

namespace weir::observe {

namespace {

/// How a monitor's program is called and which options name its guest.
struct Monitor {
  std::string_view program;  ///< beginning of the file's name
  std::string_view shown;
  std::string_view name_option;
  std::string_view id_option;
};

constexpr Monitor kMonitors[] = {
    {"qemu-system-", "qemu", "-name", "-uuid"},
    {"qemu-kvm", "qemu", "-name", "-uuid"},
    {"kvm", "qemu", "-name", "-uuid"},
    {"firecracker", "firecracker", "", "--id"},
    {"cloud-hypervisor", "cloud-hypervisor", "", "--api-socket"},
    {"crosvm", "crosvm", "", "--name"},
};

/// The word after the option, or behind "OPTION=". QEMU takes "--name" for "-name".
std::string_view option_of(const std::vector<std::string_view>& words, std::string_view option) {
  if (option.empty()) return {};
  for (std::size_t at = 1; at < words.size(); ++at) {
    std::string_view word = words[at];
    if (word.starts_with("--") && !option.starts_with("--")) word.remove_prefix(1);
    if (word == option) return at + 1 < words.size() ? words[at + 1] : std::string_view();
    if (word.size() > option.size() && word.starts_with(option) && word[option.size()] == '=') {
      return word.substr(option.size() + 1);
    }
  }
  return {};
}

/// The name in QEMU's "guest=NAME,debug-threads=on" or "NAME,process=…"; a comma in the name is written twice.
std::string qemu_name(std::string_view text) {
  if (text.starts_with("guest=")) text.remove_prefix(6);
  std::string name;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == ',') {
      if (at + 1 == text.size() || text[at + 1] != ',') break;
      ++at;
    }
    name.push_back(text[at]);
  }
  // "debug-threads=on,guest=NAME": what comes first need not be the name.
  if (const std::size_t guest = text.find(",guest="); name.contains('=') && guest != std::string_view::npos) {
    return qemu_name(text.substr(guest + 1));
  }
  return name;
}

std::string_view file_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

}  // namespace

std::optional<Guest> guest_of_command(std::string_view cmdline) {
  const auto words = split(cmdline, '\0');
  const std::string_view program = file_name(words.front());
  const auto monitor =
      std::ranges::find_if(kMonitors, [&](const Monitor& one) { return program.starts_with(one.program); });
  if (monitor == std::end(kMonitors)) return std::nullopt;
  Guest guest{
      .name = {}, .id = std::string(option_of(words, monitor->id_option)), .monitor = std::string(monitor->shown)};
  guest.name = qemu_name(option_of(words, monitor->name_option));
  // A control socket's path is the only thing that tells some guests apart: "/run/vm/web.sock".
  if (guest.id.contains('/')) guest.id = std::string(file_name(guest.id.substr(guest.id.find('=') + 1)));
  if (guest.name.empty()) guest.name = guest.id;
  if (guest.name.empty()) return std::nullopt;
  return guest;
}

}  // namespace weir::observe
