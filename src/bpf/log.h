// What libbpf and the verifier say, kept for the error that needs it instead of printed.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace weir::bpf {

/// Collects libbpf's messages of the calling thread for its lifetime. Nothing of libbpf is ever printed: the first
/// capture takes its print function over for the whole process, and messages outside any capture are dropped.
/// Captures nest; the innermost collects.
class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The last `lines` lines that say something: the verifier's statistics and libbpf's frame lines are left out.
  [[nodiscard]] std::string tail(std::size_t lines = 8) const;
  void append(std::string_view more);

 private:
  std::string text_;
  LogCapture* outer_;
};

/// The Error for a failed libbpf call: EPERM and EACCES of an unprivileged caller are Errc::permission with the
/// capabilities to have, a missing or unreadable kernel BTF is Errc::unsupported; the hint ends with the log's tail.
[[nodiscard]] Error libbpf_error(int err, const std::string& what, const LogCapture& log);

}  // namespace weir::bpf
