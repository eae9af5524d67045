// Threads that go elsewhere and come back, and what becomes of those that cannot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <memory>

#include "support/netns_fixture.h"

namespace weir::netns {
namespace {

using test::in_child;
using test::kernel_here;
using ::testing::HasSubstr;

class NetnsScope : public test::NetnsFixture {};

TEST_F(NetnsScope, NestsAndReturnsStepByStep) {
  const Netns a = make();
  const Netns b = make();
  {
    const auto outer = Scope::enter(a);
    ASSERT_TRUE(outer);
    EXPECT_EQ(kernel_here(), a.id());
    {
      const auto same = Scope::enter(a);
      ASSERT_TRUE(same);
      const auto inner = Scope::enter(b, Mode::sticky);
      ASSERT_TRUE(inner);
      EXPECT_EQ(kernel_here(), b.id());
      const Netns home = value(Netns::home());
      const auto innermost = Scope::enter(home);
      ASSERT_TRUE(innermost);
      EXPECT_EQ(kernel_here(), home_);
    }
    EXPECT_EQ(kernel_here(), a.id()) << "a sticky scope inside another is strict";
  }
  EXPECT_EQ(kernel_here(), home_);
}

TEST_F(NetnsScope, AnExceptionBringsTheThreadHome) {
  const Netns a = make();
  const Netns b = make();
  const auto thrower = [&]() -> Result<void> {
    const auto inner = Scope::enter(b);
    EXPECT_EQ(kernel_here(), b.id());
    throw std::runtime_error("bug");
  };
  EXPECT_THROW(static_cast<void>(run_in(a, thrower)), std::runtime_error);
  EXPECT_EQ(kernel_here(), home_);
}

TEST_F(NetnsScope, AStickyThreadStaysAndStrictVisitsGoHome) {
  const Netns a = make();
  const Netns b = make();
  std::thread([&] {
    ASSERT_TRUE(run_in(
        a, []() -> Result<void> { return {}; }, Mode::sticky));
    EXPECT_EQ(kernel_here(), a.id());
    ASSERT_TRUE(run_in(a, []() -> Result<void> { return {}; }));
    EXPECT_EQ(kernel_here(), a.id()) << "nothing was switched, so nothing is to be switched back";
    ASSERT_TRUE(run_in(b, []() -> Result<void> { return {}; }));
    EXPECT_EQ(kernel_here(), home_);
    EXPECT_EQ(value(Netns::home()).id(), home_);
  }).join();
}

TEST_F(NetnsScope, AStickyThreadOutlivesTheHandleOfWhereItIs) {
  const Netns b = make();
  std::thread([&] {
    std::uint64_t id = 0;
    {
      const Netns a = make();
      id = a.id();
      ASSERT_TRUE(run_in(
          a, []() -> Result<void> { return {}; }, Mode::sticky));
    }
    EXPECT_EQ(kernel_here(), id);
    ASSERT_TRUE(run_in(b, [&]() -> Result<void> {
      EXPECT_EQ(kernel_here(), b.id());
      return {};
    }));
    EXPECT_EQ(kernel_here(), home_);
  }).join();
}

TEST_F(NetnsScope, WorkersAreStickyAndBeginAtHome) {
  const Netns a = make();
  std::uint64_t began = 0;
  std::uint64_t stayed = 0;
  std::thread worker;
  ASSERT_TRUE(run_in(a, [&]() -> Result<void> {
    worker = value(start_worker([&] {
      began = kernel_here();
      const auto socket = open_socket(a, AF_INET, SOCK_DGRAM, 0);
      stayed = kernel_here();
    }));
    EXPECT_EQ(kernel_here(), a.id());
    return {};
  }));
  worker.join();
  EXPECT_EQ(began, home_);
  EXPECT_EQ(stayed, a.id());
}

TEST_F(NetnsScope, AHandleThatWasMovedFromCannotBeEntered) {
  Netns a = make();
  const Netns taken = std::move(a);
  bool ran = false;
  const auto visit = run_in(a, [&]() -> Result<void> {
    ran = true;
    return {};
  });
  EXPECT_FALSE(visit);
  EXPECT_FALSE(ran);
}

TEST_F(NetnsScope, ResyncLearnsOfAStrangersSwitch) {
  const Netns a = make();
  const Netns b = make();
  std::thread([&] {
    ASSERT_TRUE(open_socket(b, AF_INET, SOCK_DGRAM, 0));
    ASSERT_EQ(::setns(a.fd(), CLONE_NEWNET), 0);
    ASSERT_TRUE(resync());
    EXPECT_EQ(value(Netns::home()), a) << "where other code put it is where it belongs";
    const auto socket = open_socket(b, AF_INET, SOCK_DGRAM, 0);
    ASSERT_TRUE(socket);
    EXPECT_EQ(test::cookie_of(socket->get()), b.id());
    EXPECT_EQ(kernel_here(), a.id());
  }).join();
}

TEST_F(NetnsScope, TheAuditCatchesASocketOfAnotherNamespace) {
  const Netns a = make();
  const Netns home = value(Netns::home());
  set_audit_interval(1);
  std::thread([&] {
    ASSERT_TRUE(open_socket(a, AF_INET, SOCK_DGRAM, 0));
    ASSERT_EQ(::setns(a.fd(), CLONE_NEWNET), 0);
    const auto wrong = open_socket(home, AF_INET, SOCK_DGRAM, 0);
    ASSERT_FALSE(wrong);
    EXPECT_THAT(wrong.error().message, HasSubstr("came out in"));
    EXPECT_THAT(wrong.error().hint, HasSubstr("resync"));
    const auto right = open_socket(home, AF_INET, SOCK_DGRAM, 0);
    ASSERT_TRUE(right) << right.error().message;
    EXPECT_EQ(test::cookie_of(right->get()), home.id());
  }).join();
}

TEST_F(NetnsScope, AForkedChildKeepsItsBearings) {
  const Netns a = make();
  const Netns b = make();
  const auto scope = Scope::enter(a);
  ASSERT_TRUE(scope);
  EXPECT_EQ(in_child([&] {
              const auto socket = open_socket(b, AF_INET, SOCK_DGRAM, 0);
              return socket && test::cookie_of(socket->get()) == b.id() && kernel_here() == a.id() ? 0 : 1;
            }),
            0);
}

TEST_F(NetnsScope, AThreadComesHomeThoughTheDescriptorOfHomeIsClosed) {
  const Netns a = make();
  EXPECT_EQ(in_child([&] {
              for (int i = 0; i < 3; ++i) {
                const auto done = run_in(a, [&]() -> Result<void> {
                  const auto mine = test::descriptors_of(home_);
                  ::close(*mine.begin());
                  return {};
                });
                if (!done || kernel_here() != home_) return 1;
              }
              return 0;
            }),
            0);
}

TEST_F(NetnsScope, AThreadComesHomeThoughTheDescriptorOfHomeBecameAnothersNamespace) {
  const Netns a = make();
  const Netns b = make();
  EXPECT_EQ(in_child([&] {
              set_audit_interval(1);
              const auto done = run_in(a, [&]() -> Result<void> {
                ::dup2(b.fd(), *test::descriptors_of(home_).begin());
                return {};
              });
              return done && kernel_here() == home_ ? 0 : 1;
            }),
            0);
}

TEST_F(NetnsScope, AForeignThreadThatIsLostIsHandedToTheHandler) {
  const Netns a = make();
  EXPECT_EQ(in_child([&] {
              set_quarantine_handler([](const Error& why) { ::_exit(why.message.empty() ? 1 : 42); });
              static_cast<void>(run_in(a, []() -> Result<void> {
                ::close_range(3, ~0U, 0);
                return {};
              }));
              return 2;
            }),
            42);
}

TEST_F(NetnsScope, AWorkerThatIsLostEndsAndTheProcessLives) {
  const Netns a = make();
  EXPECT_EQ(in_child([&] {
              bool went_on = false;
              bool unwound = false;
              auto worker = start_worker([&] {
                const std::unique_ptr<bool, void (*)(bool*)> guard(&unwound, [](bool* done) { *done = true; });
                static_cast<void>(run_in(
                    a,
                    []() -> Result<void> {
                      ::close_range(3, ~0U, 0);
                      return {};
                    },
                    Mode::strict));
                went_on = true;
              });
              if (!worker) return 1;
              worker->join();
              return !went_on && unwound && kernel_here() == home_ ? 0 : 2;
            }),
            0);
}

TEST_F(NetnsScope, AScopeThatEndsOnAnotherThreadEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto migrate = [] {
    const auto ns = Netns::create();
    if (!ns) return;
    auto* scope = new Result<Scope>(Scope::enter(*ns));
    std::thread([scope] { delete scope; }).join();
  };
  EXPECT_DEATH(migrate(), "another thread");
}

TEST_F(NetnsScope, ManyThreadsGoManyPlaces) {
  constexpr int kThreads = 4;
  constexpr int kVisits = 500;
  std::vector<Netns> places;
  for (int i = 0; i < 8; ++i) places.push_back(make());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kVisits; ++i) {
        const Netns& there = places[static_cast<std::size_t>(i * (thread + 1)) % places.size()];
        const auto socket = open_socket(there, AF_INET, SOCK_DGRAM, 0, i % 3 == 0 ? Mode::sticky : Mode::strict);
        ASSERT_TRUE(socket);
        ASSERT_EQ(test::cookie_of(socket->get()), there.id());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace weir::netns
