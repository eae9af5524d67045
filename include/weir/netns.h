// Network namespaces, thousands of them in one process: identity, handles, sockets elsewhere, scoped switching.
//
// Ask for sockets, not for switches: a socket stays in the namespace in which it was made, whoever uses it, and what
// accept(2) gives is where its listener is. Only making sockets, /proc/net, /proc/sys/net and looking up names follow
// the thread; for these there are open_socket(), listen(), the sysctl functions and, for the rest, run_in().
#pragma once

#include <sys/types.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "weir/fd.h"
#include "weir/result.h"

namespace weir::netns {

/// What names a namespace for good: across processes and their restarts, until the machine restarts. Equal ones mean
/// the same namespace. `inum` is no part of that: it is what the kernel wants to hear to open the namespace again.
struct DurableId {
  std::array<std::byte, 16> boot{};  ///< /proc/sys/kernel/random/boot_id
  std::uint64_t id = 0;              ///< Netns::id()
  std::uint32_t inum = 0;            ///< inode number in nsfs; 0: unknown
  /// Made from the inode number, because the kernel (before 5.14) has no identity: holds only while somebody holds the
  /// namespace open.
  bool weak = false;

  friend bool operator==(const DurableId& a, const DurableId& b) {
    return a.boot == b.boot && a.id == b.id && a.weak == b.weak;
  }
  friend std::strong_ordering operator<=>(const DurableId& a, const DurableId& b) {
    if (const auto order = a.boot <=> b.boot; order != 0) return order;
    if (const auto order = a.id <=> b.id; order != 0) return order;
    return a.weak <=> b.weak;
  }

  /// "id:4711/4026532100@6d1c…", which Netns::open() takes; "id:weak-…" when it is weak.
  [[nodiscard]] std::string text() const;
  /// The reverse of text(). Errc::usage for anything else.
  static Result<DurableId> parse(std::string_view text);
};

/// A held network namespace. Identity is the id that the kernel gives it for one boot (NS_GET_ID on Linux 6.18, else
/// SO_NETNS_COOKIE, 5.14): never an inode, fd number or name, all of which repeat. Equal ids mean the same namespace.
/// Every way of opening one checks on the opened descriptor itself that it is a network namespace.
class Netns {
 public:
  /// Opens by "init", a name under /run/netns, an absolute path, "pid:N", "id:N" or the text of a DurableId.
  /// Errc::usage for words that are no specification, Errc::not_found (with the nearest names) when there is no such
  /// namespace; a path that is not a network namespace says so (nsfs magic and type are checked on the opened fd).
  static Result<Netns> open(std::string_view spec);
  /// The calling thread's namespace, by asking the kernel.
  static Result<Netns> current();
  /// The namespace to which scopes bring the calling thread back: where it was when it first used this library.
  static Result<Netns> home();
  /// The namespace of PID 1: "init".
  static Result<Netns> initial();
  /// Takes an open nsfs descriptor over, after checking it.
  static Result<Netns> from_fd(Fd fd);
  /// The namespace of a living process. A number that is given to another process meanwhile is noticed (pidfd).
  static Result<Netns> of_pid(pid_t pid);
  /// The namespace of the process behind a pidfd.
  static Result<Netns> of_pidfd(int pidfd);
  /// The namespace in which a socket was made (SIOCGSKNS; needs CAP_NET_ADMIN there).
  static Result<Netns> of_socket(int socket);
  /// The namespace that an earlier process noted down, by its nsfs file handle (Linux 6.18), else among those that have
  /// a name or a process. Errc::not_found when it is gone or was one of another boot.
  static Result<Netns> reopen(const DurableId& id);
  /// Makes a namespace without a name, with loopback up; it lives while it is held or used.
  static Result<Netns> create();
  /// Makes a namespace, with loopback up, and binds it to /run/netns/NAME (as ip-netns(8) does); fails when the name
  /// exists.
  static Result<Netns> create_named(const std::string& name);
  /// One for each name, in their order: the quick way to many. All or none: when one cannot be made, the others go too.
  static Result<std::vector<Netns>> create_many(std::span<const std::string> names);
  /// Unbinds /run/netns/NAME; the namespace lives on while somebody holds it.
  static Result<void> remove_named(const std::string& name);

  Netns(Netns&& other) noexcept
      : fd_(std::move(other.fd_)),
        id_(std::exchange(other.id_, kNoId)),
        inum_(std::exchange(other.inum_, 0)),
        weak_(std::exchange(other.weak_, false)) {}
  Netns& operator=(Netns&& other) noexcept {
    fd_ = std::move(other.fd_);
    id_ = std::exchange(other.id_, kNoId);
    inum_ = std::exchange(other.inum_, 0);
    weak_ = std::exchange(other.weak_, false);
    return *this;
  }
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;
  ~Netns() = default;

  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// Its inode number in nsfs: no identity, but as long as this handle lives no other namespace has it.
  [[nodiscard]] std::uint32_t inum() const noexcept { return inum_; }
  /// Whether id() is only an inode number; see DurableId::weak. While this handle lives it is unique all the same.
  [[nodiscard]] bool weak() const noexcept { return weak_; }
  /// What to write down to find the namespace again.
  [[nodiscard]] Result<DurableId> durable() const;
  /// Another handle of the same namespace.
  [[nodiscard]] Result<Netns> duplicate() const;

