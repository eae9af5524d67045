#include "netns/workload.h"

#include <algorithm>
#include <ranges>
#include <vector>

#include "base/text.h"

namespace weir::netns {

namespace {

using Kind = Workload::Kind;

/// What must stand between prefix and suffix of a directory's name.
enum class Middle : std::uint8_t {
  hex64,          ///< the id of a container
  name,           ///< anything
  numbered_name,  ///< "7-NAME", as libvirt numbers its machines; the name is what follows the number
  dashed_hex64,   ///< "PREFIX-ID", a runtime that is not known here
  skip,           ///< anything, and it is no workload by itself
};

/// One way to call a cgroup. `parent` is the name of the directory above, empty: any.
struct CgroupRule {
  std::string_view parent;
  std::string_view prefix;
  std::string_view suffix;
  Middle middle;
  Kind kind;
  std::string_view runtime;
  std::string_view shown;  ///< prefix of the name that people see
};

// The first that fits counts: what is more particular stands first.
constexpr CgroupRule kRules[] = {
    // Monitors, which live as long as their container and are not in it.
    {"", "crio-conmon-", "", Middle::skip, Kind::container, "", ""},
    {"", "libpod-conmon-", "", Middle::skip, Kind::container, "", ""},
    {"", "lxc.monitor.", "", Middle::skip, Kind::container, "", ""},
    {"lxc.monitor", "", "", Middle::skip, Kind::container, "", ""},
    {"", "lxc.pivot", "", Middle::skip, Kind::container, "", ""},
    // systemd drivers name a scope, cgroupfs drivers a directory.
    {"", "docker-", ".scope", Middle::hex64, Kind::container, "docker", "docker-"},
    {"docker", "", "", Middle::hex64, Kind::container, "docker", "docker-"},
    {"", "cri-containerd-", ".scope", Middle::hex64, Kind::container, "containerd", "cri-containerd-"},
    {"", "nerdctl-", ".scope", Middle::hex64, Kind::container, "containerd", "nerdctl-"},
    {"", "crio-", ".scope", Middle::hex64, Kind::container, "cri-o", "crio-"},
    {"", "crio-", "", Middle::hex64, Kind::container, "cri-o", "crio-"},
    {"", "libpod-payload-", "", Middle::hex64, Kind::container, "podman", "libpod-"},  // --cgroups=split
    {"", "libpod-", ".scope", Middle::hex64, Kind::container, "podman", "libpod-"},
    {"", "libpod-", "", Middle::hex64, Kind::container, "podman", "libpod-"},
    {"libpod_parent", "", "", Middle::hex64, Kind::container, "podman", "libpod-"},
    {"", "lxc.payload.", "", Middle::name, Kind::container, "lxc", "lxc-"},
    {"lxc.payload", "", "", Middle::name, Kind::container, "lxc", "lxc-"},
    {"lxc", "", "", Middle::name, Kind::container, "lxc", "lxc-"},
    {"", "machine-qemu-", ".scope", Middle::numbered_name, Kind::vm, "libvirt", ""},
    {"", "qemu-", ".libvirt-qemu", Middle::numbered_name, Kind::vm, "libvirt", ""},
    {"", "machine-lxc-", ".scope", Middle::numbered_name, Kind::container, "libvirt", "lxc-"},
    {"qemu", "", "", Middle::name, Kind::vm, "libvirt", ""},
    {"qemu.slice", "", ".scope", Middle::name, Kind::vm, "qemu", "vm-"},  // Proxmox VE: numbers
    {"firecracker", "", "", Middle::name, Kind::vm, "firecracker", ""},   // its jailer
    {"", "systemd-vmspawn@", ".service", Middle::name, Kind::vm, "systemd-vmspawn", ""},
    {"", "systemd-nspawn@", ".service", Middle::name, Kind::container, "systemd-nspawn", ""},
    {"", "machine-", ".scope", Middle::name, Kind::container, "systemd-nspawn", ""},
    // NAMESPACE/ID of containerd, podUID/ID of any runtime of Kubernetes, ecs/TASK/ID: whose it is stands nowhere.
    {"", "", "", Middle::hex64, Kind::container, "", "container-"},
    {"", "", ".scope", Middle::dashed_hex64, Kind::container, "", ""},
};

constexpr std::size_t kIdDigits = 64;
constexpr std::size_t kShortId = 12;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_id(std::string_view text) {
  return text.size() == kIdDigits && is_hex(text);
}

/// Whether an id follows the last dash.
bool ends_with_id(std::string_view text) {
  const std::size_t dash = text.rfind('-');
  return dash != 0 && dash != std::string_view::npos && is_id(text.substr(dash + 1));
}

/// "7-NAME"
bool is_numbered(std::string_view text) {
  const std::size_t dash = text.find('-');
  return dash != std::string_view::npos && dash + 1 < text.size() && parse_u64(text.substr(0, dash));
}

std::optional<unsigned char> hex_byte(std::string_view text) {
  if (text.size() < 4 || !text.starts_with("\\x")) return std::nullopt;
  const auto value = parse_u64(text.substr(2, 2), 16);
  return value ? std::optional(static_cast<unsigned char>(*value)) : std::nullopt;
}

/// Undoes \x2d and its like (systemd-escape(1)). A dash alone would be a slash, which no machine's name has.
std::string unescape_unit(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = hex_byte(text.substr(at));
    plain.push_back(byte ? static_cast<char>(*byte) : text[at]);
    if (byte) at += 3;
  }
  return plain;
}

/// The directories of a path from the outside. A cgroup that runc was told of in systemd's words and made by itself is
/// one directory "SLICE:PREFIX:ID", and stands here as the two that systemd would have made of it; "PREFIX:ID" is the
/// same without a slice.
std::vector<std::string> directories(std::string_view path) {
  std::vector<std::string> all;
  for (const std::string_view part : split(path, '/')) {
    if (part.empty()) continue;
    const std::size_t last = part.rfind(':');
    if (last == std::string_view::npos || part.size() - last != kIdDigits + 1) {
      all.emplace_back(part);
      continue;
    }
    const std::string_view id = part.substr(last + 1);
    std::string_view before = part.substr(0, last);
    if (const std::size_t first = before.find(':'); first != std::string_view::npos) {
      all.emplace_back(before.substr(0, first));
      before.remove_prefix(first + 1);
    }
    all.push_back(std::string(before) + "-" + std::string(id) + ".scope");
  }
  return all;
}

/// What stands between, when the directory is called as the rule says.
std::optional<std::string_view> middle_of(const CgroupRule& rule, std::string_view parent, std::string_view name) {
  if (!rule.parent.empty() && rule.parent != parent) return std::nullopt;
  if (name.size() <= rule.prefix.size() + rule.suffix.size()) return std::nullopt;
  if (!name.starts_with(rule.prefix) || !name.ends_with(rule.suffix)) return std::nullopt;
  name.remove_prefix(rule.prefix.size());
  name.remove_suffix(rule.suffix.size());
  if (rule.middle == Middle::hex64 && !is_id(name)) return std::nullopt;
  if (rule.middle == Middle::dashed_hex64 && !ends_with_id(name)) return std::nullopt;
  if (rule.middle == Middle::numbered_name && !is_numbered(name)) return std::nullopt;
  return name;
}

Workload made_by(const CgroupRule& rule, std::string_view middle) {
  std::string_view name = middle;
  std::string_view id = middle;
  if (rule.middle == Middle::hex64) name = middle.substr(0, kShortId);
  if (rule.middle == Middle::numbered_name) name = middle.substr(middle.find('-') + 1);
  if (rule.middle == Middle::dashed_hex64) {
    id = middle.substr(middle.size() - kIdDigits);
    name = middle.substr(0, middle.size() - kIdDigits + kShortId);
  }
  return {.kind = rule.kind,
          .name = std::string(rule.shown) + std::string(name),
          .id = std::string(id),
          .pod = {},
          .runtime = std::string(rule.runtime)};
}

/// The uid of the pod that a directory stands for: "kubepods-burstable-podUID.slice" with _ for -, "podUID" below
/// another directory, "machine-libpod_pod_ID.slice" of podman. Static pods have 32 digits without dashes.
std::string pod_of(std::string_view name) {
  constexpr std::string_view kPodman = "machine-libpod_pod_";
  const bool slice = name.ends_with(".slice");
  if (slice) name.remove_suffix(6);
  if (slice && name.starts_with(kPodman)) {
    const std::string_view id = name.substr(kPodman.size());
    return is_id(id) ? std::string(id) : std::string();
  }
  const std::size_t at = slice ? name.rfind("-pod") : 0;
  const std::size_t begin = slice ? at + 4 : 3;
  if (at == std::string_view::npos || (!slice && !name.starts_with("pod"))) return {};
  std::string uid(name.substr(begin));
  std::ranges::replace(uid, '_', '-');
  std::string digits = uid;
  std::erase(digits, '-');
  const bool whole = (uid.size() == 36 || uid.size() == 32) && digits.size() == 32 && is_hex(digits);
  return whole ? uid : std::string();
}

bool is_skipped(std::string_view parent, std::string_view name) {
  return std::ranges::any_of(
      kRules, [&](const CgroupRule& rule) { return rule.middle == Middle::skip && middle_of(rule, parent, name); });
}

/// The innermost unit of systemd; `user@UID.service` runs a systemd of its own, whose units are told apart by it.
std::optional<Workload> unit_of(const std::vector<std::string>& dirs) {
  for (std::size_t at = dirs.size(); at-- > 0;) {
    const std::string& name = dirs[at];
    const bool scope = name.ends_with(".scope");
    if (!scope && !name.ends_with(".service")) continue;
    if (name == "init.scope" || is_skipped(at == 0 ? "" : dirs[at - 1], name)) continue;
    std::string id = name;
    for (std::size_t above = 0; above < at; ++above) {
      if (dirs[above].starts_with("user@") && dirs[above].ends_with(".service")) id = dirs[above] + "/" + name;
    }
    const bool session = scope && name.starts_with("session-");
    return Workload{session ? Kind::session : Kind::service, name, std::move(id), {}, "systemd"};
  }
  return std::nullopt;
}

/// The container or VM in the directories; `depth` is where it was found.
std::optional<Workload> walled_of(const std::vector<std::string>& dirs, std::size_t& depth) {
  for (depth = dirs.size(); depth-- > 0;) {
    const std::string name = unescape_unit(dirs[depth]);
    const std::string_view parent = depth == 0 ? std::string_view() : std::string_view(dirs[depth - 1]);
    for (const CgroupRule& rule : kRules) {
      const auto middle = middle_of(rule, parent, name);
      if (!middle) continue;
      if (rule.middle == Middle::skip) break;
      return made_by(rule, *middle);
    }
  }
  return std::nullopt;
}

std::size_t strength(const Workload& workload) {
  // Of two lines the narrower statement counts: a container is part of its pod.
  return static_cast<std::size_t>(Kind::process) - static_cast<std::size_t>(workload.kind);
}

}  // namespace

