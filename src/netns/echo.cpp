#include "netns/echo.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace weir::netns {

class EchoService::Listener final : public Source {
 public:
  Listener(EchoService& service, Fd fd, std::string greeting)
      : Source(std::move(fd)), service_(service), greeting_(std::move(greeting)) {}
  void ready(std::uint32_t /*events*/) override { service_.accept(fd(), greeting_); }

 private:
  EchoService& service_;
  std::string greeting_;
};

class EchoService::Connection final : public Source {
 public:
  Connection(EchoService& service, Fd fd) : Source(std::move(fd)), service_(service) {}

  void ready(std::uint32_t /*events*/) override {
    if (!unsent_.empty()) {
      send(std::exchange(unsent_, {}));
      return;
    }
    const ssize_t got = ::recv(fd(), service_.buffer_.data(), service_.buffer_.size(), 0);
    if (got > 0) {
      send({service_.buffer_.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      service_.reactor_.close(*this);
    }
  }

  /// Sends; what the socket does not take is kept, and nothing is read until it is gone.
  void send(std::string_view text) {
    const ssize_t sent = ::send(fd(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return service_.reactor_.close(*this);
    text.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
    const bool was_waiting = std::exchange(waiting_, !text.empty());
    unsent_ = text;
    if (waiting_ == was_waiting) return;
    if (!service_.reactor_.modify(*this, waiting_ ? EPOLLOUT : EPOLLIN)) service_.reactor_.close(*this);
  }

 private:
  EchoService& service_;
  std::string unsent_;
  bool waiting_ = false;
};

void EchoService::accept(int listener, const std::string& greeting) {
  constexpr int kMostAtOnce = 64;  // others wait too
  for (int i = 0; i < kMostAtOnce; ++i) {
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE) refuse_one(listener);
      return;  // none left, or one that was taken back by its client
    }
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_unique<Connection>(*this, std::move(fd));
    Connection& made = *connection;
    if (!reactor_.add(std::move(connection), EPOLLIN)) continue;
    ++accepted_;
    if (!greeting.empty()) made.send(greeting);
  }
}

void EchoService::refuse_one(int listener) {
  reserve_.reset();
  Fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)).reset();
  reserve_ = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

Result<Endpoint> EchoService::serve(const Netns& ns, const Endpoint& endpoint, std::string greeting,
                                    const ListenOptions& options) {
  if (!reserve_.valid()) reserve_ = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto socket = listen(ns, endpoint, options);
  if (!socket) return pass(std::move(socket));
  auto bound = local_endpoint(socket->get());
  if (!bound) return bound;
  auto added = reactor_.add(std::make_unique<Listener>(*this, std::move(*socket), std::move(greeting)), EPOLLIN);
  if (!added) return pass(std::move(added));
  return bound;
}

}  // namespace weir::netns
