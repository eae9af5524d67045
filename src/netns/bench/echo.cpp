#include "netns/bench/echo.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <thread>

#include "netns/bench/load.h"
#include "netns/reactor.h"

namespace weir::netns::bench {

namespace {

double clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  constexpr double kNsPerS = 1e9;
  return static_cast<double>(now.tv_sec) * kNsPerS + static_cast<double>(now.tv_nsec);
}

/// What the server notes down in a turn. Written by its thread only.
struct Tally {
  std::uint64_t first = 0;  ///< echoes before those that are measured
  std::uint64_t last = 0;   ///< echoes until the end of the measured ones
  std::uint64_t total = 0;
  std::uint64_t echoes = 0;
  std::uint64_t waits = 0;
  double cpu_ns = 0;
  double wall_ns = 0;
  std::optional<Error> error;

  void count_echo() {
    ++echoes;
    const double sign = echoes == first ? -1 : 1;
    if (echoes != first && echoes != last) return;
    cpu_ns += sign * clock_ns(CLOCK_THREAD_CPUTIME_ID);
    wall_ns += sign * clock_ns(CLOCK_MONOTONIC);
  }
};

/// One connection of the server. The same work by every method but for the way to the namespace.
class Connection final : public Source {
 public:
  Connection(Fd fd, const Netns& place, const Netns& home, Tally& tally)
      : Source(std::move(fd)), place_(place), home_(home), tally_(tally) {}

  void handle_by(EchoMethod method) {
    visit(method == EchoMethod::cached ? &place_ : nullptr);
    switches_ = method == EchoMethod::setns_per_event;
  }

  void ready(std::uint32_t /*events*/) override { echo(); }
  void echo() {
    if (switches_ && ::setns(place_.fd(), CLONE_NEWNET) != 0) return give_up("setns");
    std::array<char, 2 * kEchoBytes> text;
    const ssize_t got = ::recv(fd(), text.data(), text.size(), 0);
    const ssize_t sent = got > 0 ? ::send(fd(), text.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) : -1;
    if (switches_ && ::setns(home_.fd(), CLONE_NEWNET) != 0) return give_up("setns back");
    if (sent != std::ssize(text) / 2) return give_up("an echo");
    tally_.count_echo();
  }
  void unreachable(const Error& why) override { tally_.error = why; }

 private:
  void give_up(const char* what) { tally_.error = errno_error(errno, std::string("echo server: ") + what); }

