// Words in metrics' names, and what they say about adding up and about bad and good.
#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "reason/explain/model.h"

namespace weir::explain {

namespace {

// The first that occurs in the name decides, so what is told apart by a longer word stands first.
constexpr std::array<std::pair<std::string_view, Quantity>, 38> words{{
    {"availability", Quantity::availability},
    {"success", Quantity::availability},
    {"error", Quantity::failures},
    {"fail", Quantity::failures},
    {"fault", Quantity::failures},
    {"5xx", Quantity::failures},
    {"timeout", Quantity::failures},
    {"drop", Quantity::drops},
    {"discard", Quantity::drops},
    {"overflow", Quantity::drops},
    {"retrans", Quantity::drops},
    {"loss", Quantity::drops},
    {"missed", Quantity::drops},
    {"latency", Quantity::latency},
    {"duration", Quantity::latency},
    {"response_time", Quantity::latency},
    {"delay", Quantity::latency},
    {"rtt", Quantity::latency},
    {"residency", Quantity::latency},
    {"wait", Quantity::latency},
    {"requests", Quantity::requests},
    {"request_rate", Quantity::requests},
    {"calls", Quantity::requests},
    {"qps", Quantity::requests},
    {"rps", Quantity::requests},
    {"throughput", Quantity::requests},
    {"workload", Quantity::requests},
    {"packets", Quantity::requests},
    {"cpu", Quantity::utilisation},
    {"mem", Quantity::utilisation},
    {"util", Quantity::utilisation},
    {"load", Quantity::utilisation},
    {"pressure", Quantity::utilisation},
    {"throttl", Quantity::utilisation},
    {"backlog", Quantity::utilisation},
    {"disk", Quantity::utilisation},
    {"softirq", Quantity::utilisation},
    {"fill", Quantity::utilisation},
}};

}  // namespace

std::string_view to_string(Quantity quantity) {
  constexpr std::array<std::string_view, 7> names{"latency", "availability", "failures", "requests",
                                                  "drops",   "utilisation",  "other"};
  return names.at(static_cast<std::size_t>(quantity));
}

Quantity quantity_of(std::string_view metric) {
  std::string lower(metric);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const auto& [word, quantity] : words) {
    if (lower.find(word) != std::string::npos) return quantity;
  }
  return Quantity::other;
}

Bad bad_direction(Quantity quantity) {
  switch (quantity) {
    case Quantity::availability:
      return Bad::down;
    case Quantity::requests:
    case Quantity::other:
      return Bad::either;
    default:
      return Bad::up;
  }
}

}  // namespace weir::explain
