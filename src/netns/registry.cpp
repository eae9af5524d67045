#include "netns/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>

#include "netns/mounts.h"
#include "netns/ns_file.h"
#include "netns/registry_sources.h"
#include "netns/registry_state.h"

namespace weir::netns {

namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr std::size_t kMostHeld = 64;  // namespaces opened in one burst that are handed out
constexpr auto kFirstPause = std::chrono::microseconds(50);
constexpr auto kLongestPause = std::chrono::seconds(1);
constexpr int kMountinfoShare = 4;  // a reading of mountinfo is followed by a pause of as many times its length

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> paths;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") paths.push_back(directory + "/" + std::string(name));
  }
  return paths;
}

/// What a name is called: Netns::open() takes bare names for those below /run/netns.
std::string called(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  const bool bare = parent_of(path) == detail::kNamedDir && detail::check_name(name).has_value();
  return bare ? name : path;
}

std::vector<std::string> called(const std::vector<std::string>& paths) {
  std::vector<std::string> names;
  names.reserve(paths.size());
  for (const std::string& path : paths) names.push_back(called(path));
  std::ranges::sort(names, {}, [](const std::string& name) { return std::pair(name.starts_with('/'), name); });
  return names;
}

}  // namespace

std::vector<std::string> standard_directories() {
  std::vector<std::string> directories{detail::kNamedDir, "/run/docker/netns"};
  for (const std::string& user : entries_of("/run/user")) {
    if (::access((user + "/netns").c_str(), F_OK) == 0) directories.push_back(user + "/netns");
  }
  return directories;
}

class Registry::Impl {
 public:
  explicit Impl(RegistryOptions options) : options_(std::move(options)) {}

  Result<void> subscribe();
  Result<void> look_first();
  Result<std::vector<RegistryEvent>> wait(nanoseconds at_most);
  [[nodiscard]] int fd() const { return epoll_.get(); }
  [[nodiscard]] RegistrySource source() const { return options_.source; }

 private:
  struct Attempt {
    Steady::time_point at;
    nanoseconds pause{};
  };

  /// The mounts of namespaces at one path, and which mount shows there: it may be another one, that covers them.
  struct MountStack {
    std::vector<detail::NsMount> mounts;
    std::uint64_t visible = 0;
    bool operator==(const MountStack&) const = default;
  };

  Result<void> subscribe_mounts();
  Result<void> add_to_epoll(int fd, std::uint32_t events);
  Result<bool> wait_for_signs(nanoseconds at_most);
  Result<void> collect();
  Result<void> collect_mount_events();
  Result<void> collect_directories();
  Result<void> collect_mountinfo();
  void collect_due();
  Result<void> rearm_directories();
  Result<void> want_everything();
  [[nodiscard]] bool is_ours(const std::string& path, bool is_netns) const;
  void verify(const std::string& path);
  void try_again(const std::string& path);
  Result<void> arm_timer();
  void settle();
  void tell(const detail::NameTable::Change& change);

  RegistryOptions options_;
  sys::Fd epoll_;
  sys::Fd timer_;
  std::optional<detail::MountEvents> mount_events_;
  sys::Fd mountinfo_;
  std::optional<detail::DirectoryWatch> directories_;
  detail::NameTable table_;
  std::set<std::string> wanted_;                                 // paths to look at
  std::map<std::uint64_t, std::set<std::string>> mount_points_;  // paths that a mount's going concerns, by mount
  std::map<std::string, MountStack> last_mounts_;                // of mountinfo, by path
  std::map<std::string, Attempt> attempts_;
  std::map<std::uint64_t, Netns> opened_;
  std::vector<RegistryEvent> events_;
  bool first_ = true;
  bool mountinfo_changed_ = false;
  Steady::time_point mountinfo_next_{};
  Steady::time_point sweep_next_{};
};

Result<void> Registry::Impl::add_to_epoll(int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return fail_errno(errno, "epoll");
  return {};
}

