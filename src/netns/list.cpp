// Who exists: the names under /run/netns and the namespaces of all processes.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "base/text.h"
#include "netns/netns.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace {

/// What stat(2) says of a namespace file. Inodes repeat and an inode's time changes while nobody holds it, but the pair
/// does not repeat (measured: 0 of 10,000): equal stamps mean the same namespace, unequal ones mean "ask for the id".
using Stamp = std::tuple<dev_t, ino_t, std::int64_t, std::int64_t>;

class Listing {
 public:
  explicit Listing(std::size_t max_pids) : max_pids_(max_pids) {}

  /// The entry of the namespace behind `path`; not_found when it vanished.
  Result<Entry*> entry_of(const std::string& path) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) return fail_errno(errno, path);
    const Stamp stamp{st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    if (const auto known = by_stamp_.find(stamp); known != by_stamp_.end()) return known->second;
    auto fd = detail::open_ns_file(path, path);
    if (!fd && (fd.error().sys_errno == EMFILE || fd.error().sys_errno == ENFILE) && !held_.empty()) {
      held_.clear();  // they save time only
      fd = detail::open_ns_file(path, path);
    }
    if (!fd) return pass(std::move(fd));
    auto identity = detail::ns_id(fd->get());
    if (!identity) return pass(std::move(identity), path);
    Entry& entry = by_id_[identity->id];
    entry.id = identity->id;
    // The stamp of the opened file itself: `path` may have come to mean another one since.
    if (::fstat(fd->get(), &st) == 0) {
      by_stamp_[{st.st_dev, st.st_ino, st.st_mtim.tv_sec, st.st_mtim.tv_nsec}] = &entry;
      // While its file is open an inode keeps its time. Names hold theirs open anyway; this is for the namespaces
      // that only processes hold, few of which have most of the processes.
      if (held_.size() < kMostHeld) held_.push_back(std::move(*fd));
    }
    return &entry;
  }

  void add_pid(Entry& entry, pid_t pid) const {
    if (entry.pids.size() < max_pids_) entry.pids.push_back(pid);
  }

  std::vector<Entry> take() && {
    std::vector<Entry> entries;
    entries.reserve(by_id_.size());
    for (auto& [id, entry] : by_id_) {
      std::ranges::sort(entry.names);
      std::ranges::sort(entry.pids);
      entries.push_back(std::move(entry));
    }
    std::ranges::sort(entries, {}, [](const Entry& entry) { return std::make_pair(entry.display(), entry.id); });
    return entries;
  }

 private:
  static constexpr std::size_t kMostHeld = 128;
  std::size_t max_pids_;
  std::map<std::uint64_t, Entry> by_id_;
  std::map<Stamp, Entry*> by_stamp_;
  std::vector<sys::Fd> held_;
};

Result<std::vector<pid_t>> all_pids() {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc"), ::closedir);
  if (!dir) return fail_errno(errno, "/proc");
  std::vector<pid_t> pids;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (const auto pid = parse_u64(entry->d_name)) pids.push_back(static_cast<pid_t>(*pid));
  }
  return pids;
}

}  // namespace

std::string Entry::display() const {
  if (initial) return "init";
  return names.empty() ? "id:" + std::to_string(id) : names.front();
}

Result<std::vector<Entry>> detail::list_entries(std::vector<Error>& unreadable, std::size_t max_pids) {
  Listing listing(max_pids);
  if (auto initial = listing.entry_of(detail::initial_path())) {
    (*initial)->initial = true;
  } else {
    unreadable.push_back(std::move(initial).error().with_context("init"));
  }
  auto names = detail::named();
  if (!names) return pass(std::move(names));
  for (const std::string& name : *names) {
    auto entry = listing.entry_of(detail::kNamedDir + ("/" + name));
    if (entry) {
      (*entry)->names.push_back(name);
    } else if (entry.error().code != Errc::not_found) {
      unreadable.push_back(std::move(entry).error());
    }
  }
  auto pids = all_pids();
  if (!pids) return pass(std::move(pids));
  std::size_t refused = 0;
  for (const pid_t pid : *pids) {
    auto entry = listing.entry_of("/proc/" + std::to_string(pid) + "/ns/net");
    if (entry) {
      listing.add_pid(**entry, pid);
    } else if (entry.error().code != Errc::not_found) {
      ++refused;
    }
  }
  if (refused > 0) {
    const char* noun = refused == 1 ? " process" : " processes";
    unreadable.push_back(
        {Errc::permission, std::to_string(refused) + noun + " that this user may not look into", {}, EACCES});
  }
  return std::move(listing).take();
}

Result<std::vector<Entry>> list(std::vector<std::string>* unreadable, std::size_t max_pids) {
  std::vector<Error> errors;
  auto entries = detail::list_entries(errors, max_pids);
  if (unreadable != nullptr) {
    for (Error& error : errors) unreadable->push_back(std::move(error.message));
  }
  return entries;
}

Result<Netns> open(const Entry& entry) {
  std::vector<std::string> specs;
  if (entry.initial) specs.emplace_back("init");
  for (const std::string& name : entry.names) specs.push_back(std::string(detail::kNamedDir) + "/" + name);
  for (const pid_t pid : entry.pids) specs.push_back("pid:" + std::to_string(pid));
  for (const std::string& spec : specs) {
    auto ns = Netns::open(spec);
    if (ns && ns->id() == entry.id) return ns;
    if (!ns && ns.error().code != Errc::not_found && ns.error().code != Errc::usage) return ns;
  }
  return fail(Errc::not_found, "network namespace " + entry.display() + " is gone");
}

}  // namespace weir::netns
