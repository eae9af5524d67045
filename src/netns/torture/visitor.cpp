// The users of the library: threads that go places.
#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "netns/torture/actors.h"
#include "netns/torture/truth.h"

namespace weir::netns::torture {

namespace {

class Visitor final : public Actor {
 public:
  using Actor::Actor;

 protected:
  Result<void> step(Dice& dice) override;

 private:
  struct Planned : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  Result<void> make_socket(Dice& dice);
  Result<void> nest(Dice& dice, std::size_t levels);
  Result<void> throw_through(Dice& dice);
  Result<void> accept_one(Dice& dice);
  Result<void> read_mark(Dice& dice);
  Result<void> be_moved_by_a_stranger(Dice& dice);
  Result<void> fork_inside(Dice& dice);
  Result<void> start_a_thread_inside(Dice& dice);
  Result<void> wander(Dice& dice);
};

constexpr std::array kModes{Mode::strict, Mode::sticky, Mode::by_thread};

/// A foreign thread that chose to be sticky would not be at home between operations, rightly.
Mode mode_of(Dice& dice, bool worker, bool nested) {
  return worker || nested ? kModes[dice.below(kModes.size())] : Mode::strict;
}

Result<void> Visitor::step(Dice& dice) {
  const auto among = stage_.gate.among_others();
  const std::size_t what = dice.below(1000);
  if (what < 450) return make_socket(dice);
  if (what < 700) return nest(dice, 1 + dice.below(4));
  if (what < 780) return throw_through(dice);
  if (what < 860) return accept_one(dice);
  if (what < 920) return read_mark(dice);
  if (what < 950) return be_moved_by_a_stranger(dice);
  if (what < 990) return wander(dice);
  if (what < 995) return start_a_thread_inside(dice);
  return fork_inside(dice);
}

Result<void> Visitor::make_socket(Dice& dice) {
  constexpr std::array<std::array<int, 3>, 5> kKinds{{{AF_INET, SOCK_STREAM, 0},
                                                      {AF_INET6, SOCK_DGRAM, 0},
                                                      {AF_UNIX, SOCK_STREAM, 0},
                                                      {AF_NETLINK, SOCK_RAW, 0},
                                                      {AF_INET, SOCK_RAW, IPPROTO_ICMP}}};
  const TenantPtr tenant = any(dice);
  const auto& kind = kKinds[dice.below(kKinds.size())];
  note_visit(tenant->ns);
  const auto socket = open_socket(tenant->ns, kind[0], kind[1], kind[2], mode_of(dice, worker(), false));
  if (!socket) return std::unexpected(socket.error());
  check_socket(socket->get(), *tenant);
  return {};
}

Result<void> Visitor::nest(Dice& dice, std::size_t levels) {
  const TenantPtr tenant = any(dice);
  const auto outside = of_this_thread();
  note_visit(tenant->ns);
  // A worker may stay where it went, or come home from where it stayed before.
  const bool must_return = !worker() || detail::thread_state.depth > 0;
  auto done = run_in(
      tenant->ns,
      [&]() -> Result<void> {
        check_here(tenant->id, "inside a scope");
        return levels > 1 ? nest(dice, levels - 1) : Result<void>{};
      },
      mode_of(dice, worker(), detail::thread_state.depth > 0));
  if (done && outside && must_return) check_here(*outside, "after a scope");
  return done;
}

Result<void> Visitor::throw_through(Dice& dice) {
  const TenantPtr outer = any(dice);
  const TenantPtr inner = any(dice);
  bool caught = false;
  try {
    auto done = run_in(outer->ns, [&]() -> Result<void> {
      auto visited = run_in(inner->ns, [&]() -> Result<void> {
        check_here(inner->id, "before an exception");
        throw Planned("planned");
      });
      return visited;
    });
    if (!done) return done;
  } catch (const Planned&) {
    caught = true;  // where the thread has to be now is asked between two operations
  }
  if (!caught) broken("exception", "an exception was swallowed by run_in()");
  return {};
}

Result<void> Visitor::accept_one(Dice& dice) {
  const TenantPtr tenant = any(dice);
  const bool v6 = dice.one_in(2);
  const auto listener = listen(tenant->ns, {v6 ? "::1" : "127.0.0.1", 0}, {.nonblocking = false});
  if (!listener) return std::unexpected(listener.error());
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(listener->get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return fail_errno(errno, "getsockname");
  }
  const auto client = open_socket(tenant->ns, v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  if (!client) return std::unexpected(client.error());
  const linger at_once{1, 0};  // no TIME_WAIT: ports of a tenant are few
  ::setsockopt(client->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (::connect(client->get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return fail_errno(errno, "connect");
  const Fd accepted(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!accepted.valid()) return fail_errno(errno, "accept");
  check_socket(listener->get(), *tenant);
  check_socket(client->get(), *tenant);
  check_socket(accepted.get(), *tenant);
  return {};
}

Result<void> Visitor::read_mark(Dice& dice) {
  const TenantPtr tenant = any(dice);
  const auto mark = read_sysctl(tenant->ns, "net.ipv4.ip_default_ttl");
  if (!mark) return std::unexpected(mark.error());
  if (*mark != tenant->mark) {
    ++stage_.ledger.wrong_namespace;
    broken("sysctl",
           "namespace id " + std::to_string(tenant->id) + " should have mark " + tenant->mark + ", not " + *mark);
  }
  return {};
}

/// Other code calls setns(2) on the thread and says so, as the contract of resync() wants it, there and back.
Result<void> Visitor::be_moved_by_a_stranger(Dice& dice) {
  const TenantPtr there = any(dice);
  const TenantPtr elsewhere = any(dice);
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  if (::setns(there->ns.fd(), CLONE_NEWNET) != 0) return fail_errno(errno, "setns");
  auto known = resync();
  if (known)
    known = run_in(
        elsewhere->ns,
        [&]() -> Result<void> {
          check_here(elsewhere->id, "after a stranger's switch");
          return {};
        },
        Mode::strict);
  if (::setns(home->fd(), CLONE_NEWNET) != 0) return fail_errno(errno, "setns");
  while (!resync()) {
    // Descriptors are scarce: until it is known where the thread is, nothing else may be done with it.
    ::sched_yield();
  }
  return known;
}

/// A child begins inside the scopes of its parent and leaves them by itself.
Result<void> Visitor::fork_inside(Dice& dice) {
  const TenantPtr tenant = any(dice);
  const std::uint64_t outside = worker() ? detail::thread_state.here : stage_.home;
  pid_t child = -1;
  bool in_child = false;
  auto done = run_in(
      tenant->ns,
      [&]() -> Result<void> {
        child = ::fork();
        in_child = child == 0;
        return {};
      },
      Mode::strict);
  if (in_child) {
    const auto here = of_this_thread();
    const bool fine = !here || here == stage_.home || (worker() && (here == outside || here == tenant->id));
    ::_exit(fine ? 0 : 1);
  }
  if (child < 0) return done;
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    broken("fork", "a child that was born inside a scope did not come home (status " + std::to_string(status) + ")");
  }
  return done;
}

Result<void> Visitor::start_a_thread_inside(Dice& dice) {
  const TenantPtr tenant = any(dice);
  return run_in(tenant->ns, [&]() -> Result<void> {
    auto thread = start_worker([&] { check_here(stage_.home, "a worker that was started inside a scope"); });
    if (!thread) return pass(std::move(thread));
    thread->join();
    return {};
  });
}

/// Changes the CPU, or lets others go first.
Result<void> Visitor::wander(Dice& dice) {
  if (dice.one_in(2)) {
    ::sched_yield();
    return {};
  }
  cpu_set_t allowed;
  if (::sched_getaffinity(::getpid(), sizeof allowed, &allowed) != 0) return {};
  std::size_t left = dice.below(static_cast<std::size_t>(CPU_COUNT(&allowed)));
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ::sched_setaffinity(0, sizeof one, &one);
    break;
  }
  return {};
}

}  // namespace

std::unique_ptr<Actor> make_visitor(Stage& stage, std::string name, bool worker) {
  return std::make_unique<Visitor>(stage, std::move(name), worker);
}

}  // namespace weir::netns::torture