  const Netns& place_;
  const Netns& home_;
  Tally& tally_;
  bool switches_ = false;
};

Result<void> set_nodelay(int socket) {
  const int on = 1;
  if (::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return fail_errno(errno, "TCP_NODELAY");
  return {};
}

/// A listener on loopback and where it is.
struct Door {
  Fd listener;
  sockaddr_in at{};
};

Result<Door> open_door(const Netns& place) {
  auto listener = listen(place, {"127.0.0.1", 0}, {.nonblocking = false});
  if (!listener) return pass(std::move(listener));
  Door door{.listener = std::move(*listener)};
  socklen_t size = sizeof door.at;
  if (::getsockname(door.listener.get(), reinterpret_cast<sockaddr*>(&door.at), &size) != 0) {
    return fail_errno(errno, "getsockname");
  }
  return door;
}

struct Pair {
  Fd client, server;
};

Result<Pair> connect_through(const Door& door, const Netns& place) {
  auto client = open_socket(place, AF_INET, SOCK_STREAM, 0);
  if (!client) return pass(std::move(client));
  if (::connect(client->get(), reinterpret_cast<const sockaddr*>(&door.at), sizeof door.at) != 0) {
    return fail_errno(errno, "connecting to the echo server");
  }
  Fd server(::accept4(door.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server.valid()) return fail_errno(errno, "accepting an echo connection");
  for (const int socket : {client->get(), server.get()}) {
    if (auto done = set_nodelay(socket); !done) return pass(std::move(done));
  }
  return Pair{std::move(*client), std::move(server)};
}

/// What a turn showed.
struct Turn {
  double cpu_ns = 0, wall_ns = 0, events_per_wait = 0;
};

/// Connections in a number of namespaces, with a reactor and a load of their own.
class Service {
 public:
  static Result<std::unique_ptr<Service>> create(std::span<const Netns> places, std::uint64_t seed);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  ~Service() = default;

  /// Adds a connection, in the next namespace.
  Result<void> connect_one();
  /// No more will be added.
  void close_doors() { doors_.clear(); }
  /// One turn: the server on a new thread, the clients on this one.
  Result<Turn> drive(EchoMethod method, const EchoPlan& plan);

 private:
  Service(std::span<const Netns> places, Netns home, std::unique_ptr<Reactor> reactor, EchoLoad load)
      : places_(places), home_(std::move(home)), reactor_(std::move(reactor)), load_(std::move(load)) {}
  void serve(int cpu);
  void serve_by_reactor();
  void serve_by_bare_loop();
  /// What the reactor waits for at each connection: nothing, while another waits.
  Result<void> reactor_waits_for(std::uint32_t events);
  [[nodiscard]] bool goes_on() const { return !abandoned_ && !tally_.error && tally_.echoes < tally_.total; }

  std::span<const Netns> places_;
  Netns home_;
  Tally tally_;
  std::atomic<bool> abandoned_{false};
  bool bare_ = false;
  std::unique_ptr<Reactor> reactor_;
  EchoLoad load_;
  std::vector<Connection*> connections_;  ///< the reactor's
  std::vector<Door> doors_;
};

Result<std::unique_ptr<Service>> Service::create(std::span<const Netns> places, std::uint64_t seed) {
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  auto reactor = Reactor::create();
  if (!reactor) return pass(std::move(reactor));
  auto load = EchoLoad::create(seed);
  if (!load) return pass(std::move(load));
  return std::unique_ptr<Service>(new Service(places, std::move(*home), std::move(*reactor), std::move(*load)));
}

Result<void> Service::connect_one() {
  const std::size_t which = connections_.size() % places_.size();
  const Netns& place = places_[which];
  if (which == doors_.size()) {
    auto door = open_door(place);
    if (!door) return pass(std::move(door));
    doors_.push_back(std::move(*door));
  }
  auto pair = connect_through(doors_[which], place);
  if (!pair) return pass(std::move(pair));
  auto connection = std::make_unique<Connection>(std::move(pair->server), place, home_, tally_);
  connections_.push_back(connection.get());
  if (auto added = reactor_->add(std::move(connection), EPOLLIN); !added) return added;
  return load_.add(std::move(pair->client));
}

void Service::serve(int cpu) {
  if (auto pinned = pin(cpu); !pinned) tally_.error = std::move(pinned).error();
  if (bare_) {
    serve_by_bare_loop();
  } else {
    serve_by_reactor();
  }
}

void Service::serve_by_reactor() {
  while (goes_on()) {
    auto round = reactor_->run_once();
    if (!round) tally_.error = std::move(round).error();
    ++tally_.waits;
  }
}

void Service::serve_by_bare_loop() {
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  for (Connection* connection : connections_) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, connection->fd(), &event) == 0) continue;
    tally_.error = errno_error(errno, "a bare epoll loop");
    return;
  }
  std::array<epoll_event, 512> events;
  constexpr int kLookUpMs = 100;  // nothing else wakes it when the load has failed
  while (goes_on()) {
    const int got = ::epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), kLookUpMs);
    for (int i = 0; i < got; ++i) static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr)->echo();
    ++tally_.waits;
  }
}

Result<void> Service::reactor_waits_for(std::uint32_t events) {
  for (const Connection* connection : connections_) {
    if (auto done = reactor_->modify(*connection, events); !done) return done;
  }
  return {};
}

Result<Turn> Service::drive(EchoMethod method, const EchoPlan& plan) {
  for (Connection* connection : connections_) connection->handle_by(method);
  if (const bool bare = method == EchoMethod::bare_epoll; bare != bare_) {
    if (auto done = reactor_waits_for(bare ? 0U : std::uint32_t{EPOLLIN}); !done) return pass(std::move(done));
    bare_ = bare;
  }
  tally_ = {};
  tally_.first = static_cast<std::uint64_t>(plan.warm_up);
  tally_.last = tally_.first + static_cast<std::uint64_t>(plan.operations);
  // As many more as are outstanding: what is measured then ends with the server as busy as it began.
  tally_.total = tally_.last + plan.outstanding;
  auto server = start_worker([this, cpu = plan.server_cpu] { serve(cpu); });
  if (!server) return pass(std::move(server));
  auto loaded = load_.run(tally_.total, plan.outstanding);
  if (!loaded) {
    abandoned_ = true;
    reactor_->stop();
  }
  server->join();
  if (tally_.error) return std::unexpected(*std::move(tally_.error));
  if (!loaded) return pass(std::move(loaded));
  const double operations = plan.operations;
  return Turn{tally_.cpu_ns / operations, tally_.wall_ns / operations,
              static_cast<double>(tally_.echoes) / static_cast<double>(tally_.waits)};
}

/// What is compared: the connections, a way to serve them, and what it showed, by round.
struct Configuration {
  Service* service = nullptr;
  std::size_t namespaces = 0;
  EchoMethod method = EchoMethod::socket_first;
  std::vector<double> cpu_ns, wall_ns, events_per_wait;
};