  friend bool operator==(const Netns& a, const Netns& b) noexcept { return a.id_ == b.id_; }

 private:
  /// Of a handle that was moved from: no namespace has it, so entering it fails.
  static constexpr std::uint64_t kNoId = ~std::uint64_t{0};
  Netns(Fd fd, std::uint64_t id, std::uint32_t inum, bool weak) noexcept
      : fd_(std::move(fd)), id_(id), inum_(inum), weak_(weak) {}
  Fd fd_;
  std::uint64_t id_ = kNoId;
  std::uint32_t inum_ = 0;
  bool weak_ = false;
};

/// What becomes of the thread at the end of an outermost visit. Visits inside others always go back to the outer one.
enum class Mode : std::uint8_t {
  strict,     ///< it goes home
  sticky,     ///< it stays, so that the next visit to the same place costs nothing: for threads that are the library's
  by_thread,  ///< sticky on a thread of start_worker(), strict on any other
};

namespace detail {

struct Home;

/// What a thread knows of itself. Plain data without constructor or destructor: reading it costs one load.
struct ThreadState {
  std::uint64_t here = 0;  ///< id of the namespace that the thread is in; 0: not asked yet
  int here_fd = -1;        ///< a descriptor of it; -1: home, or nobody knows one
  std::uint32_t depth = 0;
  const Home* home = nullptr;
  std::uint32_t here_inum = 0;        ///< not beside here_fd: a load of both would wait for two stores
  std::uint32_t socket_audit_in = 0;  ///< how many until the next one is looked at; see set_audit_interval()
  std::uint32_t entry_audit_in = 0;
  std::uint32_t return_audit_in = 0;
  bool worker = false;
  bool ended = false;  ///< the thread's destructors have run, or it was lost in another namespace
};
// initial-exec: one instruction, in a shared library too.
extern constinit thread_local ThreadState thread_state __attribute__((tls_model("initial-exec")));

/// One stay in a namespace: where to go back to.
struct Visit {
  Visit() = default;
  /// Where the thread is already.
  Visit(ThreadState& state, const Netns& ns) noexcept
      : thread(&state), from_fd(state.here_fd), from_inum(state.here_inum) {
    state.here_fd = ns.fd();
    state.here_inum = ns.inum();
    ++state.depth;
  }
  ThreadState* thread = nullptr;
  int from_fd = -1;
  bool switched = false;
  bool stays = false;
  std::uint64_t from = 0;
  std::uint32_t from_inum = 0;
};

/// Goes where the thread is not, or has not asked whether it is.
Result<void> enter(Visit& visit, const Netns& ns, Mode mode);
void leave(const Visit& visit);

}  // namespace detail

/// Keeps the calling thread inside a namespace while it lives. Lazy: where the thread is there already, nothing but a
/// comparison happens. Nests. A scope cannot be moved and ends on the thread on which it began: one that is destroyed
/// on another thread (a coroutine that migrated) ends the process. An exception brings the thread back like a return.
///
/// A return that fails is tried again from a private copy of the descriptor of home; when that fails too the thread is
/// quarantined, see set_quarantine_handler(). The namespace's handle must outlive the scope.
class [[nodiscard]] Scope {
 public:
  /// Enters; an error says why the thread stayed where it was. There is no scope then.
  static Result<Scope> enter(const Netns& ns, Mode mode = Mode::strict) {
    detail::ThreadState& thread = detail::thread_state;
    if (thread.here == ns.id()) [[likely]]
      return Result<Scope>(std::in_place, thread, ns);
    detail::Visit visit;
    if (auto entered = detail::enter(visit, ns, mode); !entered) return std::unexpected(std::move(entered).error());
    return Result<Scope>(std::in_place, visit);
  }
  Scope(detail::ThreadState& thread, const Netns& ns) noexcept : visit_(thread, ns) {}
  explicit Scope(const detail::Visit& visit) noexcept : visit_(visit) {}
  Scope(Scope&&) = delete;
  Scope& operator=(Scope&&) = delete;
  // May unwind: on a worker thread that cannot come home it is the thread that ends.
  ~Scope() noexcept(false) {
    detail::ThreadState& thread = detail::thread_state;
    if (visit_.switched || visit_.thread != &thread) [[unlikely]] {
      detail::leave(visit_);
      return;
    }
    thread.here_fd = visit_.from_fd;
    thread.here_inum = visit_.from_inum;
    --thread.depth;
  }

