// Typed access to BPF maps and ring buffers from user space.
#pragma once

#include <bpf/libbpf.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sys/fd.h"

namespace weir::bpf {

/// Number of possible CPUs: how many values a per-CPU map holds for one key (/sys/devices/system/cpu/possible).
Result<std::size_t> possible_cpus();

/// The untyped part of a map: an own descriptor of it and what the kernel says about it. The map lives as long as any
/// descriptor, whatever becomes of the skeleton that made it.
class MapHandle {
 public:
  /// Takes a duplicate of `fd`; checks key and value size against the kernel's own information. `values_per_key` is 1
  /// for plain maps and possible_cpus() for per-CPU ones; a per-CPU map opened as a plain one is refused, and vice
  /// versa.
  static Result<MapHandle> open(int fd, std::size_t key_bytes, std::size_t value_bytes, bool per_cpu);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] std::uint32_t max_entries() const noexcept { return max_entries_; }
  [[nodiscard]] std::size_t values_per_key() const noexcept { return values_per_key_; }
  /// Bytes from one CPU's value to the next: the value size rounded up to 8; plain maps: the value size.
  [[nodiscard]] std::size_t stride() const noexcept { return stride_; }
  [[nodiscard]] std::size_t entry_bytes() const noexcept { return stride_ * values_per_key_; }

  /// False when there is no such key.
  Result<bool> lookup(const void* key, void* values) const;
  Result<void> update(const void* key, const void* values, std::uint64_t flags) const;
  /// False when there was no such key.
  Result<bool> erase(const void* key) const;

  using Visitor = std::function<void(const std::byte* key, const std::byte* values)>;
  /// Visits every entry once where the kernel reads in batches (hash since 5.6, array since 5.6, per-CPU array since
  /// 5.13); otherwise key by key, where an entry that is deleted meanwhile may be missed and the walk ends after
  /// max_entries steps. Entries that are added or removed during the walk may or may not be seen.
  Result<void> for_each(const Visitor& visit) const;

 private:
  MapHandle() = default;
  Result<bool> visit_batches(const Visitor& visit) const;
  Result<void> visit_keys(const Visitor& visit) const;

  sys::Fd fd_;
  std::string name_;
  std::size_t key_bytes_ = 0;
  std::size_t stride_ = 0;
  std::size_t values_per_key_ = 1;
  std::uint32_t max_entries_ = 0;
};

/// A map with one value a key. K and V are the structs of the BPF object's ABI header.
template <class K, class V>
class Map {
  static_assert(std::is_trivially_copyable_v<K> && std::is_trivially_copyable_v<V>);

 public:
  static Result<Map> open(int fd) {
    auto handle = MapHandle::open(fd, sizeof(K), sizeof(V), false);
    if (!handle) return pass(std::move(handle));
    return Map(*std::move(handle));
  }
  static Result<Map> open(const bpf_map* map) { return open(bpf_map__fd(map)); }

  /// Nothing when there is no such key.
  [[nodiscard]] Result<std::optional<V>> lookup(const K& key) const {
    V value;
    const auto found = handle_.lookup(&key, &value);
    if (!found) return std::unexpected(found.error());
    return *found ? std::optional<V>(value) : std::nullopt;
  }
  /// `flags`: BPF_ANY, BPF_NOEXIST, BPF_EXIST.
  Result<void> update(const K& key, const V& value, std::uint64_t flags = 0) const {
    return handle_.update(&key, &value, flags);
  }
  Result<bool> erase(const K& key) const { return handle_.erase(&key); }

  /// Calls `visit(const K&, const V&)` for every entry (see MapHandle::for_each()).
  template <class Visit>
  Result<void> for_each(Visit&& visit) const {
    return handle_.for_each([&visit](const std::byte* raw_key, const std::byte* raw_value) {
      K key;
      V value;
      std::memcpy(&key, raw_key, sizeof key);
      std::memcpy(&value, raw_value, sizeof value);
      visit(std::as_const(key), std::as_const(value));
    });
  }
  [[nodiscard]] Result<std::vector<std::pair<K, V>>> read_all() const {
    std::vector<std::pair<K, V>> entries;
    const auto done = for_each([&entries](const K& key, const V& value) { entries.emplace_back(key, value); });
    if (!done) return std::unexpected(done.error());
    return entries;
  }

  [[nodiscard]] int fd() const noexcept { return handle_.fd(); }
  [[nodiscard]] std::uint32_t max_entries() const noexcept { return handle_.max_entries(); }

 private:
  explicit Map(MapHandle handle) : handle_(std::move(handle)) {}
  MapHandle handle_;
};

/// A map with one value for each possible CPU a key.
template <class K, class V>
class PerCpuMap {
  static_assert(std::is_trivially_copyable_v<K> && std::is_trivially_copyable_v<V>);

