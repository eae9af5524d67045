// One thread, one epoll, listeners and connections in as many namespaces as there are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "netns/netns.h"

namespace weir::netns {

class Reactor;

/// Something with a descriptor that a Reactor waits for.
class Source {
 public:
  /// `visits`: the namespace in which ready() is to run; it must outlive the source. None for what uses sockets that
  /// exist already, listeners among them: these never need a switch.
  explicit Source(Fd fd, const Netns* visits = nullptr) : fd_(std::move(fd)), visits_(visits) {}
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  /// What epoll(7) says of the descriptor. May close any source of the reactor, this one too.
  virtual void ready(std::uint32_t events) = 0;
  /// The namespace could not be entered; the source is closed after this.
  virtual void unreachable(const Error& /*why*/) {}

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 protected:
  /// Another namespace for ready() to run in, or none, from the next round on.
  void visit(const Netns* ns) noexcept { visits_ = ns; }

 private:
  friend class Reactor;
  Fd fd_;
  const Netns* visits_;
  std::size_t slot_ = 0;
  bool closed_ = false;
};

/// Waits and calls. Everything but stop() belongs to one thread.
class Reactor {
 public:
  static Result<std::unique_ptr<Reactor>> create();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;
  ~Reactor() = default;

  /// Takes a source over and waits for `events` (EPOLLIN and so on, level-triggered unless EPOLLET is among them).
  Result<void> add(std::unique_ptr<Source> source, std::uint32_t events);
  Result<void> modify(const Source& source, std::uint32_t events);
  /// Closes its descriptor; the object lives until the end of the round, its ready() is not called again.
  void close(Source& source) noexcept;
  [[nodiscard]] std::size_t sources() const noexcept { return sources_.size(); }

  /// Waits for one round of events and handles it: first what needs no namespace, in epoll's order, then the rest, one
  /// namespace after the other, each entered once. Gives the number of events; 0 after `at_most` without any, -1: for
  /// ever.
  Result<std::size_t> run_once(std::chrono::milliseconds at_most = std::chrono::milliseconds(-1));
  /// Rounds until stop().
  Result<void> run();
  /// Ends run(), now or when it is called next. From any thread and from signal handlers.
  void stop() noexcept;

 private:
  /// An event of this round that needs a namespace.
  struct Visit {
    std::uint64_t id = 0;
    Source* source = nullptr;
    std::uint32_t events = 0;
  };

  Reactor(Fd epoll, Fd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void handle_visits();
  void handle_one_namespace(std::span<const Visit> visits);

  Fd epoll_;
  Fd wake_;
  bool stopped_ = false;
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<std::unique_ptr<Source>> closed_;
  std::vector<Visit> visits_;
};

}  // namespace weir::netns
