#include "netns/census.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "netns/collector.h"
#include "netns/ns_file.h"
#include "sys/scratch_thread.h"

namespace weir::netns {

namespace detail {

Result<Collector::Found> Collector::at(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_errno(errno, path);
  const auto stamp_of = [&] { return Stamp{st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec}; };
  if (const auto known = by_stamp_.find(stamp_of()); known != by_stamp_.end()) return Found{known->second, st.st_mtim};
  auto fd = open_ns_file(path, path);
  if (!fd && (fd.error().sys_errno == EMFILE || fd.error().sys_errno == ENFILE) && !held_.empty()) {
    held_.clear();  // they save time only
    fd = open_ns_file(path, path);
  }
  if (!fd) return pass(std::move(fd));
  auto resident = of(*fd);
  if (!resident) return pass(std::move(resident), path);
  // The stamp of the opened file itself: `path` may have come to mean another one since.
  if (::fstat(fd->get(), &st) != 0) return fail_errno(errno, path);
  by_stamp_[stamp_of()] = *resident;
  // While its file is open an inode keeps its time. Mounts hold theirs open anyway; this is for the namespaces that
  // only processes hold, few of which have most of the processes.
  if (held_.size() < kMostHeld) held_.push_back(std::move(*fd));
  return Found{*resident, st.st_mtim};
}

Result<Resident*> Collector::of(const sys::Fd& fd) {
  const auto identity = ns_id(fd.get());
  if (!identity) return std::unexpected(identity.error());
  const std::uint64_t id = identity->id;
  const auto [place, fresh] = by_id_.try_emplace(id);
  Resident& resident = place->second;
  if (!fresh) return &resident;
  resident.id = id;
  if (struct stat st{}; ::fstat(fd.get(), &st) == 0) resident.inode = st.st_ino;
  if (options_.look_inside) {
    if (auto seen = look_inside(fd.get(), resident); !seen) {
      gaps.unreadable.push_back("id:" + std::to_string(id) + ": " + seen.error().message);
    }
  }
  return &resident;
}

Resident* Collector::known(std::uint64_t id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

std::set<std::uint64_t> Collector::inodes() const {
  std::set<std::uint64_t> all;
  for (const auto& [id, resident] : by_id_) all.insert(resident.inode);
  return all;
}

namespace {

constexpr std::string_view kNamedPrefix = "/run/netns/";

/// The name of a path directly below /run/netns, else nothing.
std::optional<std::string> name_of(const std::string& path) {
  if (!path.starts_with(kNamedPrefix) || path.find('/', kNamedPrefix.size()) != std::string::npos) return std::nullopt;
  return path.substr(kNamedPrefix.size());
}

/// Notes a mount whose point shows something else. The copy that the sharing of /run/netns leaves beneath every name
/// (ip-netns(8)) is the same namespace at the same path, and not worth a word.
void note_hidden(Collector& collector, const std::vector<NsMount>& mounts, const std::set<std::string>& open_points) {
  std::set<std::pair<std::string, std::uint64_t>> shown;
  for (const std::string& point : open_points) {
    if (struct stat st{}; ::stat(point.c_str(), &st) == 0) shown.insert({point, st.st_ino});
  }
  for (const NsMount& mount : mounts) {
    if (shown.insert({mount.point, mount.inode}).second) {
      collector.gaps.hidden.push_back(mount.point + ": net:[" + std::to_string(mount.inode) +
                                      "] is covered by another mount");
    }
  }
}

Result<void> collect_mounts(Collector& collector) {
  auto mounts = read_ns_mounts("/proc/thread-self/mountinfo");
  if (!mounts) return pass(std::move(mounts));
  std::set<std::string> seen;
  std::set<std::string> opened;
  for (const NsMount& mount : *mounts) {
    if (!seen.insert(mount.point).second) continue;
    auto found = collector.at(mount.point);
    if (!found) {
      // Errc::usage: no namespace shows there, see note_hidden().
      if (found.error().code != Errc::not_found && found.error().code != Errc::usage) {
        collector.gaps.unreadable.push_back(found.error().message);
      }
      continue;
    }
    opened.insert(mount.point);
    Resident& resident = *found->resident;
    const auto name = name_of(mount.point);
    (name ? resident.names : resident.mounts).push_back(name ? *name : mount.point);
    const auto since =
        std::chrono::seconds(found->file_time.tv_sec) + std::chrono::nanoseconds(found->file_time.tv_nsec);
    resident.since = {std::chrono::sys_time<std::chrono::nanoseconds>(since), Since::Source::mount};
  }
  note_hidden(collector, *mounts, opened);
  auto names = named();
  if (!names) return pass(std::move(names));
  // What is left are links to mounts elsewhere, and files on which no namespace is mounted.
  for (const std::string& name : *names) {
    const std::string path = std::string(kNamedPrefix) + name;
    if (opened.contains(path)) continue;
    auto found = collector.at(path);
    if (found) {
      found->resident->names.push_back(name);
    } else if (found.error().code != Errc::not_found) {
      collector.gaps.unreadable.push_back(found.error().message);
    }
  }
  return {};
}

std::vector<Resident> sorted_residents(Collector& collector) {
  std::vector<Resident> residents;
  residents.reserve(collector.residents().size());
  for (auto& [id, resident] : collector.residents()) {
    std::ranges::sort(resident.names);
    std::ranges::sort(resident.mounts);
    std::ranges::sort(resident.pids);
    describe_processes(resident);
    residents.push_back(std::move(resident));
  }
  std::ranges::sort(residents, {}, [](const Resident& resident) {
    return std::make_tuple(!resident.initial, resident.names.empty(), resident.display(), resident.id);
  });
  return residents;
}

}  // namespace
}  // namespace detail

std::string Resident::display() const {
  if (initial) return "init";
  return names.empty() ? "id:" + std::to_string(id) : names.front();
}

Result<Census> take_census(const CensusOptions& options) {
  Census census;
  auto taken = sys::on_scratch_thread([&]() -> Result<void> {
    detail::Collector collector(options);
    if (auto initial = collector.at(detail::initial_path())) {
      initial->resident->initial = true;
    } else {
      collector.gaps.unreadable.push_back("init: " + initial.error().message);
    }
    if (auto mounts = detail::collect_mounts(collector); !mounts) return mounts;
    if (auto processes = detail::collect_processes(collector); !processes) return processes;
    census.residents = detail::sorted_residents(collector);
    census.gaps = std::move(collector.gaps);
    return {};
  });
  if (!taken) return pass(std::move(taken));
  return census;
}

Result<Netns> open(const Resident& resident) {
  std::vector<std::string> specs;
  if (resident.initial) specs.emplace_back("init");
  for (const std::string& name : resident.names) specs.push_back(std::string(detail::kNamedPrefix) + name);
  for (const std::string& mount : resident.mounts) {
    if (mount.starts_with('/')) specs.push_back(mount);
  }
  for (const pid_t pid : resident.pids) specs.push_back("pid:" + std::to_string(pid));
  for (const Member& thread : resident.threads) {
    specs.push_back("/proc/" + std::to_string(thread.pid) + "/ns/net");  // /proc/TID exists, though it is not listed
  }
  for (const std::string& spec : specs) {
    auto ns = Netns::open(spec);
    if (ns && ns->id() == resident.id) return ns;
    if (!ns && ns.error().code != Errc::not_found && ns.error().code != Errc::usage) return ns;
  }
  return detail::open_through_others(resident);
}

}  // namespace weir::netns
