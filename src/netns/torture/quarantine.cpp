#include "netns/torture/quarantine.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>

#include "netns/netns.h"
#include "netns/torture/ledger.h"

namespace weir::netns::torture {

namespace {

std::atomic<Ledger*> watching{nullptr};
thread_local bool expected = false;

void quarantined(const Error& why) {
  if (Ledger* ledger = watching.load(); ledger != nullptr && !expected) {
    ledger->broken({"home", "a foreign thread", 0, "was lost: " + why.message});
  }
  ::pthread_exit(nullptr);
}

}  // namespace

Result<void> forbid_setns(int fd, bool only_this_one) {
  constexpr unsigned kNumber = offsetof(seccomp_data, nr);
  constexpr unsigned kFirst = offsetof(seccomp_data, args) + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
  const unsigned char when_equal = only_this_one ? 1 : 0;
  std::array<sock_filter, 6> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setns, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFirst),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(fd), when_equal,
               static_cast<unsigned char>(1 - when_equal)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  }};
  const sock_fprog filter{program.size(), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(errno, "PR_SET_NO_NEW_PRIVS");
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) return fail_errno(errno, "seccomp");
  return {};
}

void watch_quarantine(Ledger* ledger) {
  watching = ledger;
  set_quarantine_handler(ledger == nullptr ? nullptr : quarantined);
}

void expect_quarantine() {
  expected = true;
}

}  // namespace weir::netns::torture
