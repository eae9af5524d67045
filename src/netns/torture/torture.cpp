#include "netns/torture/torture.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "netns/torture/actors.h"
#include "netns/torture/quarantine.h"
#include "netns/torture/truth.h"
#include "sys/poll_until.h"

namespace weir::netns {

namespace {

using namespace std::chrono_literals;
using torture::Actor;
using torture::Stage;
using Steady = std::chrono::steady_clock;

constexpr const char* kFolder = "/run/weir-torture";

/// A /run of its own: the names made here are nobody else's and are gone with the process, however it ends.
Result<void> leave_the_hosts_mounts() {
  const auto with_hint = [](Error error) {
    if (error.code == Errc::permission) error.hint = "run as root (CAP_SYS_ADMIN)";
    return std::unexpected(std::move(error));
  };
  if (::unshare(CLONE_NEWNS) != 0) return with_hint(errno_error(errno, "a mount namespace of its own"));
  if (::mount("", "/", "none", MS_PRIVATE | MS_REC, nullptr) != 0) {
    return with_hint(errno_error(errno, "making the mounts private"));
  }
  if (::mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0) {
    return with_hint(errno_error(errno, "a /run of its own"));
  }
  for (const std::string& path : {std::string("/run/netns"), std::string(kFolder), kFolder + std::string("/names"),
                                  kFolder + std::string("/store")}) {
    if (::mkdir(path.c_str(), 0755) != 0) return fail_errno(errno, path);
  }
  return {};
}

/// One descriptor a namespace, and those of the actors.
Result<void> allow_descriptors(const TortureOptions& options) {
  const rlim_t wanted = options.namespaces + 64 * options.threads + 4096;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return {};
  const rlim_t before = std::exchange(limit.rlim_cur, std::min(limit.rlim_max, wanted));
  if (limit.rlim_max < wanted || ::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return fail(
        Errc::usage,
        "so many namespaces need " + std::to_string(wanted) + " open files; the limit is " + std::to_string(before),
        "ulimit -n " + std::to_string(wanted) + ", or fewer namespaces");
  }
  return {};
}

std::size_t open_descriptors() {
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(dir)) count += entry->d_name[0] == '.' ? 0 : 1;
  ::closedir(dir);
  return count - 1;
}

/// What runs, kept alive by the threads themselves: one that hangs cannot take it along.
struct Company {
  explicit Company(const TortureOptions& given) : options(given), stage(options) {}
  TortureOptions options;
  Stage stage;
  std::vector<std::unique_ptr<Actor>> actors;
};

Result<void> fill_pool(Stage& stage) {
  constexpr std::size_t kNamedOneIn = 4;
  for (std::size_t slot = 0; slot < stage.pool.size(); ++slot) {
    auto tenant = torture::make_tenant(slot % kNamedOneIn == 0 ? "first-" + std::to_string(slot) : std::string());
    if (!tenant) return pass(std::move(tenant));
    ++stage.ledger.namespaces_made;
    if (!stage.ledger.new_identity((*tenant)->id)) ++stage.ledger.repeated_identities;
    stage.pool.exchange(slot, std::move(*tenant));
  }
  return {};
}

Result<void> gather(Company& company) {
  Stage& stage = company.stage;
  auto& actors = company.actors;
  const auto add_all = [&](std::vector<std::unique_ptr<Actor>> more) {
    std::ranges::move(more, std::back_inserter(actors));
  };
  for (std::size_t i = 0; i < company.options.threads; ++i) {
    const bool worker = i % 2 == 1;
    actors.push_back(make_visitor(stage, (worker ? "worker " : "visitor ") + std::to_string(i), worker));
  }
  actors.push_back(make_churner(stage, "churner-a"));
  actors.push_back(make_churner(stage, "churner-b"));
  auto names = make_publisher_and_watchers(stage, kFolder);
  if (!names) return pass(std::move(names));
  add_all(std::move(*names));
  auto echo = make_echo_server_and_client(stage);
  if (!echo) return pass(std::move(echo));
  add_all(std::move(*echo));
  if (company.options.faults) actors.push_back(make_saboteur(stage, "saboteur"));
  return {};
}

Result<std::thread> start(const std::shared_ptr<Company>& company, Actor& actor) {
  const auto body = [company, &actor] { actor.run(); };
  if (actor.worker()) return start_worker(body);
  return std::thread(body);
}

/// Watches over the time, the progress of each actor, and what has been found, until it is over.
class Watchdog {
 public:
  explicit Watchdog(Company& company) : company_(company), seen_(company.actors.size()) {}

  void watch(const std::function<bool()>& stop) {
    const auto until = Steady::now() + company_.options.duration;
    while (Steady::now() < until && !stop() && !company_.stage.ledger.any_broken() && !all_done()) {
      look_for_stalls();
      std::this_thread::sleep_for(100ms);  // poll: a thread that hangs says nothing
    }
  }
  [[nodiscard]] std::uint64_t stalls() const { return stalls_; }

