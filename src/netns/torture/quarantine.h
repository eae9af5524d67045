// Threads whose setns(2) fails, and threads that are lost on purpose.
#pragma once

#include "base/result.h"

namespace weir::netns::torture {

class Ledger;

/// From now on setns(2) of the calling thread, and of no other, fails with EPERM: for the descriptor `fd` only, or for
/// every one but `fd`. Cannot be taken back.
Result<void> forbid_setns(int fd, bool only_this_one);

/// Whom the library's quarantine is to tell of threads that cannot come home; nullptr: nobody any more.
void watch_quarantine(Ledger* ledger);

/// The calling thread is about to be lost: that is no broken invariant.
void expect_quarantine();

}  // namespace weir::netns::torture
