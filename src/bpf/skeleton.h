// Skeleton<T>: owner of a BPF object that bpftool generated a skeleton for.
#pragma once

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/result.h"
#include "bpf/log.h"

namespace weir::bpf {

/// Move-only owner of a skeleton `T` (the C++ class in NAME.skel.h). The order of life:
///
///     auto skeleton = Skeleton<queues>::open();          // maps and typed rodata can be set now
///     skeleton->get().rodata->sample_mask = 63;          // `->rodata` through operator-> of the value as well
///     skeleton->load(); skeleton->attach();              // each returns a Result
///
/// Destruction detaches every link of the object and frees programs and maps, whatever state it is in. Errors carry the
/// end of libbpf's and the verifier's log as their hint (see libbpf_error()).
template <class T>
class [[nodiscard]] Skeleton {
 public:
  /// Parses the embedded object; nothing is in the kernel yet. `btf_path` replaces /sys/kernel/btf/vmlinux as the
  /// description of kernel types for CO-RE relocations; empty means the running kernel's own.
  static Result<Skeleton> open(const std::string& btf_path = {}) {
    LogCapture log;
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.btf_custom_path = btf_path.empty() ? nullptr : btf_path.c_str();
    T* raw = T::open(&options);
    if (raw == nullptr) return std::unexpected(libbpf_error(errno, "cannot open the BPF object", log));
    return Skeleton(raw);
  }

  /// Like open(), for an image that was changed: `prepare(T&)` makes the skeleton inside the zeroed object, points it
  /// to the image and returns 0 or an errno. The image must live until load() has returned.
  template <class Prepare>
  static Result<Skeleton> open_image(Prepare&& prepare, const std::string& btf_path = {}) {
    LogCapture log;
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.btf_custom_path = btf_path.empty() ? nullptr : btf_path.c_str();
    auto* raw = static_cast<T*>(std::calloc(1, sizeof(T)));  // T::destroy() frees it
    if (raw == nullptr) return fail_errno(ENOMEM, "cannot open the BPF object");
    Skeleton opened(raw);
    int err = prepare(*raw);
    if (err == 0) err = bpf_object__open_skeleton(raw->skeleton, &options);
    if (err != 0) return std::unexpected(libbpf_error(err, "cannot open the BPF object", log));
    return opened;
  }

  Skeleton(Skeleton&& other) noexcept : skeleton_(std::exchange(other.skeleton_, nullptr)) {}
  Skeleton& operator=(Skeleton&& other) noexcept {
    if (this != &other) {
      T::destroy(skeleton_);
      skeleton_ = std::exchange(other.skeleton_, nullptr);
    }
    return *this;
  }
  Skeleton(const Skeleton&) = delete;
  Skeleton& operator=(const Skeleton&) = delete;
  ~Skeleton() { T::destroy(skeleton_); }  // takes nullptr

  /// Creates maps and loads the programs whose autoload is on.
  Result<void> load() {
    LogCapture log;
    if (const int err = T::load(skeleton_); err != 0) {
      return std::unexpected(libbpf_error(err, "cannot load the BPF programs", log));
    }
    return {};
  }

  /// Attaches every loaded program whose section says where; on failure none stays attached.
  Result<void> attach() {
    LogCapture log;
    if (const int err = T::attach(skeleton_); err != 0) {
      T::detach(skeleton_);
      return std::unexpected(libbpf_error(err, "cannot attach the BPF programs", log));
    }
    return {};
  }

  /// Detaches what attach() attached; maps keep their contents.
  void detach() { T::detach(skeleton_); }

  [[nodiscard]] T& get() noexcept { return *skeleton_; }
  [[nodiscard]] T* operator->() noexcept { return skeleton_; }

 private:
  explicit Skeleton(T* raw) noexcept : skeleton_(raw) {}
  T* skeleton_;
};

}  // namespace weir::bpf
