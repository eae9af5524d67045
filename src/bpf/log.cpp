#include "bpf/log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/text.h"

namespace weir::bpf {

namespace {

// The verifier's log of a large program runs to megabytes; its end names the fault.
constexpr std::size_t kMaxLogBytes = 1U << 20;

thread_local LogCapture* innermost = nullptr;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (innermost == nullptr || level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, arguments);
  if (length > 0) {
    std::string line(static_cast<std::size_t>(length) + 1, '\0');
    std::vsnprintf(line.data(), line.size(), format, again);
    line.pop_back();
    innermost->append(line);
  }
  va_end(again);
  return 0;
}

bool says_something(std::string_view line) {
  return !trim(line).empty() && line.find("-- BEGIN PROG LOAD LOG --") == line.npos &&
         line.find("-- END PROG LOAD LOG --") == line.npos && !line.starts_with("processed ") &&
         line.find("failed to load object") == line.npos && line.find("failed to load BPF skeleton") == line.npos;
}

bool names_missing_btf(const std::string& log) {
  return log.find("kernel BTF is missing") != log.npos || log.find("failed to find valid kernel BTF") != log.npos ||
         log.find("Error loading vmlinux BTF") != log.npos || log.find("vmlinux BTF is not found") != log.npos ||
         log.find("failed to parse target BTF") != log.npos || log.find("unable to find kernel BTF") != log.npos;
}

}  // namespace

LogCapture::LogCapture() : outer_(innermost) {
  static std::once_flag once;
  std::call_once(once, [] { libbpf_set_print(collect); });
  innermost = this;
}

LogCapture::~LogCapture() {
  innermost = outer_;
}

void LogCapture::append(std::string_view more) {
  text_ += more;
  if (text_.size() > 2 * kMaxLogBytes) text_.erase(0, text_.size() - kMaxLogBytes);
}

std::string LogCapture::tail(std::size_t lines) const {
  std::vector<std::string_view> kept;
  for (const std::string_view line : split(text_, '\n')) {
    if (says_something(line)) kept.push_back(trim(line));
  }
  std::string result;
  for (std::size_t i = kept.size() > lines ? kept.size() - lines : 0; i < kept.size(); ++i) {
    if (!result.empty()) result += '\n';
    result += kept[i];
  }
  return result;
}

Error libbpf_error(int err, const std::string& what, const LogCapture& log) {
  Error error = errno_error(err, what);
  if (names_missing_btf(log.text())) {
    error.code = Errc::unsupported;
    error.message = what + ": this kernel offers no type information (BTF)";
    error.hint = "a kernel built with CONFIG_DEBUG_INFO_BTF is needed: /sys/kernel/btf/vmlinux";
    return error;
  }
  if (error.code == Errc::permission) error.hint = "needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN";
  if (const std::string tail = log.tail(); !tail.empty()) {
    if (!error.hint.empty()) error.hint += '\n';
    error.hint += tail;
  }
  return error;
}

}  // namespace weir::bpf