Result<void> Registry::Impl::subscribe_mounts() {
  const bool best = options_.source == RegistrySource::best;
  if (best || options_.source == RegistrySource::mount_events) {
    auto events = detail::MountEvents::open();
    if (events) {
      options_.source = RegistrySource::mount_events;
      mount_events_.emplace(std::move(*events));
      return add_to_epoll(mount_events_->fd(), EPOLLIN);
    }
    if (!best) return pass(std::move(events));
  }
  if (best || options_.source == RegistrySource::mountinfo) {
    mountinfo_ = sys::Fd(::open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC));
    if (mountinfo_.valid()) {
      options_.source = RegistrySource::mountinfo;
      return add_to_epoll(mountinfo_.get(), EPOLLPRI);
    }
    if (!best) return fail_errno(errno, "mountinfo");
  }
  options_.source = RegistrySource::directories;
  return {};
}

Result<void> Registry::Impl::subscribe() {
  if (options_.directories.empty()) options_.directories = standard_directories();
  epoll_ = sys::Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return fail_errno(errno, "epoll");
  timer_ = sys::Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.valid()) return fail_errno(errno, "timerfd");
  if (auto added = add_to_epoll(timer_.get(), EPOLLIN); !added) return added;
  if (auto mounts = subscribe_mounts(); !mounts) return mounts;
  if (options_.anywhere && options_.source == RegistrySource::directories) {
    return fail(Errc::unsupported, "directories tell nothing of namespaces that are mounted elsewhere");
  }
  auto directories = detail::DirectoryWatch::open(options_.directories);
  if (!directories) return pass(std::move(directories));
  directories_.emplace(std::move(*directories));
  return add_to_epoll(directories_->fd(), EPOLLIN);
}

Result<void> Registry::Impl::look_first() {
  mountinfo_changed_ = true;
  if (auto wanted = want_everything(); !wanted) return wanted;
  settle();
  first_ = false;
  return arm_timer();
}

bool Registry::Impl::is_ours(const std::string& path, bool is_netns) const {
  if (is_netns && options_.anywhere) return true;
  return std::ranges::find(options_.directories, parent_of(path)) != options_.directories.end();
}

Result<void> Registry::Impl::want_everything() {
  for (std::string& path : table_.paths()) wanted_.insert(std::move(path));
  for (const std::string& directory : options_.directories) {
    for (std::string& path : entries_of(directory)) wanted_.insert(std::move(path));
  }
  if (options_.source == RegistrySource::directories) return {};
  auto mounts = detail::read_ns_mounts("/proc/thread-self/mountinfo");
  if (!mounts) return pass(std::move(mounts));
  for (const detail::NsMount& mount : *mounts) {
    if (is_ours(mount.point, true)) wanted_.insert(mount.point);
  }
  return {};
}

