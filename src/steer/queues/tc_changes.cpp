#include "steer/queues/tc_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "bpf/program.h"
#include "bpf/skeleton.h"
#include "netns/netns.h"
#include "queues_fix.skel.h"
#include "sys/poll_until.h"

namespace weir::steer {

namespace {

constexpr std::uint32_t kHandle = 1;
/// Taking a namespace down waits for grace periods and for others in the kernel's queue: mostly some 100 ms.
constexpr std::chrono::seconds kTeardown(3);

/// "tc -n NS" for a shell; the initial namespace has no name there.
std::string tc_command(const model::DeviceRef& device) {
  return device.netns.name == "init" ? "tc" : "tc -n " + device.netns.name;
}

Json device_json(const model::DeviceRef& device) {
  return {{"netns_id", device.netns.id},
          {"netns", device.netns.name},
          {"ifindex", device.ifindex.value},
          {"dev", device.name}};
}

model::DeviceRef device_of(const Json& data) {
  return {
      .netns = {data.at("netns_id"), data.at("netns")}, .ifindex = IfIndex{data.at("ifindex")}, .name = data.at("dev")};
}

Result<TcSocket> socket_into(const model::DeviceRef& device) {
  const auto ns = netns::Netns::open("id:" + std::to_string(device.netns.id));
  if (!ns) return std::unexpected(ns.error());
  return TcSocket::open(*ns);
}

class AddClsact final : public Change {
 public:
  explicit AddClsact(model::DeviceRef device) : device_(std::move(device)) {}
  [[nodiscard]] std::string kind() const override { return "tc-clsact"; }
  [[nodiscard]] model::PlanStep words() const override {
    const std::string tc = tc_command(device_);
    return {fmt::format("add a clsact qdisc to {}, which holds filters and queues nothing", to_string(device_)),
            fmt::format("{} qdisc add dev {} clsact", tc, device_.name),
            fmt::format("{} qdisc del dev {} clsact", tc, device_.name)};
  }
  Result<Json> prepare() override {
    auto socket = socket_into(device_);
    if (!socket) return pass(std::move(socket), to_string(device_));
    socket_ = *std::move(socket);
    const auto kind = socket_->clsact_kind(device_.ifindex);
    if (!kind) return std::unexpected(kind.error());
    if (*kind) return fail(Errc::busy, fmt::format("{} has a {} qdisc by now; plan again", to_string(device_), **kind));
    return device_json(device_);
  }
  Result<void> apply() override {
    auto added = socket_->add_clsact(device_.ifindex);
    if (!added) return pass(std::move(added), to_string(device_));
    return {};
  }

 private:
  model::DeviceRef device_;
  std::optional<TcSocket> socket_;
};

class AddQueueFix final : public Change {
 public:
  AddQueueFix(model::DeviceRef device, TcHook hook, std::uint32_t preference)
      : device_(std::move(device)), hook_(hook), preference_(preference) {}
  [[nodiscard]] std::string kind() const override { return "tc-filter"; }
  [[nodiscard]] model::PlanStep words() const override {
    const std::string tc = tc_command(device_);
    const std::string place =
        fmt::format("dev {} {} pref {} handle {:#x}", device_.name, to_string(hook_), preference_, kHandle);
    return {fmt::format("clear skb->queue_mapping at the {} of {}, behind every filter there", to_string(hook_),
                        to_string(device_)),
            // No file holds the program: it is linked into Weir, so tc could only take it from a bpffs pin.
            fmt::format("{} filter add {} bpf direct-action object-pinned PROGRAM  # PROGRAM: {}, built into weir", tc,
                        place, kQueueFixName),
            fmt::format("{} filter del {} protocol all bpf", tc, place)};
  }
  Result<Json> prepare() override {
    auto socket = socket_into(device_);
    if (!socket) return pass(std::move(socket), to_string(device_));
    socket_ = *std::move(socket);
    auto skeleton = bpf::Skeleton<queues_fix>::open();
    if (!skeleton) return pass(std::move(skeleton));
    if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded));
    skeleton_ = *std::move(skeleton);
    const auto program = bpf::program_info(bpf_program__fd(skeleton_->get().progs.weir_queue_fix));
    if (!program) return std::unexpected(program.error());
    Json data = device_json(device_);
    data["hook"] = to_string(hook_);
    data["preference"] = preference_;
    data["handle"] = kHandle;
    data["name"] = kQueueFixName;
    data["program_id"] = program->id;
    data["program_tag"] = program->tag;
    return data;
  }
  Result<void> apply() override {
    auto added = socket_->add_filter({.device = device_.ifindex,
                                      .hook = hook_,
                                      .preference = preference_,
                                      .handle = kHandle,
                                      .name = kQueueFixName,
                                      .program_fd = bpf_program__fd(skeleton_->get().progs.weir_queue_fix)});
    if (!added) return pass(std::move(added), to_string(device_));
    return {};
  }

 private:
  model::DeviceRef device_;
  TcHook hook_;
  std::uint32_t preference_;
  std::optional<TcSocket> socket_;
  std::optional<bpf::Skeleton<queues_fix>> skeleton_;  // holds the program until the filter does
};

/// A socket to where a change was made, or the sentence that tells that the place is gone.
struct Place {
  std::optional<TcSocket> socket;
  std::string gone;
};

