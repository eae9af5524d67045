// What the kernel itself says of threads, sockets and namespace files: the library under torture is not asked.
#pragma once

#include <cstdint>
#include <optional>

namespace weir::netns::torture {

/// The id of the namespace in which a socket was made; nothing when the kernel does not say.
std::optional<std::uint64_t> of_socket(int socket);

/// The id of the namespace in which the calling thread is; nothing when there is no descriptor left to ask with.
std::optional<std::uint64_t> of_this_thread();

/// The id of the namespace that an open file stands for: NS_GET_ID. Nothing on kernels before 6.18.
std::optional<std::uint64_t> of_file(int fd);

}  // namespace weir::netns::torture