constexpr std::array kMethods{EchoMethod::socket_first, EchoMethod::cached, EchoMethod::setns_per_event,
                              EchoMethod::bare_epoll};
constexpr std::size_t kServices = 3;

/// Connections in one namespace, in one namespace again as the control, and in all.
Result<std::vector<std::unique_ptr<Service>>> make_services(std::span<const Netns> places, const EchoPlan& plan) {
  std::vector<std::unique_ptr<Service>> services;
  for (const std::size_t among : {std::size_t{1}, std::size_t{1}, places.size()}) {
    auto made = Service::create(places.first(among), plan.seed + services.size());
    if (!made) return pass(std::move(made));
    services.push_back(std::move(*made));
  }
  // By turns, so that none has the better numbers or the better memory.
  for (std::size_t i = 0; i < plan.connections; ++i) {
    for (std::size_t j = 0; j < services.size(); ++j) {
      if (auto done = services[(i + j) % services.size()]->connect_one(); !done) return pass(std::move(done));
    }
  }
  for (const auto& service : services) service->close_doors();
  return services;
}

/// The first is what all are compared with, the last is the control.
std::vector<Configuration> configurations(const std::vector<std::unique_ptr<Service>>& services, std::size_t places) {
  std::vector<Configuration> all;
  const auto add = [&all](const std::unique_ptr<Service>& service, std::size_t among, EchoMethod method) {
    Configuration& one = all.emplace_back();
    one.service = service.get();
    one.namespaces = among;
    one.method = method;
  };
  for (const EchoMethod method : kMethods) add(services[0], 1, method);
  for (const EchoMethod method : kMethods) {
    if (places > 1) add(services[2], places, method);
  }
  add(services[1], 1, EchoMethod::socket_first);
  return all;
}

Result<void> drive_all(std::vector<Configuration>& all, const EchoPlan& plan, const Stop& stop) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(plan.seed);
  for (int round = 0; round == 0 || (round < plan.rounds && !stop()); ++round) {
    std::ranges::shuffle(order, random);
    for (const std::size_t which : order) {
      Configuration& one = all[which];
      auto turn = one.service->drive(one.method, plan);
      if (!turn) return pass(std::move(turn));
      one.cpu_ns.push_back(turn->cpu_ns);
      one.wall_ns.push_back(turn->wall_ns);
      one.events_per_wait.push_back(turn->events_per_wait);
    }
  }
  return {};
}

EchoCost summary(const Configuration& of, const Configuration& base, std::uint64_t seed) {
  constexpr double kNsPerS = 1e9;
  return {.namespaces = of.namespaces,
          .method = of.method,
          .cpu_ns_per_op = median(of.cpu_ns),
          .ops_per_s = kNsPerS / median(of.wall_ns),
          .events_per_wait = median(of.events_per_wait),
          .cost = median_of_ratios(of.cpu_ns, base.cpu_ns, {.seed = seed})};
}

}  // namespace

const char* word_of(EchoMethod method) {
  switch (method) {
    case EchoMethod::socket_first:
      return "socket-first";
    case EchoMethod::cached:
      return "cached";
    case EchoMethod::setns_per_event:
      return "setns-per-event";
    case EchoMethod::bare_epoll:
      break;
  }
  return "bare-epoll";
}

std::size_t echo_descriptors(const EchoPlan& plan, std::size_t namespaces) {
  // Two ends of each connection, and the listeners while they are made.
  return 2 * kServices * plan.connections + std::min(namespaces, plan.connections) + kServices;
}

Result<Echo> measure_echo(std::span<const Netns> places, const EchoPlan& plan, const Stop& stop) {
  if (places.empty() || plan.connections == 0) return fail(Errc::usage, "an echo needs a namespace and a connection");
  const std::span<const Netns> among = places.first(std::min(places.size(), plan.connections));
  auto services = make_services(among, plan);
  if (!services) return pass(std::move(services));
  std::vector<Configuration> all = configurations(*services, among.size());
  if (auto driven = drive_all(all, plan, stop); !driven) return pass(std::move(driven));
  Echo echo;
  for (const Configuration& one : all) echo.rows.push_back(summary(one, all.front(), plan.seed));
  echo.control = echo.rows.back().cost;
  echo.rows.pop_back();
  // The methods of the last set of namespaces, in their order.
  const auto last = std::span(all).subspan(all.size() - 1 - kMethods.size(), kMethods.size());
  echo.library = median_of_ratios(last.front().cpu_ns, last.back().cpu_ns, {.seed = plan.seed});
  echo.connections = plan.connections;
  echo.outstanding = plan.outstanding;
  echo.rounds = static_cast<int>(all.front().cpu_ns.size());
  return echo;
}

}  // namespace weir::netns::bench
