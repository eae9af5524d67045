// An array map with BPF_F_MMAPABLE, as memory that programs and this process share.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace weir::bpf {

/// T is the struct of the BPF object's ABI header, of a size that is a multiple of 8. Programs write meanwhile: what
/// must be read in order is read by std::atomic_ref.
template <class T>
class MappedArray {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);

 public:
  static Result<MappedArray> open(const bpf_map* map) { return open(bpf_map__fd(map)); }
  static Result<MappedArray> open(int fd) {
    bpf_map_info info{};
    std::uint32_t bytes = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &bytes) != 0) return fail_errno(errno, "cannot ask a BPF map");
    if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size != sizeof(T) || (info.map_flags & BPF_F_MMAPABLE) == 0)
      return fail(Errc::failed, "a BPF map is not what it is mapped as");
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t size = (info.max_entries * sizeof(T) + page - 1) / page * page;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return fail_errno(errno, "cannot map a BPF map");
    return MappedArray(static_cast<T*>(memory), info.max_entries, size);
  }
  MappedArray(MappedArray&& other) noexcept
      : rows_(std::exchange(other.rows_, nullptr)), count_(other.count_), bytes_(other.bytes_) {}
  MappedArray& operator=(MappedArray&& other) noexcept {
    std::swap(rows_, other.rows_);
    std::swap(count_, other.count_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  MappedArray(const MappedArray&) = delete;
  MappedArray& operator=(const MappedArray&) = delete;
  ~MappedArray() {
    if (rows_ != nullptr) ::munmap(rows_, bytes_);
  }

  [[nodiscard]] std::span<T> rows() const { return {rows_, count_}; }

 private:
  MappedArray(T* rows, std::size_t count, std::size_t bytes) : rows_(rows), count_(count), bytes_(bytes) {}
  T* rows_ = nullptr;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace weir::bpf
