#include "netns/reactor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

namespace weir::netns {

Result<std::unique_ptr<Reactor>> Reactor::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno(errno, "epoll_create1");
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return fail_errno(errno, "eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  return std::unique_ptr<Reactor>(new Reactor(std::move(epoll), std::move(wake)));
}

Result<void> Reactor::add(std::unique_ptr<Source> source, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = source.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, source->fd(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  source->slot_ = sources_.size();
  sources_.push_back(std::move(source));
  return {};
}

Result<void> Reactor::modify(const Source& source, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = const_cast<Source*>(&source);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, source.fd(), &event) != 0) return fail_errno(errno, "epoll_ctl");
  return {};
}

void Reactor::close(Source& source) noexcept {
  if (source.closed_) return;
  source.closed_ = true;
  // By hand, because a copy of the descriptor elsewhere would keep it in the set.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, source.fd(), nullptr);
  source.fd_.reset();
  const std::size_t slot = source.slot_;
  closed_.push_back(std::move(sources_[slot]));
  if (slot + 1 != sources_.size()) {
    sources_[slot] = std::move(sources_.back());
    sources_[slot]->slot_ = slot;
  }
  sources_.pop_back();
}

void Reactor::handle_one_namespace(std::span<const Visit> visits) {
  const auto all = [visits]() -> Result<void> {
    for (const Visit& visit : visits) {
      if (!visit.source->closed_) visit.source->ready(visit.events);
    }
    return {};
  };
  const auto first = std::ranges::find_if(visits, [](const Visit& visit) { return !visit.source->closed_; });
  if (first == visits.end()) return;
  if (auto visited = run_in(*first->source->visits_, all, Mode::by_thread); !visited) {
    for (const Visit& visit : visits) {
      if (visit.source->closed_) continue;
      visit.source->unreachable(visited.error());
      close(*visit.source);
    }
  }
}

void Reactor::handle_visits() {
  std::ranges::stable_sort(visits_, {}, &Visit::id);
  const std::span<const Visit> all(visits_);
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin + 1;
    while (end < all.size() && all[end].id == all[begin].id) ++end;
    handle_one_namespace(all.subspan(begin, end - begin));
    begin = end;
  }
  visits_.clear();
}

Result<std::size_t> Reactor::run_once(std::chrono::milliseconds at_most) {
  std::array<epoll_event, 512> events;
  const int got =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), static_cast<int>(at_most.count()));
  if (got < 0) {
    if (errno == EINTR) return 0;
    return fail_errno(errno, "epoll_wait");
  }
  for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(got))) {
    auto* source = static_cast<Source*>(event.data.ptr);
    if (source == nullptr) {
      std::uint64_t count = 0;
      [[maybe_unused]] const auto drained = ::read(wake_.get(), &count, sizeof count);
      stopped_ = true;
    } else if (source->closed_) {
      continue;
    } else if (source->visits_ != nullptr) {
      visits_.push_back({source->visits_->id(), source, event.events});
    } else {
      source->ready(event.events);
    }
  }
  handle_visits();
  closed_.clear();
  return static_cast<std::size_t>(got);
}

Result<void> Reactor::run() {
  while (!stopped_) {
    if (auto round = run_once(); !round) return pass(std::move(round));
  }
  stopped_ = false;
  return {};
}

void Reactor::stop() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
}

}  // namespace weir::netns
