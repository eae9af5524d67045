// What an echo of 64 bytes costs the server when its connections are in one namespace, and when they are in very many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "netns/bench/statistics.h"
#include "netns/bench/worker.h"
#include "netns/netns.h"

namespace weir::netns::bench {

/// How the server deals with the namespace of a connection.
enum class EchoMethod : std::uint8_t {
  socket_first,     ///< not at all: the socket is where it was made
  cached,           ///< handles each event inside the namespace: sticky, a round's events batched by namespace
  setns_per_event,  ///< goes there and back for each event with setns(2)
  bare_epoll,       ///< not at all, in an epoll loop without this library: what the kernel makes of it
};

/// "socket-first", "cached", "setns-per-event", "bare-epoll".
const char* word_of(EchoMethod method);

struct EchoCost {
  std::size_t namespaces = 0;
  EchoMethod method = EchoMethod::socket_first;
  double cpu_ns_per_op = 0;  ///< of the server's thread (CLOCK_THREAD_CPUTIME_ID), median of the rounds
  double ops_per_s = 0;      ///< median
  double events_per_wait = 0;
  Ratio cost;  ///< CPU of an operation over that of one namespace, socket-first, in the same round
};

struct EchoPlan {
  std::size_t connections = 1024;  ///< of each configuration
  std::size_t outstanding = 64;
  int rounds = 21;
  int warm_up = 2000;     ///< echoes at the beginning of a turn, not measured
  int operations = 8000;  ///< measured, in a turn
  std::uint64_t seed = 1;
  int server_cpu = 0;
  int load_cpu = 0;
};

struct Echo {
  std::vector<EchoCost> rows;
  /// A second set of connections in one namespace, measured like the others: what the method itself makes of nothing.
  Ratio control;
  /// What the library adds: socket-first over the bare loop, both in all namespaces, in the same round.
  Ratio library{};
  std::size_t connections = 0;
  std::size_t outstanding = 0;
  int rounds = 0;
};

/// Descriptors that measure_echo() needs beside those of the places.
std::size_t echo_descriptors(const EchoPlan& plan, std::size_t namespaces);

/// Measures one namespace against all of `places` (at most one a connection), each with the same number of connections,
/// which are used in random order. All connections stand from the beginning, made by turns; in each round every method
/// has a turn on each set of them, in random order.
Result<Echo> measure_echo(std::span<const Netns> places, const EchoPlan& plan, const Stop& stop);

}  // namespace weir::netns::bench