 private:
  detail::Visit visit_;
};

/// Runs `body`, which returns a Result, with the calling thread inside `ns`, then brings the thread back. Fails closed:
/// when the thread cannot enter, body does not run; for a failed return see Scope.
template <class Body>
[[nodiscard]] std::invoke_result_t<Body&> run_in(const Netns& ns, Body&& body, Mode mode = Mode::strict) {
  if (detail::ThreadState& thread = detail::thread_state; thread.here == ns.id()) [[likely]] {
    const Scope scope(thread, ns);
    return body();
  }
  detail::Visit visit;
  if (auto entered = detail::enter(visit, ns, mode); !entered) return std::unexpected(std::move(entered).error());
  const Scope scope(visit);
  return body();
}

/// The id of the calling thread's namespace, asked of the kernel and not of anything remembered. 5 us.
Result<std::uint64_t> current_id();

/// Makes what is remembered of the calling thread agree with the kernel: to be called after other code has called
/// setns(2) or unshare(2) on it. Outside of scopes, a namespace to which other code took the thread becomes its home.
Result<void> resync();

/// What is done with a thread that is not the library's own and cannot come home. It should not return; when it does,
/// or when there is none, std::terminate() is called. A thread of start_worker() ends instead and the process lives.
using QuarantineHandler = void (*)(const Error& why);
/// Sets it for the process and gives the former one back.
QuarantineHandler set_quarantine_handler(QuarantineHandler handler) noexcept;

/// Starts a thread for work in many namespaces. It begins in the caller's home, even when the caller is inside a scope.
/// Its scopes by Mode::by_thread are sticky. It ends when it cannot come home.
Result<std::thread> start_worker(std::function<void()> body);

/// How much is believed. Every n-th socket of open_socket() is asked for its namespace (SO_NETNS_COOKIE, 0.3 us), and
/// before every n-th switch the descriptor is asked whether it still stands for the namespace (NS_GET_ID, 0.2 us; its
/// inode where the kernel lacks that): 1 in debug builds, 1024 otherwise, 0: never. A socket in a wrong namespace is
/// closed and reported, never handed out.
void set_audit_interval(std::uint32_t operations) noexcept;

/// A socket made in `ns`; the calling thread is at home before and after. Flags: SOCK_CLOEXEC is always added.
Result<Fd> open_socket(const Netns& ns, int domain, int type, int protocol, Mode mode = Mode::by_thread);

/// An address and a port: "192.0.2.1", "2001:db8::1", "fe80::1%eth0" (a device of the namespace), "0.0.0.0", "::".
struct Endpoint {
  std::string address;
  std::uint16_t port = 0;  ///< 0: the kernel chooses; see local_endpoint()
};

struct ListenOptions {
  int backlog = 4096;
  bool nonblocking = true;
  bool reuse_address = true;
  bool reuse_port = false;
  bool v6_only = true;    ///< "::" takes IPv6 only
  bool freebind = false;  ///< the address need not exist yet
  /// Listen on one device only (SO_BINDTODEVICE). With a VRF device this is a tenant of a routing table instead of a
  /// namespace: give Netns::home() and the device; VRFs share sysctls and firewall.
  std::string device = {};
};

/// A TCP listener in `ns`. What it accepts is in `ns` too, wherever the accepting thread is.
Result<Fd> listen(const Netns& ns, const Endpoint& endpoint, const ListenOptions& options = {});

/// Where a socket is bound.
Result<Endpoint> local_endpoint(int socket);

/// A value of /proc/sys/net in `ns`, without the end of line: read_sysctl(ns, "net/ipv4/ip_forward").
Result<std::string> read_sysctl(const Netns& ns, const std::string& name);
Result<void> write_sysctl(const Netns& ns, const std::string& name, const std::string& value);

/// A namespace of this host and how it can be reached.
struct Entry {
  std::uint64_t id = 0;
  std::vector<std::string> names;  ///< under /run/netns, sorted
  std::vector<pid_t> pids;         ///< processes that live in it (at most `max_pids`)
  bool initial = false;
  /// Its name, "init", or "id:N": the word of the JSON documents and of every --netns option.
  [[nodiscard]] std::string display() const;
};

/// Every namespace that has a name under /run/netns or a living process, sorted by display name. Entries that vanish
/// while they are looked at are left out; those that may not be opened are named in `unreadable` (if given).
Result<std::vector<Entry>> list(std::vector<std::string>* unreadable = nullptr, std::size_t max_pids = 16);

/// Opens a listed namespace; Errc::not_found when it went away or its name now means another one.
Result<Netns> open(const Entry& entry);

}  // namespace weir::netns

template <>
struct std::hash<weir::netns::DurableId> {
  std::size_t operator()(const weir::netns::DurableId& id) const noexcept {
    // Ids of one boot differ in their low bits; those of several boots are rarely kept in one table.
    return std::hash<std::uint64_t>{}(id.id);
  }
};
