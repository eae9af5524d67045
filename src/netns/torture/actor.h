// One thread of the torture: it draws operations by seed, and after each the kernel is asked where the thread is.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "netns/torture/ledger.h"
#include "netns/torture/pool.h"

namespace weir::netns::torture {

/// Numbers of one operation. Each operation has dice of its own, seeded by actor and count: what is drawn in one does
/// not depend on how far the one before came.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
  std::uint64_t next();
  /// Evenly from 0 to `bound` - 1.
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
  bool one_in(std::size_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

/// Lets many through, or one alone; who asks to be alone is not kept waiting by those that come later.
class Gate {
 public:
  [[nodiscard]] std::shared_lock<std::shared_mutex> among_others();
  [[nodiscard]] std::unique_lock<std::shared_mutex> alone();

 private:
  std::mutex turnstile_;
  std::shared_mutex inside_;
};

/// What all actors stand on.
struct Stage {
  explicit Stage(const TortureOptions& given) : options(given), pool(given.namespaces) {}
  const TortureOptions& options;
  Ledger ledger;
  Pool pool;
  std::uint64_t home = 0;                   ///< of every thread, as the kernel said it in the beginning
  std::atomic<bool> stop{false};            ///< for those that act
  std::atomic<bool> stop_following{false};  ///< for those that answer them: afterwards
  Gate gate;
};

class Actor {
 public:
  Actor(Stage& stage, std::string name, bool worker);
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  virtual ~Actor() = default;

  /// Whether it only answers what others do: it ends when they have, and no seed decides on it.
  [[nodiscard]] virtual bool follows() const { return false; }
  /// Operation after operation until the end.
  void run();

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Whether it is to run on a thread of start_worker(), whose visits are sticky.
  [[nodiscard]] bool worker() const { return worker_; }
  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  /// The thread is through, in whatever way.
  [[nodiscard]] bool ended() const { return ended_; }
  /// It came to the end of run(): it was not lost in some namespace.
  [[nodiscard]] bool completed() const { return completed_; }
  [[nodiscard]] ActorReport report() const { return {name_, operations_, follows() ? 0 : digest_}; }

 protected:
  /// One operation. An error that no injected fault explains breaks an invariant.
  virtual Result<void> step(Dice& dice) = 0;
  void broken(std::string_view invariant, std::string what);
  /// The socket must have been made in the tenant's namespace.
  void check_socket(int socket, const Tenant& tenant);
  /// The thread must be in the namespace `id`, by the kernel's word.
  void check_here(std::uint64_t id, std::string_view where);
  /// A tenant that is there; drawn among all slots.
  [[nodiscard]] TenantPtr any(Dice& dice) const { return stage_.pool.at(dice.below(stage_.pool.size())); }
  /// Counts a visit that has to switch.
  void note_visit(const Netns& ns);

  Stage& stage_;

 private:
  void one_operation();
  void check_between_operations();

  std::string name_;
  bool worker_;
  std::uint64_t seed_;
  Count operations_{0};
  std::atomic<bool> ended_{false};
  std::atomic<bool> completed_{false};
  std::uint64_t digest_ = 0;
};

}  // namespace weir::netns::torture
