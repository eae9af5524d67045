// Names that are published and taken away while the registry, by each of its sources, tells of them.
#include <condition_variable>
#include <map>
#include <set>

#include "netns/registry.h"
#include "netns/torture/actors.h"
#include "netns/torture/publish.h"

namespace weir::netns::torture {

namespace {

using namespace std::chrono_literals;

/// Where the publisher waits until every watcher has told of its name.
class Meeting {
 public:
  explicit Meeting(NamePlaces where) : places(std::move(where)) {}
  const NamePlaces places;

  void join() { ++watchers_; }
  void announce(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    name_ = name;
    told_.clear();
  }
  /// Whether the name is one that its publisher keeps until everybody has told of it.
  bool is_kept(const std::string& name) {
    const std::scoped_lock lock(mutex_);
    return name == name_;
  }
  void tell(const std::string& name, const void* who) {
    const std::scoped_lock lock(mutex_);
    if (name != name_) return;
    told_.insert(who);
    all_.notify_all();
  }
  /// False when somebody did not tell of it in time.
  bool wait_for_all(const std::atomic<bool>& stop) {
    std::unique_lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    const auto done = [&] { return told_.size() >= watchers_ || stop; };
    bool in_time = true;
    while (!done() && in_time) {
      all_.wait_for(lock, 100ms, done);
      in_time = std::chrono::steady_clock::now() < deadline;
    }
    name_.clear();
    return in_time;
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::size_t watchers_ = 0;
  std::string name_;
  std::set<const void*> told_;
};

class Publisher final : public Actor {
 public:
  Publisher(Stage& stage, std::shared_ptr<Meeting> meeting)
      : Actor(stage, "publisher", false), meeting_(std::move(meeting)) {}

 protected:
  Result<void> step(Dice& dice) override {
    const Order order = kOrders[dice.below(kOrders.size())];
    const bool kept = !dice.one_in(4);
    // Names are reused at once; but what is told of one that nobody waited for may come when it is another's already.
    const std::string name = (kept ? "kept-" : "fleeting-") + std::to_string(dice.below(4));
    // `ip` costs ten times the others, and takes its own time to load.
    if (order == Order::ip && !dice.one_in(8)) return {};
    if (kept) meeting_->announce(meeting_->places.called(order, name));
    const auto published = publish(meeting_->places, order, name);
    if (published && kept && !meeting_->wait_for_all(stage_.stop)) {
      broken("ready", std::string("a name was not told of within 20 s (") + to_string(order) + ")");
    }
    auto done = published ? unpublish(meeting_->places, order, name) : missing(published.error(), order);
    if (!published || !done) wipe(meeting_->places, order, name);
    return done;
  }

 private:
  Result<void> missing(const Error& error, Order order) {
    if (order != Order::ip || error.code != Errc::not_found) return std::unexpected(error);
    stage_.ledger.not_tried("names by `ip netns add`: there is no ip(8)");
    return {};
  }
  std::shared_ptr<Meeting> meeting_;
};

class Watcher final : public Actor {
 public:
  Watcher(Stage& stage, std::string name, Registry registry, std::shared_ptr<Meeting> meeting)
      : Actor(stage, std::move(name), false), registry_(std::move(registry)), meeting_(std::move(meeting)) {}
  [[nodiscard]] bool follows() const override { return true; }

 protected:
  Result<void> step(Dice& /*dice*/) override {
    auto events = registry_.wait(200ms);
    if (!events) return pass(std::move(events));
    for (const RegistryEvent& event : *events) {
      check_pair(event);
      if (event.kind != RegistryEvent::Kind::ready || !meeting_->is_kept(event.name)) continue;
      check_ready(event);
      meeting_->tell(event.name, this);
    }
    return {};
  }

 private:
  /// Its publisher waits for us: the name must open, at once, and be what was told.
  void check_ready(const RegistryEvent& event) {
    const std::uint64_t epoch = stage_.ledger.scarcity();
    const auto opened = Netns::open(event.name);
    ++stage_.ledger.ready_checked;
    if (opened && opened->id() == event.id) return;
    if (!opened && stage_.ledger.was_scarce_since(epoch)) return;
    ++stage_.ledger.false_ready;
    broken("ready", event.name + " was told to be ready, but " +
                        (opened ? "is id " + std::to_string(opened->id()) : opened.error().message));
  }

  /// A namespace becomes ready once, then gone once.
  void check_pair(const RegistryEvent& event) {
    if (event.kind == RegistryEvent::Kind::ready && !alive_.insert(event.id).second) {
      broken("ready", "namespace id " + std::to_string(event.id) + " was told to be ready twice");
    }
    if (event.kind == RegistryEvent::Kind::gone && alive_.erase(event.id) != 1) {
      broken("ready", "namespace id " + std::to_string(event.id) + " was told to be gone and never was there");
    }
  }

  Registry registry_;
  std::shared_ptr<Meeting> meeting_;
  std::set<std::uint64_t> alive_;
};

}  // namespace

Result<std::vector<std::unique_ptr<Actor>>> make_publisher_and_watchers(Stage& stage, const std::string& folder) {
  std::vector<std::unique_ptr<Actor>> actors;
  const auto meeting = std::make_shared<Meeting>(NamePlaces{folder + "/names", folder + "/store"});
  for (const auto& [source, word] :
       {std::pair(RegistrySource::mount_events, "mount events"), std::pair(RegistrySource::mountinfo, "mountinfo"),
        std::pair(RegistrySource::directories, "directories")}) {
    auto registry = Registry::open({.source = source, .directories = {meeting->places.names, "/run/netns"}});
    if (!registry) {
      if (registry.error().code != Errc::unsupported) return pass(std::move(registry));
      stage.ledger.not_tried(std::string("names told by ") + word + ": " + registry.error().message);
      continue;
    }
    meeting->join();
    actors.push_back(
        std::make_unique<Watcher>(stage, std::string("watcher of ") + word, std::move(*registry), meeting));
  }
  actors.push_back(std::make_unique<Publisher>(stage, meeting));
  return actors;
}

}  // namespace weir::netns::torture
