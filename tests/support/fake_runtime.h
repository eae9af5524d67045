// The API socket of a container runtime that says what a test wants.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "sys/fd.h"

namespace weir::test {

/// A runtime that answers each request by what `answer` makes of it; an empty answer keeps the asker waiting.
class FakeRuntime {
 public:
  explicit FakeRuntime(std::function<std::string(const std::string&)> answer)
      : folder_(std::filesystem::temp_directory_path() / ("weir-runtime-" + std::to_string(getpid()))),
        socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    std::filesystem::create_directory(folder_);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket_.get(), 8), 0);
    thread_ = std::thread([this, answer = std::move(answer)] { serve(answer); });
  }
  FakeRuntime(const FakeRuntime&) = delete;
  FakeRuntime& operator=(const FakeRuntime&) = delete;
  ~FakeRuntime() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  [[nodiscard]] std::string path() const { return folder_ / "api.sock"; }
  [[nodiscard]] int requests() const { return requests_; }

 private:
  void serve(const std::function<std::string(const std::string&)>& answer) {
    std::vector<sys::Fd> kept;
    for (;;) {
      sys::Fd peer(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer.valid()) return;
      std::array<char, 4096> request{};
      const ssize_t got = ::read(peer.get(), request.data(), request.size());
      ++requests_;
      const std::string said = answer(std::string(request.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
      if (said.empty())
        kept.push_back(std::move(peer));
      else
        static_cast<void>(::send(peer.get(), said.data(), said.size(), MSG_NOSIGNAL));
    }
  }
  std::filesystem::path folder_;
  sys::Fd socket_;
  std::atomic<int> requests_ = 0;
  std::thread thread_;
};

}  // namespace weir::test
