// What strangers and poor machines do to the library.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "netns/torture/actors.h"
#include "netns/torture/quarantine.h"
#include "netns/torture/truth.h"

namespace weir::netns::torture {

namespace {

class Saboteur final : public Actor {
 public:
  using Actor::Actor;

 protected:
  Result<void> step(Dice& dice) override;

 private:
  void fail_to_enter(Dice& dice);
  void fail_to_return(Dice& dice);
  Result<void> close_the_way_home(Dice& dice);
  void run_out_of_descriptors(Dice& dice);
  void reach_the_limit_of_namespaces();
  void on_a_thread(bool worker, const std::function<void()>& body);
};

Result<void> Saboteur::step(Dice& dice) {
  // The others need time to do what is to be disturbed.
  ::poll(nullptr, 0, static_cast<int>(1 + dice.below(8)));
  ++stage_.ledger.faults_injected;
  const std::size_t what = dice.below(100);
  if (what < 30) {
    fail_to_enter(dice);
  } else if (what < 60) {
    fail_to_return(dice);
  } else if (what < 88) {
    return close_the_way_home(dice);
  } else if (what < 97) {
    run_out_of_descriptors(dice);
  } else {
    reach_the_limit_of_namespaces();
  }
  return {};
}

void Saboteur::on_a_thread(bool worker, const std::function<void()>& body) {
  if (!worker) {
    std::thread(body).join();
    return;
  }
  if (auto thread = start_worker(body)) thread->join();
}

/// A thread that may not enter must stay where it is, do nothing and be given nothing.
void Saboteur::fail_to_enter(Dice& dice) {
  const auto among = stage_.gate.among_others();
  const TenantPtr tenant = any(dice);
  on_a_thread(dice.one_in(2), [&] {
    // It knows its home before: else it might fail for want of a descriptor.
    if (!Netns::home() || !forbid_setns(tenant->ns.fd(), true)) return;
    bool ran = false;
    const auto visited = run_in(tenant->ns, [&]() -> Result<void> {
      ran = true;
      return {};
    });
    if (ran || visited) broken("entry", "a scope that could not be entered was run");
    if (open_socket(tenant->ns, AF_INET, SOCK_DGRAM, 0)) broken("entry", "a socket was made without entering");
    check_here(stage_.home, "after an entry that failed");
  });
}

/// A thread that cannot come home must not go on.
void Saboteur::fail_to_return(Dice& dice) {
  const auto among = stage_.gate.among_others();
  const TenantPtr tenant = any(dice);
  bool went_on = false;
  bool entered = false;
  on_a_thread(dice.one_in(2), [&] {
    if (!Netns::home() || !forbid_setns(tenant->ns.fd(), false)) return;
    expect_quarantine();
    static_cast<void>(run_in(
        tenant->ns,
        [&]() -> Result<void> {
          entered = true;
          return {};
        },
        Mode::strict));
    went_on = true;
  });
  if (entered && went_on) broken("home", "a thread that could not come home went on");
}

/// The descriptors of this process above what programs use, that lead home: the library's own.
std::vector<int> ways_home(std::uint64_t home) {
  constexpr int kAboveOthers = 3;
  std::vector<int> ways;
  DIR* dir = ::opendir("/proc/self/fd");
  if (dir == nullptr) return ways;
  while (const dirent* entry = ::readdir(dir)) {
    const int fd = std::atoi(entry->d_name);
    if (fd >= kAboveOthers && of_file(fd) == home) ways.push_back(fd);
  }
  ::closedir(dir);
  std::ranges::sort(ways);
  return ways;
}

/// Somebody closes a descriptor that is not his, and it may become one of a tenant, while a thread is away.
Result<void> Saboteur::close_the_way_home(Dice& dice) {
  const auto alone = stage_.gate.alone();
  const auto ways = ways_home(stage_.home);
  if (ways.size() != 2) return {};  // this kernel does not say, or somebody is just asking where he is
  const TenantPtr away = any(dice);
  const TenantPtr wrong = any(dice);
  const bool replaced = dice.one_in(2);
  auto done = run_in(away->ns, [&]() -> Result<void> {
    if (replaced) {
      if (::dup3(wrong->ns.fd(), ways[0], O_CLOEXEC) < 0) return fail_errno(errno, "dup3");
    } else {
      ::close(ways[0]);
    }
    return {};
  });
  check_here(stage_.home, "after the way home was closed");
  // What was put there is no longer anybody's, unless the library took the number back.
  if (replaced && of_file(ways[0]) == wrong->id) ::close(ways[0]);
  return done;
}

/// Nothing can be opened for some milliseconds.
void Saboteur::run_out_of_descriptors(Dice& dice) {
  rlimit before{};
  if (::getrlimit(RLIMIT_NOFILE, &before) != 0) return;
  rlimit none = before;
  none.rlim_cur = 8;  // what poll(2) is given at once is limited too
  stage_.ledger.begin_scarcity();
  ::setrlimit(RLIMIT_NOFILE, &none);
  ::poll(nullptr, 0, static_cast<int>(1 + dice.below(4)));
  ::setrlimit(RLIMIT_NOFILE, &before);
  stage_.ledger.end_scarcity();
}

constexpr int kNoUserNamespace = 77;

/// In a user namespace of its own, whose limit concerns nobody else. 0: as it should be.
int meet_the_limit() {
  ::alarm(30);
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return kNoUserNamespace;
  const auto write = [](const char* path, std::string_view text) {
    const Fd file(::open(path, O_WRONLY | O_CLOEXEC));
    return file.valid() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  };
  write("/proc/self/setgroups", "deny");
  if (!write("/proc/self/uid_map", "0 0 1") || !write("/proc/self/gid_map", "0 0 1") ||
      !write("/proc/sys/user/max_net_namespaces", "3")) {
    return kNoUserNamespace;
  }
  if (!resync()) return kNoUserNamespace;
  const auto here = of_this_thread();
  std::vector<Netns> made;
  for (int i = 0; i < 8; ++i) {
    auto ns = Netns::create();
    if (!ns) return ns.error().sys_errno == ENOSPC && of_this_thread() == here ? 0 : 1;
    made.push_back(std::move(*ns));
  }
  return 2;
}

void Saboteur::reach_the_limit_of_namespaces() {
  pid_t child = -1;
  {
    // Nobody may hold a lock of the library that the child would wait for.
    const auto alone = stage_.gate.alone();
    child = ::fork();
    if (child == 0) ::_exit(meet_the_limit());
  }
  if (child < 0) return;
  int status = 0;
  ::waitpid(child, &status, 0);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == kNoUserNamespace) {
    stage_.ledger.not_tried("the limit of namespaces: no user namespaces here");
  } else if (code != 0) {
    broken("error", "the limit of namespaces was not met as it should be (status " + std::to_string(status) + ")");
  }
}

}  // namespace

std::unique_ptr<Actor> make_saboteur(Stage& stage, std::string name) {
  return std::make_unique<Saboteur>(stage, std::move(name), false);
}

}  // namespace weir::netns::torture
