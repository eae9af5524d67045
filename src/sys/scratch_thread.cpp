#include "sys/scratch_thread.h"

#include <pthread.h>

#include <csignal>
#include <exception>
#include <system_error>
#include <thread>

namespace weir::sys {

namespace {
/// Blocks every signal on this thread; a thread started meanwhile inherits that.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};
}  // namespace

Result<void> on_scratch_thread(const std::function<Result<void>()>& body) {
  Result<void> result;
  std::exception_ptr thrown;
  std::thread thread;
  try {
    const SignalsBlocked blocked;
    thread = std::thread([&] {
      try {
        result = body();
      } catch (...) {
        thrown = std::current_exception();
      }
    });
  } catch (const std::system_error& error) {
    return fail_errno(error.code().value(), "starting a thread");
  }
  thread.join();
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

}  // namespace weir::sys
