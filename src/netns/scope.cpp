// Which namespace a thread is in, how it goes elsewhere and how it comes back.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>

#include "netns/netns.h"
#include "netns/ns_file.h"

namespace weir::netns {

namespace detail {

constinit thread_local ThreadState thread_state;

/// The way home of all threads with the same home. The first descriptor is the one in use; the second is touched only
/// when a return with the first fails, and stands far from where careless code closes what is not its own.
struct Home {
  std::uint64_t id = 0;
  std::uint32_t inum = 0;
  mutable std::atomic<int> fd{-1};
  int spare = -1;

  Home() = default;
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;
  ~Home() {
    // Only what still is ours: other code may have closed these numbers and been given them again.
    for (const int mine : {fd.load(), spare}) {
      if (leads_to(mine, id, inum)) ::close(mine);
    }
  }
};

namespace {

struct Homes {
  std::mutex mutex;
  std::map<std::uint64_t, std::weak_ptr<Home>> by_id;
};

Homes& homes() {
  static Homes& all = *new Homes;  // never destroyed: threads may end after main() does
  return all;
}

/// Holds the thread's home, and says so when it is too late to ask for one.
struct HomeHolder {
  std::shared_ptr<Home> home;
  ~HomeHolder() {
    thread_state.home = nullptr;
    thread_state.ended = true;
  }
};
thread_local HomeHolder home_holder;

std::atomic<QuarantineHandler> quarantine_handler{nullptr};

constexpr int kFirstFromTop = 512;
constexpr int kSpareFromTop = 256;

/// A copy of `fd` at a high number, where neither descriptor tables grow much nor close loops begin.
Result<Fd> high_copy(int fd, int from_the_top) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  constexpr rlim_t kHighest = 8192;
  const int top = static_cast<int>(std::min(limit.rlim_cur, kHighest)) - from_the_top;
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, std::max(top, 3)));
  if (!copy.valid()) copy = Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) return fail_errno(errno, "keeping this thread's network namespace open");
  return copy;
}

Result<std::shared_ptr<Home>> home_of(const Netns& ns) {
  Homes& all = homes();
  const std::scoped_lock lock(all.mutex);
  auto& known = all.by_id[ns.id()];
  if (auto home = known.lock()) return home;
  auto first = high_copy(ns.fd(), kFirstFromTop);
  if (!first) return pass(std::move(first));
  auto spare = high_copy(ns.fd(), kSpareFromTop);
  if (!spare) return pass(std::move(spare));
  auto home = std::make_shared<Home>();
  home->id = ns.id();
  home->inum = ns.inum();
  home->fd = std::move(*first).release();
  home->spare = std::move(*spare).release();
  known = home;
  std::erase_if(all.by_id, [](const auto& entry) { return entry.second.expired(); });
  return home;
}

Result<void> settle(ThreadState& thread, const Netns& ns) {
  auto home = home_of(ns);
  if (!home) return pass(std::move(home));
  home_holder.home = std::move(*home);
  thread.home = home_holder.home.get();
  thread.here = ns.id();
  thread.here_fd = -1;
  return {};
}

/// Learns where the thread is, once a thread.
Result<void> ask_home(ThreadState& thread) {
  if (thread.home != nullptr) return {};
  if (thread.ended) return fail(Errc::failed, "this thread is ending and can no longer visit network namespaces");
  auto current = Netns::current();
  if (!current) return pass(std::move(current));
  return settle(thread, *current);
}

#ifdef NDEBUG
constexpr std::uint32_t kAuditInterval = 1024;
#else
constexpr std::uint32_t kAuditInterval = 1;
#endif
std::atomic<std::uint32_t> audit_interval{kAuditInterval};

bool go(int fd, std::uint64_t id, std::uint32_t inum, bool audited) {
  return (!audited || leads_to(fd, id, inum)) && ::setns(fd, CLONE_NEWNET) == 0;
}

bool go_home(const Home& home, bool audited) {
  if (go(home.fd.load(std::memory_order_relaxed), home.id, home.inum, audited)) return true;
  if (!go(home.spare, home.id, home.inum, true)) return false;
  // The number of the first one is another's by now: left alone.
  if (auto copy = high_copy(home.spare, kFirstFromTop)) home.fd = std::move(*copy).release();
  return true;
}