Result<Place> place_of(const model::DeviceRef& device) {
  auto socket = socket_into(device);
  if (!socket) {
    if (socket.error().code != Errc::not_found) return pass(std::move(socket), to_string(device));
    return Place{std::nullopt, fmt::format("namespace {} is gone, and its filters with it", device.netns.name)};
  }
  const auto name = socket->device_name(device.ifindex);
  if (!name) return std::unexpected(name.error());
  if (!*name) return Place{std::nullopt, fmt::format("{} is gone, and its filters with it", to_string(device))};
  return Place{*std::move(socket), {}};
}

Result<std::string> undo_clsact(const JournalStep& step) {
  const model::DeviceRef device = device_of(step.data);
  auto place = place_of(device);
  if (!place) return pass(std::move(place));
  if (!place->socket) return std::string();  // the filter's step has said so
  const auto kind = place->socket->clsact_kind(device.ifindex);
  if (!kind) return std::unexpected(kind.error());
  if (!*kind || **kind != "clsact") return std::string();
  for (const TcHook hook : {TcHook::ingress, TcHook::egress}) {
    const auto filters = place->socket->filters(device.ifindex, hook);
    if (!filters) return std::unexpected(filters.error());
    if (!filters->empty()) {
      return fmt::format("the clsact qdisc of {} stays: somebody else has put filters in it meanwhile",
                         to_string(device));
    }
  }
  auto removed = place->socket->delete_clsact(device.ifindex);
  if (!removed) return pass(std::move(removed), to_string(device));
  return std::string();
}

/// The place cannot be entered any more. A filter keeps its program alive, so the program tells whether it is in force;
/// of a namespace or device that was just removed the kernel takes the filters down a little later, and tells nobody.
Result<std::string> undo_unreachable(const Json& data, std::string gone) {
  const std::uint32_t id = data.at("program_id");
  const std::string tag = data.at("program_tag");
  Result<bool> ended = false;
  const auto asked = [&]() -> bool {
    const auto program = bpf::find_program(id);
    ended = program ? Result<bool>(!*program || (*program)->tag != tag) : std::unexpected(program.error());
    return !ended || *ended;
  };
  if (!sys::poll_until(std::chrono::steady_clock::now() + kTeardown, asked)) {
    return fail(Errc::busy,
                fmt::format("{} cannot be reached, but the filter there is still in force (BPF program {})",
                            to_string(device_of(data)), id),
                "some process keeps the namespace: give it a name (ip netns attach NAME PID) and undo again");
  }
  if (!ended) return std::unexpected(ended.error());
  return gone;
}

Result<std::string> undo_filter(const JournalStep& step) {
  const model::DeviceRef device = device_of(step.data);
  const TcHook hook = step.data.at("hook") == to_string(TcHook::ingress) ? TcHook::ingress : TcHook::egress;
  const std::uint32_t preference = step.data.at("preference");
  const std::uint32_t handle = step.data.at("handle");
  const std::uint32_t program_id = step.data.at("program_id");
  const std::string program_tag = step.data.at("program_tag");
  auto place = place_of(device);
  if (!place) return pass(std::move(place));
  if (!place->socket) return undo_unreachable(step.data, std::move(place->gone));
  const auto filters = place->socket->filters(device.ifindex, hook);
  if (!filters) return std::unexpected(filters.error());
  const auto there = std::ranges::find_if(*filters, [&](const TcFilterEntry& filter) {
    return filter.preference == preference && filter.handle == handle && filter.kind == "bpf";
  });
  if (there == filters->end()) {
    // An intention that was never carried out is the usual reason; otherwise somebody has removed it by hand.
    return step.state == JournalStep::State::intended
               ? std::string()
               : fmt::format("the filter at the {} of {} had been removed already", to_string(hook), to_string(device));
  }
  if (there->program_id != program_id || there->program_tag != program_tag) {
    return fail(
        Errc::failed,
        fmt::format("the filter at {} {} pref {} handle {:#x} is not the one that Weir installed: it runs program "
                    "{} ({}, tag {})",
                    to_string(device), to_string(hook), preference, handle, there->program_id, there->name,
                    there->program_tag),
        "nothing was touched; if Weir's filter was replaced on purpose, remove the journal's file");
  }
  auto removed = place->socket->delete_filter(device.ifindex, hook, preference, handle);
  if (!removed) return pass(std::move(removed), to_string(device));
  return std::string();
}

/// The data of a step that was edited by hand may lack what an undoer reads.
Undoer guarded(Result<std::string> (*undo)(const JournalStep&)) {
  return [undo](const JournalStep& step) -> Result<std::string> {
    try {
      return undo(step);
    } catch (const Json::exception& error) {
      return fail(Errc::failed, fmt::format("the journal's step \"{}\" is damaged: {}", step.kind, error.what()));
    }
  };
}

}  // namespace

std::unique_ptr<Change> add_clsact_change(const model::DeviceRef& device) {
  return std::make_unique<AddClsact>(device);
}

std::unique_ptr<Change> add_queue_fix_change(const model::DeviceRef& device, TcHook hook, std::uint32_t preference) {
  return std::make_unique<AddQueueFix>(device, hook, preference);
}

Undoers tc_undoers() {
  return {{"tc-clsact", guarded(undo_clsact)}, {"tc-filter", guarded(undo_filter)}};
}

}  // namespace weir::steer
