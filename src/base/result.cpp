#include "base/result.h"

#include <cstdlib>
#include <cstring>

namespace weir {

namespace {
Errc class_of(int err) {
  switch (err) {
    case EPERM:
    case EACCES:
      return Errc::permission;
    case ENOENT:
    case ENODEV:
    case ESRCH:
    case ENXIO:
      return Errc::not_found;
    case EBUSY:
    case EAGAIN:
      return Errc::busy;
    case EOPNOTSUPP:
    case ENOSYS:
      return Errc::unsupported;
    default:
      return Errc::failed;
  }
}
}  // namespace

Error errno_error(int err, const std::string& context) {
  const int positive = std::abs(err);
  return Error{class_of(positive), context + ": " + std::strerror(positive), {}, positive};
}

}  // namespace weir