 private:
  struct Seen {
    std::uint64_t operations = 0;
    Steady::time_point since = Steady::now();
  };

  [[nodiscard]] bool all_done() const {
    return std::ranges::all_of(company_.actors, [](const auto& actor) { return actor->follows() || actor->ended(); });
  }

  void look_for_stalls() {
    constexpr auto kPatience = 40s;  // the kernel makes no namespaces while it takes many apart
    const auto now = Steady::now();
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const Actor& actor = *company_.actors[i];
      if (actor.ended() || actor.operations() != seen_[i].operations) {
        seen_[i] = {actor.operations(), now};
      } else if (now - seen_[i].since > kPatience) {
        ++stalls_;
        company_.stage.ledger.broken({"progress", actor.name(), actor.operations(), "nothing was finished for 40 s"});
        seen_[i].since = now;
      }
    }
  }

  Company& company_;
  std::vector<Seen> seen_;
  std::uint64_t stalls_ = 0;
};

/// Ends those that act, then those that answer them; a thread that does not end is left behind and counted.
std::uint64_t join_all(Company& company, std::vector<std::thread>& threads) {
  const auto deadline = Steady::now() + 60s;
  std::uint64_t left_behind = 0;
  for (const bool following : {false, true}) {
    (following ? company.stage.stop_following : company.stage.stop) = true;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      Actor& actor = *company.actors[i];
      if (actor.follows() != following) continue;
      if (sys::poll_until(deadline, [&] { return actor.ended(); })) {
        threads[i].join();
        if (actor.completed()) continue;
        company.stage.ledger.broken({"home", actor.name(), actor.operations(), "the thread was lost"});
      } else {
        threads[i].detach();
        ++left_behind;
        company.stage.ledger.broken({"progress", actor.name(), actor.operations(), "the thread does not end"});
      }
    }
  }
  return left_behind;
}

/// Nobody holds the namespaces any more: what was noted down of them must become unknown.
void check_that_they_die(Company& company) {
  constexpr std::size_t kLookedAt = 32;
  std::vector<DurableId> noted;
  for (std::size_t slot = 0; slot < std::min(kLookedAt, company.stage.pool.size()); ++slot) {
    const auto tenant = company.stage.pool.at(slot);
    if (auto id = tenant->ns.durable()) noted.push_back(*id);
  }
  for (std::size_t slot = 0; slot < company.stage.pool.size(); ++slot) {
    const auto tenant = company.stage.pool.exchange(slot, nullptr);
    if (!tenant->name.empty()) static_cast<void>(Netns::remove_named(tenant->name));
  }
  for (const DurableId& id : noted) {
    if (sys::poll_until(Steady::now() + 30s, [&] { return !Netns::reopen(id); })) continue;
    company.stage.ledger.broken({"lifetime", "", 0, id.text() + " lives though nobody holds it"});
  }
}

}  // namespace

Result<TortureReport> run_torture(const TortureOptions& options, const std::function<bool()>& stop) {
  if (auto left = leave_the_hosts_mounts(); !left) return pass(std::move(left));
  if (auto allowed = allow_descriptors(options); !allowed) return pass(std::move(allowed));
  set_audit_interval(1);  // strangers close descriptors here: belief has to be checked each time
  if (auto home = Netns::home(); !home) return pass(std::move(home));

  auto company = std::make_shared<Company>(options);
  company->stage.home = torture::of_this_thread().value_or(0);
  torture::watch_quarantine(&company->stage.ledger);
  const std::size_t descriptors = open_descriptors();
  if (auto filled = fill_pool(company->stage); !filled) return pass(std::move(filled));
  if (auto gathered = gather(*company); !gathered) return pass(std::move(gathered));

  const auto began = Steady::now();
  std::vector<std::thread> threads;
  for (const auto& actor : company->actors) {
    auto thread = start(company, *actor);
    if (!thread) {
      join_all(*company, threads);
      return pass(std::move(thread));
    }
    threads.push_back(std::move(*thread));
  }
  Watchdog watchdog(*company);
  watchdog.watch(stop);
  const std::uint64_t left_behind = join_all(*company, threads);

  TortureReport report;
  report.seed = options.seed;
  report.stalls = watchdog.stalls() + left_behind;
  report.seconds = std::chrono::duration<double>(Steady::now() - began).count();
  for (const auto& actor : company->actors) report.actors.push_back(actor->report());
  if (left_behind == 0) {
    company->actors.clear();
    check_that_they_die(*company);
    const std::size_t now = open_descriptors();
    report.leaked_fds = now > descriptors ? now - descriptors : 0;
    if (report.leaked_fds > 0) {
      company->stage.ledger.broken({"descriptors", "", 0, std::to_string(report.leaked_fds) + " were not closed"});
    }
    torture::watch_quarantine(nullptr);
  }
  company->stage.ledger.fill(report);
  return report;
}

}  // namespace weir::netns