/// Waits until something may have changed; false when the time is over.
Result<bool> Registry::Impl::wait_for_signs(nanoseconds at_most) {
  std::array<epoll_event, 8> ready{};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::max(at_most, nanoseconds::zero())).count();
  const int got = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                               static_cast<int>(std::min<std::int64_t>(ms, 1'000'000'000)));
  if (got < 0 && errno != EINTR) return fail_errno(errno, "waiting for events");
  for (int i = 0; i < got; ++i) mountinfo_changed_ = mountinfo_changed_ || ready[i].data.fd == mountinfo_.get();
  // Who polls fd() has consumed the sign: mountinfo gives it once.
  if (mountinfo_.valid() && at_most <= nanoseconds::zero()) mountinfo_changed_ = true;
  return got > 0 || mountinfo_changed_;
}

/// After a mount on or above a directory, or a new directory in its place: what it shows now.
Result<void> Registry::Impl::rearm_directories() {
  auto changed = directories_->rearm();
  if (!changed) return pass(std::move(changed));
  for (const std::string& directory : *changed) {
    for (std::string& path : entries_of(directory)) wanted_.insert(std::move(path));
    for (std::string& path : table_.paths(directory)) wanted_.insert(std::move(path));
  }
  return {};
}

Result<void> Registry::Impl::collect_mount_events() {
  bool disturbed = false;
  auto complete = mount_events_->drain([&](const detail::MountEvents::Event& event) {
    if (!event.attached) {
      const auto known = mount_points_.find(event.mount_id);
      disturbed = disturbed || known == mount_points_.end();
      if (known == mount_points_.end()) return;
      wanted_.merge(known->second);
      mount_points_.erase(known);
      return;
    }
    auto facts = detail::mount_facts(event.mount_id);
    if (!facts) return;  // gone already
    if (is_ours(facts->point, facts->is_netns)) {
      wanted_.insert(facts->point);
      mount_points_[event.mount_id].insert(std::move(facts->point));
    } else {
      disturbed = disturbed || !facts->is_netns;
    }
  });
  if (!complete) return pass(std::move(complete));
  if (!*complete) {
    events_.push_back({.kind = RegistryEvent::Kind::resync, .name = {}, .names = {}, .netns = {}});
    if (auto all = want_everything(); !all) return all;
  }
  return disturbed || !*complete ? rearm_directories() : Result<void>{};
}

Result<void> Registry::Impl::collect_directories() {
  auto drained = directories_->drain();
  if (!drained) return pass(std::move(drained));
  wanted_.merge(drained->paths);
  if (drained->lost) {
    events_.push_back({.kind = RegistryEvent::Kind::resync, .name = {}, .names = {}, .netns = {}});
    if (auto all = want_everything(); !all) return all;
  }
  return drained->disturbed ? rearm_directories() : Result<void>{};
}

/// Looks at the paths whose mounts are others than at the last reading.
Result<void> Registry::Impl::collect_mountinfo() {
  const auto start = Steady::now();
  if (!mountinfo_changed_ || start < mountinfo_next_) return {};
  mountinfo_changed_ = false;
  auto mounts = detail::read_ns_mounts("/proc/thread-self/mountinfo");
  if (!mounts) return pass(std::move(mounts));
  decltype(last_mounts_) now;
  for (const detail::NsMount& mount : *mounts) {
    if (is_ours(mount.point, true)) now[mount.point].mounts.push_back(mount);
  }
  for (auto& [path, stack] : now) {
    stack.visible = detail::visible_mount_id(path);
    const auto last = last_mounts_.find(path);
    if (last == last_mounts_.end() || last->second != stack) wanted_.insert(path);
  }
  // Those that are mounted no more, and links: what they lead to may be.
  for (std::string& path : table_.paths()) {
    if (!now.contains(path)) wanted_.insert(std::move(path));
  }
  last_mounts_ = std::move(now);
  if (auto armed = rearm_directories(); !armed) return armed;
  const auto end = Steady::now();
  mountinfo_next_ = end + kMountinfoShare * (end - start);
  return {};
}

/// The attempts that are due; without word of mounts, a look at all names once in a while.
void Registry::Impl::collect_due() {
  std::uint64_t expirations = 0;
  static_cast<void>(::read(timer_.get(), &expirations, sizeof expirations) == sizeof expirations);
  const auto now = Steady::now();
  for (const auto& [path, attempt] : attempts_) {
    if (attempt.at <= now) wanted_.insert(path);
  }
  if (options_.source != RegistrySource::directories || now < sweep_next_) return;
  for (std::string& path : table_.paths()) wanted_.insert(std::move(path));
  sweep_next_ = now + kLongestPause;
}

Result<void> Registry::Impl::collect() {
  if (mount_events_) {
    if (auto mounts = collect_mount_events(); !mounts) return mounts;
  }
  if (auto directories = collect_directories(); !directories) return directories;
  if (mountinfo_.valid()) {
    if (auto mounts = collect_mountinfo(); !mounts) return mounts;
  }
  collect_due();
  return {};
}

void Registry::Impl::try_again(const std::string& path) {
  Attempt& attempt = attempts_[path];
  attempt.pause = attempt.pause == nanoseconds::zero() ? nanoseconds(kFirstPause)
                                                       : std::min<nanoseconds>(2 * attempt.pause, kLongestPause);
  attempt.at = Steady::now() + attempt.pause;
}

/// Finds out what `path` stands for now.
void Registry::Impl::verify(const std::string& path) {
  auto fd = detail::open_ns_file(path, path);
  if (!fd && fd.error().code == Errc::not_found) {
    table_.set(path, std::nullopt);
    attempts_.erase(path);
    return;
  }
  if (!fd && (fd.error().code == Errc::usage || fd.error().code == Errc::permission)) {
    // A file on which no namespace is mounted, or not yet. Where mounts are told, the mount will be.
    table_.set(path, std::nullopt);
    if (options_.source == RegistrySource::directories) {
      try_again(path);
    } else {
      attempts_.erase(path);
    }
    return;
  }
  const std::uint64_t mount_id = fd && mount_events_ ? detail::unique_mount_id(fd->get()) : 0;
  auto ns = fd ? Netns::from_fd(std::move(*fd)) : Result<Netns>(std::unexpected(std::move(fd).error()));
  if (!ns) return try_again(path);  // no descriptors, no memory: that says nothing of the name
  attempts_.erase(path);
  if (mount_id != 0) mount_points_[mount_id].insert(path);
  const std::uint64_t id = ns->id();
  if (!first_ && !table_.knows(id) && opened_.size() < kMostHeld) opened_.insert_or_assign(id, std::move(*ns));
  table_.set(path, id);
}

void Registry::Impl::tell(const detail::NameTable::Change& change) {
  RegistryEvent event;
  event.id = change.id;
  event.kind = change.after.empty()    ? RegistryEvent::Kind::gone
               : change.before.empty() ? RegistryEvent::Kind::ready
                                       : RegistryEvent::Kind::renamed;
  event.names = called(change.after.empty() ? change.before : change.after);
  event.name = event.names.front();
  if (event.kind == RegistryEvent::Kind::ready) {
    event.existing = first_;
    if (const auto found = opened_.find(change.id); found != opened_.end()) event.netns = std::move(found->second);
  }
  events_.push_back(std::move(event));
}

/// Looks at what has to be looked at and tells what is different.
void Registry::Impl::settle() {
  for (const std::string& path : std::exchange(wanted_, {})) verify(path);
  for (const detail::NameTable::Change& change : table_.take_changes()) tell(change);
  opened_.clear();
}

Result<void> Registry::Impl::arm_timer() {
  auto next = Steady::time_point::max();
  for (const auto& [path, attempt] : attempts_) next = std::min(next, attempt.at);
  if (mountinfo_changed_) next = std::min(next, mountinfo_next_);
  if (options_.source == RegistrySource::directories && !table_.paths().empty()) next = std::min(next, sweep_next_);
  itimerspec spec{};
  if (next != Steady::time_point::max()) {
    const auto left = std::max<nanoseconds>(next - Steady::now(), nanoseconds(1));
    spec.it_value = {left.count() / 1'000'000'000, left.count() % 1'000'000'000};
  }
  if (::timerfd_settime(timer_.get(), 0, &spec, nullptr) != 0) return fail_errno(errno, "timerfd");
  return {};
}

Result<std::vector<RegistryEvent>> Registry::Impl::wait(nanoseconds at_most) {
  const auto start = Steady::now();
  while (events_.empty()) {
    const nanoseconds left = at_most - (Steady::now() - start);
    auto signs = wait_for_signs(at_most <= nanoseconds::zero() ? at_most : std::max(left, nanoseconds(1)));
    if (!signs) return pass(std::move(signs));
    if (*signs) {
      if (auto collected = collect(); !collected) return pass(std::move(collected));
      settle();
      if (auto armed = arm_timer(); !armed) return pass(std::move(armed));
    }
    if (Steady::now() - start >= at_most) break;
  }
  return std::exchange(events_, {});
}

Registry::Registry(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Registry::Registry(Registry&& other) noexcept = default;
Registry& Registry::operator=(Registry&& other) noexcept = default;
Registry::~Registry() = default;

Result<Registry> Registry::open(const RegistryOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  if (auto subscribed = impl->subscribe(); !subscribed) return pass(std::move(subscribed), "watching namespaces");
  if (auto looked = impl->look_first(); !looked) return pass(std::move(looked), "watching namespaces");
  return Registry(std::move(impl));
}

Result<std::vector<RegistryEvent>> Registry::wait(nanoseconds at_most) {
  return impl_->wait(at_most);
}

int Registry::fd() const {
  return impl_->fd();
}

RegistrySource Registry::source() const {
  return impl_->source();
}

}  // namespace weir::netns