const char* to_string(Kind kind) {
  switch (kind) {
    case Kind::container:
      return "container";
    case Kind::pod:
      return "pod";
    case Kind::vm:
      return "vm";
    case Kind::service:
      return "service";
    case Kind::session:
      return "session";
    case Kind::process:
      break;
  }
  return "process";
}

std::optional<Workload> workload_of_cgroup(std::string_view path) {
  const std::vector<std::string> dirs = directories(path);
  std::size_t depth = 0;
  auto walled = walled_of(dirs, depth);
  // The pod around the container; of a container that itself holds a cluster, the pods in it are further inside.
  for (std::size_t at = dirs.size(); at-- > 0;) {
    std::string pod = pod_of(dirs[at]);
    if (pod.empty()) continue;
    if (walled && at < depth) {
      walled->pod = std::move(pod);
      return walled;
    }
    return Workload{Kind::pod, "pod-" + pod, pod, pod, {}};
  }
  return walled ? walled : unit_of(dirs);
}

std::optional<Workload> workload_of_cgroup_file(std::string_view text) {
  std::optional<Workload> best;
  for (const std::string_view line : split(text, '\n')) {
    // "ID:CONTROLLERS:PATH"
    const std::size_t colon = line.find(':', line.find(':') + 1);
    if (colon == std::string_view::npos) continue;
    auto workload = workload_of_cgroup(line.substr(colon + 1));
    if (workload && (!best || strength(*workload) > strength(*best))) best = std::move(workload);
  }
  return best;
}

std::optional<Workload> owner_of_shared(std::span<const Workload> residents) {
  const auto only_one = [&](auto&& counts) -> std::optional<Workload> {
    auto some = residents | std::views::filter(counts);
    if (some.empty()) return std::nullopt;
    const Workload& first = some.front();
    if (!first.pod.empty() && std::ranges::all_of(some, [&](const Workload& one) { return one.pod == first.pod; })) {
      return Workload{Kind::pod, "pod-" + first.pod, first.pod, first.pod, {}};
    }
    return std::ranges::all_of(some, [&](const Workload& one) { return one.id == first.id; }) ? std::optional(first)
                                                                                              : std::nullopt;
  };
  if (std::ranges::any_of(residents, &Workload::walled)) return only_one(&Workload::walled);
  return only_one([](const Workload& one) { return one.kind == Kind::service; });
}

}  // namespace weir::netns
