// How soon after its mount a namespace is announced, whether ever too early, and how long a census takes. Needs root;
// all that is made is gone at the end. ~250 KiB of kernel memory for each namespace.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "netns/census.h"
#include "netns/registry.h"
#include "support/publish.h"

namespace {

using namespace std::chrono_literals;
using weir::test::NameFolder;
using weir::test::Order;
using Json = nlohmann::ordered_json;
using Steady = std::chrono::steady_clock;

struct Round {
  int published = 0;
  int ready = 0;
  int false_ready = 0;
  int unpaired = 0;
  std::vector<double> latency_us;  ///< from the return of the publishing call; 0 when the event came before that
};

double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

/// One name after the other, each taken away once it was announced, while the registry watches.
Round publish(const NameFolder& folder, weir::netns::Registry& registry, Order order, int count) {
  Round round{.published = count, .latency_us = {}};
  std::mutex mutex;
  std::map<int, Steady::time_point> published;
  std::atomic<int> seen{0};
  std::atomic<bool> stop{false};
  std::thread publisher([&] {
    for (int i = 0; i < count && !stop; ++i) {
      const std::string name = fmt::format("weir-bench-{}", i % 16);
      const auto done = folder.publish(order, name);
      {
        const std::lock_guard lock(mutex);
        published[i] = done;
      }
      while (seen.load() <= i && !stop) seen.wait(i);
      folder.remove(order, name);
    }
  });
  const std::string stem = folder.called(order, "weir-bench-");
  std::map<std::string, std::uint64_t> alive;
  std::vector<Steady::time_point> told;
  auto last = Steady::now();
  while ((round.ready < count || !alive.empty()) && Steady::now() - last < 10s) {
    const auto events = registry.wait(1s);
    const auto now = Steady::now();
    if (!events) break;
    for (const auto& event : *events) {
      if (!event.name.starts_with(stem)) continue;
      last = now;
      if (event.kind == weir::netns::RegistryEvent::Kind::gone && alive.erase(event.name) != 1) ++round.unpaired;
      if (event.kind != weir::netns::RegistryEvent::Kind::ready) continue;
      const auto opened = weir::netns::Netns::open(event.name);
      if (!opened || opened->id() != event.id) ++round.false_ready;
      if (!alive.emplace(event.name, event.id).second) ++round.unpaired;
      told.push_back(now);
      seen = ++round.ready;
      seen.notify_one();
    }
  }
  stop = true;
  seen = count;
  seen.notify_one();
  publisher.join();
  round.unpaired += static_cast<int>(alive.size());
  for (std::size_t i = 0; i < told.size() && order != Order::ip; ++i) {
    const auto late = std::chrono::duration<double, std::micro>(told[i] - published[static_cast<int>(i)]).count();
    round.latency_us.push_back(std::max(late, 0.0));
  }
  return round;
}

/// The fastest of three: of what others do meanwhile the census knows nothing.
Json census(const NameFolder& folder, int namespaces) {
  const auto made = Steady::now();
  for (int i = 0; i < namespaces; ++i) folder.publish(Order::prepared_mount, std::to_string(i));
  const double create_s = std::chrono::duration<double>(Steady::now() - made).count();
  double best_s = 1e9;
  double cpu_s = 1e9;
  std::size_t found = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    rusage before{};
    rusage after{};
    ::getrusage(RUSAGE_SELF, &before);
    const auto start = Steady::now();
    const auto taken = weir::netns::take_census();
    best_s = std::min(best_s, std::chrono::duration<double>(Steady::now() - start).count());
    ::getrusage(RUSAGE_SELF, &after);
    const auto seconds = [](const rusage& use) {
      return static_cast<double>(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
             1e-6 * static_cast<double>(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
    };
    cpu_s = std::min(cpu_s, seconds(after) - seconds(before));
    found = taken ? taken->residents.size() : 0;
  }
  const auto start = Steady::now();
  const auto registry = weir::netns::Registry::open({.directories = {folder.names()}});
  const double open_s = std::chrono::duration<double>(Steady::now() - start).count();
  for (int i = 0; i < namespaces; ++i) folder.remove(Order::prepared_mount, std::to_string(i));
  return {{"namespaces", namespaces}, {"found", found}, {"create_s", create_s},
          {"census_s", best_s},       {"cpu_s", cpu_s}, {"registry_open_s", registry ? open_s : -1}};
}

Json publications(const NameFolder& folder, int count, int through_ip) {
  using weir::netns::RegistrySource;
  Json rows = Json::array();
  for (const auto& [source, name] :
       {std::pair(RegistrySource::mount_events, "mount events"), std::pair(RegistrySource::mountinfo, "mountinfo"),
        std::pair(RegistrySource::directories, "directories")}) {
    auto registry = weir::netns::Registry::open({.source = source, .directories = {folder.names(), "/run/netns"}});
    if (!registry) {
      fmt::print(stderr, "{}: {}\n", name, registry.error().message);
      continue;
    }
    for (const Order order : weir::test::kOrders) {
      Round round = publish(folder, *registry, order, order == Order::ip ? through_ip : count);
      rows.push_back({{"source", name},
                      {"order", to_string(order)},
                      {"published", round.published},
                      {"ready", round.ready},
                      {"false_ready", round.false_ready},
                      {"unpaired", round.unpaired},
                      {"p50_us", order == Order::ip ? Json(nullptr) : Json(quantile(round.latency_us, 0.5))},
                      {"p99_us", order == Order::ip ? Json(nullptr) : Json(quantile(round.latency_us, 0.99))}});
      fmt::print(stderr, "{}\n", rows.back().dump());
    }
  }
  return rows;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 10000;
  int through_ip = 1000;
  std::vector<int> namespaces{1000, 5000};
  CLI::App app{"The registry and the census of namespaces"};
  app.add_option("--publications", count, "In each order and by each source")->check(CLI::NonNegativeNumber);
  app.add_option("--through-ip", through_ip, "The same with ip netns add")->check(CLI::NonNegativeNumber);
  app.add_option("--namespaces", namespaces, "How many the census meets");
  CLI11_PARSE(app, argc, argv);
  const NameFolder folder;
  Json document{{"schema", "weir.netns_registry_bench/1"}};
  document["census"] = Json::array();
  for (const int each : namespaces) {
    document["census"].push_back(census(folder, each));
    fmt::print(stderr, "{}\n", document["census"].back().dump());
  }
  document["publications"] = publications(folder, count, through_ip);
  fmt::print("{}\n", document.dump(2));
  return 0;
}