 public:
  static Result<PerCpuMap> open(int fd) {
    auto handle = MapHandle::open(fd, sizeof(K), sizeof(V), true);
    if (!handle) return pass(std::move(handle));
    return PerCpuMap(*std::move(handle));
  }
  static Result<PerCpuMap> open(const bpf_map* map) { return open(bpf_map__fd(map)); }

  /// The values of all possible CPUs, by CPU number; empty when there is no such key.
  [[nodiscard]] Result<std::vector<V>> lookup(const K& key) const {
    std::vector<std::byte> raw(handle_.entry_bytes());
    const auto found = handle_.lookup(&key, raw.data());
    if (!found) return std::unexpected(found.error());
    std::vector<V> values;
    if (*found) unpack(raw.data(), values);
    return values;
  }
  /// Sets the same value on every CPU.
  Result<void> update(const K& key, const V& value, std::uint64_t flags = 0) const {
    std::vector<std::byte> raw(handle_.entry_bytes());
    for (std::size_t cpu = 0; cpu < handle_.values_per_key(); ++cpu) {
      std::memcpy(raw.data() + cpu * handle_.stride(), &value, sizeof value);
    }
    return handle_.update(&key, raw.data(), flags);
  }
  Result<bool> erase(const K& key) const { return handle_.erase(&key); }

  /// Calls `visit(const K&, std::span<const V> by_cpu)` for every entry; the span lives for the call only.
  template <class Visit>
  Result<void> for_each(Visit&& visit) const {
    std::vector<V> values;
    return handle_.for_each([&](const std::byte* raw_key, const std::byte* raw_values) {
      K key;
      std::memcpy(&key, raw_key, sizeof key);
      unpack(raw_values, values);
      visit(std::as_const(key), std::span<const V>(values));
    });
  }

  [[nodiscard]] int fd() const noexcept { return handle_.fd(); }
  [[nodiscard]] std::uint32_t max_entries() const noexcept { return handle_.max_entries(); }

 private:
  explicit PerCpuMap(MapHandle handle) : handle_(std::move(handle)) {}
  void unpack(const std::byte* raw, std::vector<V>& values) const {
    values.resize(handle_.values_per_key());
    for (std::size_t cpu = 0; cpu < values.size(); ++cpu) {
      std::memcpy(&values[cpu], raw + cpu * handle_.stride(), sizeof(V));
    }
  }
  MapHandle handle_;
};

/// The untyped part of a ring buffer reader.
class RingHandle {
 public:
  using Visitor = std::function<void(const void* record, std::size_t bytes)>;
  /// `visit` must not throw: it is called through libbpf's C code.
  static Result<RingHandle> open(int map_fd, Visitor visit);

  /// Waits until there are records or the time is over, then consumes; returns how many. A signal ends the wait with 0.
  Result<std::size_t> poll(std::chrono::milliseconds timeout);
  /// Consumes what is there without waiting.
  Result<std::size_t> consume();
  /// Readable when there are records: for a reactor of the caller.
  [[nodiscard]] int epoll_fd() const;

 private:
  struct Free {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  };
  RingHandle() = default;
  std::unique_ptr<Visitor> visit_;  // the ring keeps its address
  std::unique_ptr<ring_buffer, Free> ring_;
};

/// Reader of a BPF_MAP_TYPE_RINGBUF whose records begin with an E.
template <class E>
class RingReader {
  static_assert(std::is_trivially_copyable_v<E>);

 public:
  /// `visit(const E&, std::span<const std::byte> rest)`: the record and what follows the E in it. It must not throw.
  template <class Visit>
  static Result<RingReader> open(const bpf_map* map, Visit visit) {
    auto short_records = std::make_unique<std::uint64_t>(0);
    auto handle = RingHandle::open(bpf_map__fd(map), [visit = std::move(visit), lost = short_records.get()](
                                                         const void* record, std::size_t bytes) {
      if (bytes < sizeof(E)) {
        ++*lost;
        return;
      }
      E event;
      std::memcpy(&event, record, sizeof event);
      visit(std::as_const(event), std::span(static_cast<const std::byte*>(record), bytes).subspan(sizeof(E)));
    });
    if (!handle) return pass(std::move(handle));
    return RingReader(*std::move(handle), std::move(short_records));
  }

  Result<std::size_t> poll(std::chrono::milliseconds timeout) { return handle_.poll(timeout); }
  Result<std::size_t> consume() { return handle_.consume(); }
  [[nodiscard]] int epoll_fd() const { return handle_.epoll_fd(); }
  /// Records that were too short to be an E: a bug of the BPF side, counted instead of misread.
  [[nodiscard]] std::uint64_t short_records() const noexcept { return *short_records_; }

 private:
  RingReader(RingHandle handle, std::unique_ptr<std::uint64_t> short_records)
      : handle_(std::move(handle)), short_records_(std::move(short_records)) {}
  RingHandle handle_;
  std::unique_ptr<std::uint64_t> short_records_;
};

}  // namespace weir::bpf
