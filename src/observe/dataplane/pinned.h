// The pins of a data plane: what is there, whether it fits, and how it comes to a new owner.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/pin_folder.h"
#include "observe/dataplane/dataplane.h"

namespace weir::observe {

/// The value of the map "record" among the pins.
struct PinRecord {
  std::uint64_t magic = 0;
  std::uint64_t layout = 0;  ///< layout_hash() of the object
  std::uint64_t image = 0;   ///< hash of its code and settings
  std::uint64_t generation = 0;
  std::uint64_t id = 0;  ///< of the maps
};

class PinnedPlane {
 public:
  /// `layout` and `image` are those of the object that wants to be pinned here.
  static Result<PinnedPlane> open(const std::string& directory, std::uint64_t layout, std::uint64_t image);

  [[nodiscard]] const PinNews& news() const { return news_; }
  /// Of the programs that will count: those that are there, or the next.
  [[nodiscard]] std::uint64_t generation() const { return wanted_.generation; }

  /// The object, which is not loaded yet, gets the maps that are pinned.
  [[nodiscard]] Result<void> reuse_maps(bpf_object* object) const;
  /// The links of the programs that count. Errc::not_found when one is not there any more.
  [[nodiscard]] Result<std::vector<sys::Fd>> links(const bpf_object* object) const;
  /// Pins all maps of a loaded object and these links, by their programs' names.
  Result<void> pin(const bpf_object* object, const std::vector<const bpf_link*>& links,
                   const std::vector<const char*>& names);
  /// What was pinned counts from now on, if anything was.
  Result<void> commit();
  /// What was there before goes.
  Result<void> remove_older() { return folder_.remove_older(); }

 private:
  explicit PinnedPlane(bpf::PinFolder folder) : folder_(std::move(folder)) {}
  Result<void> look(std::uint64_t layout, std::uint64_t image);
  Result<void> pin_record();

  bpf::PinFolder folder_;
  PinRecord wanted_;
  PinNews news_;
};

}  // namespace weir::observe
