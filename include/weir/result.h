// Result<T>: a value or an Error. Every function that can fail for a reason outside the program returns one;
// exceptions are left to bugs and to memory exhaustion.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <utility>

namespace weir {

/// What went wrong, in the classes a caller can act on; weir(8) maps them to its exit codes.
enum class Errc {
  failed,       ///< the operation failed for another reason (exit 1)
  usage,        ///< the caller's words are wrong: unknown device, bad option (exit 2)
  unsupported,  ///< this kernel cannot do it (exit 3)
  permission,   ///< this user may not do it (exit 3)
  not_found,    ///< the thing does not exist, or no longer does (exit 1; exit 2 when the user named it)
  busy,         ///< somebody else holds it (exit 1)
};

/// An error: its class, one clear line, optionally the errno behind it and a hint on what to do.
struct Error {
  Errc code = Errc::failed;
  std::string message;
  std::string hint;
  int sys_errno = 0;  ///< positive errno, 0 if none

  /// "context: message", keeping class, hint and errno.
  [[nodiscard]] Error with_context(const std::string& context) && {
    message = context + ": " + message;
    return std::move(*this);
  }
  [[nodiscard]] Error with_hint(std::string text) && {
    hint = std::move(text);
    return std::move(*this);
  }
};

/// A value of T or an Error; a dropped one is a compile error (nodiscard on the type itself).
template <class T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
};

/// What a failing function returns: `return fail(Errc::usage, "…")`.
[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string message, std::string hint = {}) {
  return std::unexpected(Error{code, std::move(message), std::move(hint), 0});
}

/// The one border where errno signs are normalised: takes -EINVAL (kernel, libbpf) as well as EINVAL (libc).
/// EPERM and EACCES become Errc::permission, ENOENT/ENODEV/ESRCH/ENXIO Errc::not_found, EBUSY Errc::busy,
/// EOPNOTSUPP/ENOSYS Errc::unsupported.
[[nodiscard]] Error errno_error(int err, const std::string& context);

/// errno_error() ready to return.
[[nodiscard]] inline std::unexpected<Error> fail_errno(int err, const std::string& context) {
  return std::unexpected(errno_error(err, context));
}

/// Passes the error of another Result on, with context in front.
template <class T>
[[nodiscard]] std::unexpected<Error> pass(Result<T>&& result, const std::string& context = {}) {
  Error error = std::move(result).error();
  if (!context.empty()) error = std::move(error).with_context(context);
  return std::unexpected(std::move(error));
}

}  // namespace weir
