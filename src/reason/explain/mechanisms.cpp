#include "reason/explain/mechanisms.h"

#include <algorithm>
#include <array>

namespace weir::explain {

namespace {

struct Mechanism {
  Quantity cause;
  Quantity effect;
  std::string_view words;
};

constexpr std::array<Mechanism, 24> mechanisms{{
    {Quantity::latency, Quantity::latency, "waits for a slower dependency"},
    {Quantity::latency, Quantity::availability, "gives up waiting for a slower dependency"},
    {Quantity::latency, Quantity::failures, "gives up waiting for a slower dependency"},
    {Quantity::availability, Quantity::availability, "calls of a failing dependency fail"},
    {Quantity::availability, Quantity::failures, "calls of a failing dependency fail"},
    {Quantity::availability, Quantity::latency, "tries a failing dependency again"},
    {Quantity::failures, Quantity::failures, "calls of a failing dependency fail"},
    {Quantity::failures, Quantity::availability, "calls of a failing dependency fail"},
    {Quantity::failures, Quantity::latency, "tries a failing dependency again"},
    {Quantity::requests, Quantity::requests, "carries another's load"},
    {Quantity::requests, Quantity::utilisation, "works for more requests"},
    {Quantity::requests, Quantity::latency, "queues behind more requests"},
    {Quantity::requests, Quantity::drops, "overflows under more load"},
    {Quantity::requests, Quantity::failures, "fails under more load"},
    {Quantity::requests, Quantity::availability, "fails under more load"},
    {Quantity::utilisation, Quantity::utilisation, "shares a busy resource"},
    {Quantity::utilisation, Quantity::latency, "waits for a busy resource"},
    {Quantity::utilisation, Quantity::drops, "is not served in time by a busy resource"},
    {Quantity::utilisation, Quantity::failures, "runs out of a resource"},
    {Quantity::utilisation, Quantity::availability, "runs out of a resource"},
    {Quantity::drops, Quantity::drops, "loses what was lost below"},
    {Quantity::drops, Quantity::latency, "sends again what was lost"},
    {Quantity::drops, Quantity::failures, "fails for what was lost"},
    {Quantity::drops, Quantity::availability, "fails for what was lost"},
}};

}  // namespace

std::string_view mechanism_between(Quantity cause, Quantity effect) {
  const auto found = std::ranges::find_if(
      mechanisms, [&](const Mechanism& mechanism) { return mechanism.cause == cause && mechanism.effect == effect; });
  if (found != mechanisms.end()) return found->words;
  // Of a metric whose meaning nobody knows all that can be said is that they move together.
  return cause == Quantity::other || effect == Quantity::other ? "moves with it" : std::string_view();
}

}  // namespace weir::explain
