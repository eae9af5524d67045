#include "observe/dataplane/pinned.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/units.h"
#include "bpf/mapped_array.h"
#include "observe/dataplane/layout.h"
#include "observe/flows/bpf/flows_abi.h"

namespace weir::observe {

namespace {

constexpr std::uint64_t kPinMagic = 0x3176'6E69'7065'7700;  // of this shape of PinRecord
constexpr const char* kRecord = "record";

std::string link_name(const std::string& program) {
  return "link_" + program;
}

Result<PinRecord> read_record(const bpf::PinFolder& folder) {
  const auto fd = folder.get(kRecord);
  if (!fd) return std::unexpected(fd.error());
  auto map = bpf::Map<std::uint32_t, PinRecord>::open(fd->get());
  if (!map) return pass(std::move(map));
  auto record = map->lookup(0);
  if (!record) return pass(std::move(record));
  if (!*record || (*record)->magic != kPinMagic) return fail(Errc::not_found, "the pins have no record");
  return **record;
}

/// What a table that is given up holds, where it can be read.
std::string held_by(const bpf::PinFolder& folder) {
  const auto fd = folder.get("flows");
  if (!fd) return {};
  const auto rows = bpf::MappedArray<weir_flow_row>::open(fd->get());
  if (!rows) return {};
  std::uint64_t flows = 0;
  std::uint64_t bytes = 0;
  for (const weir_flow_row& row : rows->rows()) {
    if (row.state != WEIR_FLOW_LIVE) continue;
    ++flows;
    bytes += row.count.bytes;
  }
  return fmt::format(": {} flows in a table of {} rows, {} bytes since they began", flows, rows->rows().size(), bytes);
}

/// Maps by the names that they are pinned under.
template <class Visit>
Result<void> for_each_map(const bpf_object* object, Visit&& visit) {
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    if (is_constants(map)) continue;
    if (auto done = visit(map); !done) return done;
  }
  return {};
}

}  // namespace

Result<PinnedPlane> PinnedPlane::open(const std::string& directory, std::uint64_t layout, std::uint64_t image) {
  auto folder = bpf::PinFolder::open(directory);
  if (!folder) return pass(std::move(folder));
  PinnedPlane pins(*std::move(folder));
  if (auto looked = pins.look(layout, image); !looked) return pass(std::move(looked));
  return pins;
}

Result<void> PinnedPlane::look(std::uint64_t layout, std::uint64_t image) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  wanted_ = {.magic = kPinMagic,
             .layout = layout,
             .image = image,
             .generation = folder_.generation() + 1,
             .id = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count())};
  news_.side_file = folder_.side_file({});
  news_.id = wanted_.id;
  if (folder_.generation() == 0) return {};
  const auto record = read_record(folder_);
  if (!record && record.error().code != Errc::not_found) return std::unexpected(record.error());
  if (!record || record->layout != layout || record->generation != folder_.generation()) {
    news_.how = PinNews::How::replaced;
    news_.lost =
        "what was pinned here does not fit this version and these options, and was given up" + held_by(folder_);
    return {};
  }
  wanted_.id = news_.id = record->id;
  news_.how = record->image == image ? PinNews::How::continued : PinNews::How::updated;
  if (news_.how == PinNews::How::continued) wanted_.generation = record->generation;
  return {};
}

Result<void> PinnedPlane::reuse_maps(bpf_object* object) const {
  return for_each_map(object, [&](bpf_map* map) -> Result<void> {
    const auto fd = folder_.get(bpf_map__name(map));
    if (!fd) return std::unexpected(fd.error());
    if (const int err = bpf_map__reuse_fd(map, fd->get()); err != 0) {
      return fail_errno(err, fmt::format("cannot take over the pinned map {}", bpf_map__name(map)));
    }
    return {};
  });
}

Result<std::vector<sys::Fd>> PinnedPlane::links(const bpf_object* object) const {
  std::vector<sys::Fd> all;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    auto fd = folder_.get(link_name(bpf_program__name(program)));
    if (!fd) return pass(std::move(fd));
    all.push_back(*std::move(fd));
  }
  return all;
}

Result<void> PinnedPlane::pin_record() {
  const sys::Fd fd(
      bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_pins", sizeof(std::uint32_t), sizeof(PinRecord), 1, nullptr));
  if (!fd.valid()) return fail_errno(errno, "cannot make a BPF map");
  const std::uint32_t only = 0;
  if (const int err = bpf_map_update_elem(fd.get(), &only, &wanted_, BPF_ANY); err != 0) {
    return fail_errno(err, "cannot write a BPF map");
  }
  return folder_.pin(fd.get(), kRecord);
}

Result<void> PinnedPlane::pin(const bpf_object* object, const std::vector<const bpf_link*>& links,
                              const std::vector<const char*>& names) {
  if (auto pinned = pin_record(); !pinned) return pinned;
  auto maps = for_each_map(object, [&](bpf_map* map) { return folder_.pin(bpf_map__fd(map), bpf_map__name(map)); });
  if (!maps) return maps;
  for (std::size_t i = 0; i < links.size(); ++i) {
    if (auto pinned = folder_.pin(bpf_link__fd(links[i]), link_name(names[i])); !pinned) return pinned;
  }
  return {};
}

Result<void> PinnedPlane::commit() {
  if (folder_.generation() == wanted_.generation) return {};
  return folder_.commit(wanted_.generation);
}

}  // namespace weir::observe
