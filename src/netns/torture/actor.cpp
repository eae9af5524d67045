#include "netns/torture/actor.h"

#include <cerrno>
#include <exception>
#include <functional>

#include "netns/torture/truth.h"

namespace weir::netns::torture {

namespace {

constexpr std::uint64_t kDigestOperations = 256;

std::string id_text(std::optional<std::uint64_t> id) {
  return id ? "id " + std::to_string(*id) : "an unknown one";
}

}  // namespace

std::uint64_t Dice::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::shared_lock<std::shared_mutex> Gate::among_others() {
  const std::scoped_lock turn(turnstile_);
  return std::shared_lock(inside_);
}

std::unique_lock<std::shared_mutex> Gate::alone() {
  const std::scoped_lock turn(turnstile_);
  return std::unique_lock(inside_);
}

Actor::Actor(Stage& stage, std::string name, bool worker)
    : stage_(stage), name_(std::move(name)), worker_(worker), seed_(stage.options.seed) {
  // FNV-1a of the name, so that each actor has operations of its own, the same on every machine.
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name_) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  seed_ ^= hash;
}

void Actor::broken(std::string_view invariant, std::string what) {
  stage_.ledger.broken({std::string(invariant), name_, operations_, std::move(what)});
}

void Actor::check_socket(int socket, const Tenant& tenant) {
  const auto is = of_socket(socket);
  ++stage_.ledger.sockets_checked;
  if (is == tenant.id) return;
  ++stage_.ledger.wrong_namespace;
  broken("socket", "a socket for namespace id " + std::to_string(tenant.id) + " was made in " + id_text(is));
}

void Actor::check_here(std::uint64_t id, std::string_view where) {
  const auto here = of_this_thread();
  if (!here || here == id) return;  // nothing: no descriptor left to ask with
  broken("home", std::string(where) + ": the thread should be in namespace id " + std::to_string(id) + " and is in " +
                     id_text(here));
}

void Actor::note_visit(const Netns& ns) {
  if (detail::thread_state.here != ns.id()) ++stage_.ledger.switches;
}

/// A foreign thread is at home; a worker is where the library believes it to be. Neither is inside a scope.
void Actor::check_between_operations() {
  const detail::ThreadState& thread = detail::thread_state;
  if (thread.depth != 0) broken("home", "the thread is still inside " + std::to_string(thread.depth) + " scopes");
  ++stage_.ledger.homecomings_checked;
  check_here(worker_ && thread.here != 0 ? thread.here : stage_.home, "between two operations");
}

void Actor::one_operation() {
  const std::uint64_t count = operations_;
  const std::uint64_t drawn = Dice(seed_ + count).next();
  if (count < kDigestOperations) digest_ = (digest_ ^ drawn) * 0x100000001b3;
  Dice dice(drawn);
  const std::uint64_t epoch = stage_.ledger.scarcity();
  if (auto done = step(dice); !done) {
    if (stage_.ledger.was_scarce_since(epoch)) {
      ++stage_.ledger.errors_expected;
    } else {
      broken("error", done.error().message);
    }
  }
  check_between_operations();
  ++operations_;
}

void Actor::run() {
  // A worker that cannot come home ends by unwinding.
  struct AtTheEnd {
    std::atomic<bool>& ended;
    ~AtTheEnd() { ended = true; }
  } const at_the_end{ended_};
  const std::uint64_t most = follows() ? 0 : stage_.options.operations;
  const std::atomic<bool>& stop = follows() ? stage_.stop_following : stage_.stop;
  try {
    while (!stop && (most == 0 || operations_ < most)) one_operation();
  } catch (const std::exception& error) {
    broken("error", std::string("an exception came out of the library: ") + error.what());
  }
  completed_ = true;
}

}  // namespace weir::netns::torture