void last_words(const std::string& text) {
  const std::string line = "weir: " + text + "; giving up\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

/// The thread is in a namespace that it should have left. To let it go on believing to be at home would be worse than
/// anything that is done here.
[[noreturn]] void quarantine(ThreadState& thread, const Error& why) {
  const bool ours = thread.worker;
  thread.here = 0;
  thread.home = nullptr;
  thread.ended = true;
  if (ours) ::pthread_exit(nullptr);
  if (const QuarantineHandler handler = quarantine_handler.load()) handler(why);
  last_words(why.message);
  std::terminate();
}

}  // namespace

bool audit_due(std::uint32_t& left) noexcept {
  const std::uint32_t interval = audit_interval.load(std::memory_order_relaxed);
  if (interval == 0) return false;
  if (left == 0 || left >= interval) {
    left = interval - 1;
    return true;
  }
  --left;
  return false;
}

Result<void> enter(Visit& visit, const Netns& ns, Mode mode) {
  ThreadState& thread = thread_state;
  if (auto asked = ask_home(thread); !asked) return asked;
  if (thread.here == ns.id()) {
    visit = Visit(thread, ns);
    return {};
  }
  if (audit_due(thread.entry_audit_in) && !leads_to(ns.fd(), ns.id(), ns.inum())) {
    return fail(Errc::failed, "the descriptor of network namespace id " + std::to_string(ns.id()) +
                                  " no longer stands for it: other code has closed it");
  }
  if (::setns(ns.fd(), CLONE_NEWNET) != 0) {
    Error error = errno_error(errno, "entering network namespace id " + std::to_string(ns.id()));
    if (error.code == Errc::permission) error.hint = "run as root (CAP_SYS_ADMIN here and in the namespace's owner)";
    return std::unexpected(std::move(error));
  }
  const bool sticky = mode == Mode::sticky || (mode == Mode::by_thread && thread.worker);
  const bool stays = sticky && thread.depth == 0;
  visit = Visit(thread, ns);
  visit.from = std::exchange(thread.here, ns.id());
  visit.switched = true;
  visit.stays = stays;
  return {};
}

void leave(const Visit& visit) {
  ThreadState& thread = thread_state;
  if (visit.thread != &thread) {
    // The other thread stays where it is, believing to be elsewhere; nobody can bring it back from here.
    last_words("a network namespace scope ended on another thread than it began on");
    std::terminate();
  }
  --thread.depth;
  if (visit.stays) {
    thread.here_fd = -1;
    return;
  }
  const bool to_home = thread.depth == 0 || visit.from == thread.home->id;
  const bool audited = audit_due(thread.return_audit_in);
  const bool back = to_home ? go_home(*thread.home, audited) : go(visit.from_fd, visit.from, visit.from_inum, audited);
  if (!back) {
    quarantine(thread, {Errc::failed, "a thread cannot return to its network namespace", {}, errno});
  }
  thread.here = to_home ? thread.home->id : visit.from;
  thread.here_fd = visit.from_fd;
  thread.here_inum = visit.from_inum;
}

Result<void> ask_home() {
  return ask_home(thread_state);
}

}  // namespace detail

Result<Netns> Netns::home() {
  if (auto asked = detail::ask_home(); !asked) return pass(std::move(asked));
  Fd copy(::fcntl(detail::thread_state.home->spare, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return fail_errno(errno, "the home of this thread");
  return from_fd(std::move(copy));
}

Result<std::uint64_t> current_id() {
  auto current = Netns::current();
  if (!current) return pass(std::move(current));
  return current->id();
}

Result<void> resync() {
  detail::ThreadState& thread = detail::thread_state;
  if (auto asked = detail::ask_home(); !asked) return asked;
  auto current = Netns::current();
  if (!current) return pass(std::move(current));
  if (current->id() == thread.here) return {};
  if (thread.depth > 0) {
    thread.here = current->id();
    return {};
  }
  return detail::settle(thread, *current);
}

void set_audit_interval(std::uint32_t operations) noexcept {
  detail::audit_interval.store(operations, std::memory_order_relaxed);
}

QuarantineHandler set_quarantine_handler(QuarantineHandler handler) noexcept {
  return detail::quarantine_handler.exchange(handler);
}

Result<std::thread> start_worker(std::function<void()> body) {
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  // A new thread is where its creator is.
  return run_in(*home, [&]() -> Result<std::thread> {
    try {
      return std::thread([body = std::move(body)] {
        detail::thread_state.worker = true;
        body();
      });
    } catch (const std::system_error& error) {
      return fail_errno(error.code().value(), "starting a thread");
    }
  });
}

}  // namespace weir::netns
