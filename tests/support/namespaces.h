// Nameless namespaces of a test: gone with their last descriptor, however the test ends.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "netns/netns.h"
#include "sys/process.h"
#include "sys/scratch_thread.h"

namespace weir::test {

/// What every device of a namespace counted so far, as ip(8) says it.
struct LinkCounters {
  std::uint32_t ifindex = 0;
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_dropped = 0;
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_bytes = 0;
};

/// Throws std::runtime_error where something cannot be made: a test can say no more about it.
class Namespace {
 public:
  Namespace() : ns_(make()) {}

  [[nodiscard]] const netns::Netns& netns() const { return ns_; }
  [[nodiscard]] std::uint64_t id() const { return ns_.id(); }
  /// A path by which ip(8) finds the namespace: "… netns PATH".
  [[nodiscard]] std::string path() const { return fmt::format("/proc/{}/fd/{}", ::getpid(), ns_.fd()); }

  /// Runs commands of ip(8), one a line.
  void ip(const std::string& commands) const {
    if (const std::string said = try_ip(commands); !said.empty()) throw std::runtime_error(said);
  }
  /// What ip(8) complained about; empty when all went well.
  [[nodiscard]] std::string try_ip(const std::string& commands) const {
    const sys::Fd batch(::memfd_create("weir-test-ip", MFD_CLOEXEC));
    if (::write(batch.get(), commands.data(), commands.size()) != std::ssize(commands)) return "no memory file";
    const auto done =
        sys::run_command({"ip", "-batch", fmt::format("/proc/{}/fd/{}", ::getpid(), batch.get())}, kLimit, in_here());
    if (!done) return done.error().message;
    return done->status.success() ? std::string() : "ip: " + done->err + " in: " + commands;
  }

  /// Writes /proc/sys/net/NAME of this namespace.
  void sysctl(const std::string& name, const std::string& value) const {
    check(netns::run_in(ns_, [&]() -> Result<void> {
      std::ofstream file("/proc/sys/net/" + name);
      if (file << value << std::flush) return {};
      return fail(Errc::failed, "cannot write /proc/sys/net/" + name);
    }));
  }

  [[nodiscard]] std::map<std::string, LinkCounters> links() const {
    const auto shown = sys::run_command({"ip", "-s", "-j", "link"}, kLimit, in_here());
    if (!shown || !shown->status.success()) throw std::runtime_error("ip -s -j link failed");
    std::map<std::string, LinkCounters> all;
    for (const auto& link : nlohmann::json::parse(shown->out)) {
      const auto& stats = link.at("stats64");
      all[link.at("ifname")] = {.ifindex = link.at("ifindex"),
                                .tx_packets = stats.at("tx").at("packets"),
                                .tx_bytes = stats.at("tx").at("bytes"),
                                .tx_dropped = stats.at("tx").at("dropped"),
                                .rx_packets = stats.at("rx").at("packets"),
                                .rx_bytes = stats.at("rx").at("bytes")};
    }
    return all;
  }

  /// A counter of /proc/net/snmp ("Tcp", "OutSegs"); 0 when it is not there.
  [[nodiscard]] std::uint64_t snmp(const std::string& protocol, const std::string& name) const {
    std::uint64_t value = 0;
    check(netns::run_in(ns_, [&]() -> Result<void> {
      std::ifstream file("/proc/thread-self/net/snmp");
      std::string names;
      std::string values;
      while (std::getline(file, names) && std::getline(file, values)) {
        if (!names.starts_with(protocol + ":")) continue;
        std::istringstream name_words(names);
        std::istringstream value_words(values);
        std::string this_name;
        std::string this_value;
        while (name_words >> this_name && value_words >> this_value) {
          if (this_name == name) value = std::stoull(this_value);
        }
      }
      return {};
    }));
    return value;
  }

  /// A counter of /proc/net/snmp6 ("Udp6OutDatagrams"); 0 when it is not there.
  [[nodiscard]] std::uint64_t snmp6(const std::string& name) const {
    std::uint64_t value = 0;
    check(netns::run_in(ns_, [&]() -> Result<void> {
      std::ifstream file("/proc/thread-self/net/snmp6");
      std::string word;
      while (file >> word) {
        if (word == name) file >> value;
      }
      return {};
    }));
    return value;
  }

 private:
  static constexpr std::chrono::seconds kLimit{30};

  [[nodiscard]] sys::SpawnOptions in_here() const {
    sys::SpawnOptions options;
    options.netns_fd = ns_.fd();
    return options;
  }
  static void check(const Result<void>& done) {
    if (!done) throw std::runtime_error(done.error().message);
  }
  static netns::Netns make() {
    std::optional<netns::Netns> made;
    check(sys::on_scratch_thread([&made]() -> Result<void> {
      if (::unshare(CLONE_NEWNET) != 0) return fail_errno(errno, "cannot make a network namespace");
      auto current = netns::Netns::current();
      if (!current) return pass(std::move(current));
      made = *std::move(current);
      return {};
    }));
    return *std::move(made);
  }

  netns::Netns ns_;
};

}  // namespace weir::test
