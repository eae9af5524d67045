#include "bpf/map.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>

#include "bpf/log.h"

namespace weir::bpf {

namespace {

constexpr int kNotSupported = 524;  // the kernel's internal ENOTSUPP, which bpf(2) lets out for missing map operations
constexpr std::uint32_t kBatch = 256;

bool is_per_cpu(std::uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

}  // namespace

Result<std::size_t> possible_cpus() {
  const int count = libbpf_num_possible_cpus();
  if (count < 0) return fail_errno(count, "cannot read /sys/devices/system/cpu/possible");
  return static_cast<std::size_t>(count);
}

Result<MapHandle> MapHandle::open(int fd, std::size_t key_bytes, std::size_t value_bytes, bool per_cpu) {
  bpf_map_info info{};
  std::uint32_t info_bytes = sizeof info;
  if (const int err = bpf_obj_get_info_by_fd(fd, &info, &info_bytes); err != 0) {
    return fail_errno(err, "cannot ask the kernel about a BPF map");
  }
  if (info.key_size != key_bytes || info.value_size != value_bytes || is_per_cpu(info.type) != per_cpu) {
    return fail(Errc::failed,
                fmt::format("BPF map {}: holds {}-byte keys and {}-byte {}values, not {} and {} {}", info.name,
                            info.key_size, info.value_size, is_per_cpu(info.type) ? "per-CPU " : "", key_bytes,
                            value_bytes, per_cpu ? "per CPU" : ""));
  }
  MapHandle handle;
  handle.fd_ = sys::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!handle.fd_.valid()) return fail_errno(errno, "cannot duplicate a BPF map's descriptor");
  handle.name_ = info.name;
  handle.key_bytes_ = key_bytes;
  handle.stride_ = value_bytes;
  handle.max_entries_ = info.max_entries;
  if (per_cpu) {
    const auto cpus = possible_cpus();
    if (!cpus) return std::unexpected(cpus.error());
    handle.values_per_key_ = *cpus;
    handle.stride_ = (value_bytes + 7) & ~std::size_t{7};
  }
  return handle;
}

Result<bool> MapHandle::lookup(const void* key, void* values) const {
  const int err = bpf_map_lookup_elem(fd_.get(), key, values);
  if (err == 0) return true;
  if (err == -ENOENT) return false;
  return fail_errno(err, "cannot read BPF map " + name_);
}

Result<void> MapHandle::update(const void* key, const void* values, std::uint64_t flags) const {
  if (const int err = bpf_map_update_elem(fd_.get(), key, values, flags); err != 0) {
    return fail_errno(err, "cannot write BPF map " + name_);
  }
  return {};
}

Result<bool> MapHandle::erase(const void* key) const {
  const int err = bpf_map_delete_elem(fd_.get(), key);
  if (err == 0) return true;
  if (err == -ENOENT) return false;
  return fail_errno(err, "cannot delete from BPF map " + name_);
}

Result<void> MapHandle::for_each(const Visitor& visit) const {
  auto batched = visit_batches(visit);
  if (!batched) return pass(std::move(batched));
  if (*batched) return {};
  return visit_keys(visit);
}

// False when this kernel or this type of map has no batches; nothing has been visited then.
Result<bool> MapHandle::visit_batches(const Visitor& visit) const {
  std::uint32_t room = std::min(kBatch, max_entries_);
  // The cursor is a hash bucket number or an array index: the kernel writes max(4, key size) bytes of it.
  std::vector<std::byte> cursor(std::max<std::size_t>(key_bytes_, 8));
  std::vector<std::byte> keys;
  std::vector<std::byte> values;
  bool started = false;
  for (;;) {
    keys.resize(room * key_bytes_);
    values.resize(room * entry_bytes());
    std::uint32_t count = room;
    // In and out cursor may be the same memory: the kernel reads the one before it writes the other.
    const int err = bpf_map_lookup_batch(fd_.get(), started ? cursor.data() : nullptr, cursor.data(), keys.data(),
                                         values.data(), &count, nullptr);
    if (err == -ENOSPC && room < max_entries_) {  // one hash bucket holds more than fits; nothing was taken
      room = std::min(room * 2, max_entries_);
      continue;
    }
    if (!started && (err == -EINVAL || err == -EOPNOTSUPP || err == -kNotSupported)) return false;
    if (err != 0 && err != -ENOENT) return fail_errno(err, "cannot read BPF map " + name_);
    for (std::uint32_t i = 0; i < count; ++i) visit(keys.data() + i * key_bytes_, values.data() + i * entry_bytes());
    if (err == -ENOENT) return true;
    started = true;
  }
}

Result<void> MapHandle::visit_keys(const Visitor& visit) const {
  std::vector<std::byte> key(key_bytes_);
  std::vector<std::byte> values(entry_bytes());
  // A key that is deleted under the walk sends it back to the start: the bound ends what could go on for ever.
  for (std::uint64_t step = 0; step < max_entries_; ++step) {
    const int err = bpf_map_get_next_key(fd_.get(), step == 0 ? nullptr : key.data(), key.data());
    if (err == -ENOENT) return {};
    if (err != 0) return fail_errno(err, "cannot walk BPF map " + name_);
    const auto found = lookup(key.data(), values.data());
    if (!found) return std::unexpected(found.error());
    if (*found) visit(key.data(), values.data());
  }
  return {};
}

namespace {

int forward(void* context, void* record, std::size_t bytes) {
  (*static_cast<RingHandle::Visitor*>(context))(record, bytes);
  return 0;
}

Result<std::size_t> count_or_error(int result) {
  if (result == -EINTR) return std::size_t{0};
  if (result < 0) return fail_errno(result, "cannot read a BPF ring buffer");
  return static_cast<std::size_t>(result);
}

}  // namespace

Result<RingHandle> RingHandle::open(int map_fd, Visitor visit) {
  LogCapture log;
  RingHandle handle;
  handle.visit_ = std::make_unique<Visitor>(std::move(visit));
  handle.ring_.reset(ring_buffer__new(map_fd, forward, handle.visit_.get(), nullptr));
  if (!handle.ring_) return std::unexpected(libbpf_error(errno, "cannot open a BPF ring buffer", log));
  return handle;
}

Result<std::size_t> RingHandle::poll(std::chrono::milliseconds timeout) {
  return count_or_error(ring_buffer__poll(ring_.get(), static_cast<int>(timeout.count())));
}

Result<std::size_t> RingHandle::consume() {
  return count_or_error(ring_buffer__consume(ring_.get()));
}

int RingHandle::epoll_fd() const {
  return ring_buffer__epoll_fd(ring_.get());
}

}  // namespace weir::bpf
