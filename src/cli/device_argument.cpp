#include "cli/device_argument.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"
#include "netns/netns.h"

namespace weir::cli {

namespace {

std::vector<std::string> device_names(const std::vector<model::DeviceRef>& devices, bool with_netns) {
  std::set<std::string> names;
  for (const model::DeviceRef& device : devices) names.insert(with_netns ? to_string(device) : device.name);
  return {names.begin(), names.end()};
}

std::vector<model::DeviceRef> all_devices(const model::HostConfig& config) {
  std::vector<model::DeviceRef> devices;
  std::ranges::transform(config.devices, std::back_inserter(devices), &model::DeviceConfig::ref);
  return devices;
}

std::vector<model::DeviceRef> in_namespace(const std::vector<model::DeviceRef>& devices, std::uint64_t id) {
  std::vector<model::DeviceRef> matching;
  std::ranges::copy_if(devices, std::back_inserter(matching),
                       [&](const model::DeviceRef& device) { return device.netns.id == id; });
  return matching;
}

std::vector<model::DeviceRef> named(const std::vector<model::DeviceRef>& devices, const std::string& name) {
  std::vector<model::DeviceRef> matching;
  std::ranges::copy_if(devices, std::back_inserter(matching),
                       [&](const model::DeviceRef& device) { return device.name == name; });
  return matching;
}

Error no_device(const std::string& name, const std::string& where, const std::vector<model::DeviceRef>& known) {
  return Error{Errc::usage, fmt::format("no device '{}' in {}", name, where), suggest(name, device_names(known, false)),
               0};
}

}  // namespace

Result<std::vector<model::DeviceRef>> find_devices(const model::HostConfig& config, const std::string& spec,
                                                   const std::string& netns) {
  std::vector<model::DeviceRef> known = all_devices(config);
  const std::size_t slash = spec.rfind('/');
  const std::string name = slash == std::string::npos ? spec : spec.substr(slash + 1);
  std::string where = slash == std::string::npos ? netns : spec.substr(0, slash);
  if (slash != std::string::npos && (name.empty() || where.empty())) {
    return fail(Errc::usage, fmt::format("'{}' names no {}", spec, name.empty() ? "device" : "namespace"),
                "write it as dev or netns/dev");
  }
  if (slash != std::string::npos && !netns.empty() && netns != where) {
    return fail(Errc::usage, fmt::format("'{}' names a namespace and --netns names another: {}", spec, netns));
  }
  if (where == "all") where.clear();

  if (!where.empty()) {
    auto ns = netns::Netns::open(where);
    if (!ns) {
      Error error = ns.error();
      if (error.code == Errc::not_found) error.code = Errc::usage;  // the user named it
      return std::unexpected(std::move(error));
    }
    known = in_namespace(known, ns->id());
    if (name.empty()) return known;
    auto found = named(known, name);
    if (found.empty()) return std::unexpected(no_device(name, "namespace " + where, known));
    return found;
  }
  if (name.empty()) return known;
  auto found = named(known, name);
  if (found.empty()) return std::unexpected(no_device(name, "any namespace of this host", known));
  if (found.size() > 1 && netns != "all") {
    if (auto here = netns::Netns::current(); here) {
      if (auto mine = in_namespace(found, here->id()); !mine.empty()) return mine;
    }
    return fail(Errc::usage, fmt::format("'{}' is in several namespaces", name),
                fmt::format("say which: {}", fmt::join(device_names(found, true), ", ")));
  }
  return found;
}

Result<model::DeviceRef> find_device(const model::HostConfig& config, const std::string& spec,
                                     const std::string& netns) {
  if (spec.empty()) return fail(Errc::usage, "no device given", "write it as dev or netns/dev");
  auto found = find_devices(config, spec, netns);
  if (!found) return pass(std::move(found));
  if (found->size() != 1) {
    return fail(Errc::usage, fmt::format("'{}' is in several namespaces", spec),
                fmt::format("say which: {}", fmt::join(device_names(*found, true), ", ")));
  }
  return found->front();
}

}  // namespace weir::cli
