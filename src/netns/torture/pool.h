// The namespaces that all actors share. A slot's namespace is replaced while others visit the one that it held.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "netns/netns.h"
#include "netns/torture/ledger.h"

namespace weir::netns::torture {

/// A namespace with what is known of it from elsewhere.
struct Tenant {
  Netns ns;
  std::uint64_t id = 0;  ///< as the kernel says it, not the library
  std::string name;      ///< under /run/netns; empty: it has none
  std::string mark;      ///< what its net.ipv4.ip_default_ttl was set to
};

using TenantPtr = std::shared_ptr<const Tenant>;

class Pool {
 public:
  explicit Pool(std::size_t slots) : slots_(slots) {}

  [[nodiscard]] std::size_t size() const { return slots_.size(); }
  [[nodiscard]] TenantPtr at(std::size_t slot) const;
  /// Puts another one there and gives back what was.
  TenantPtr exchange(std::size_t slot, TenantPtr tenant);
  void clear();

 private:
  struct Slot {
    mutable std::mutex mutex;
    TenantPtr tenant;
  };
  std::vector<Slot> slots_;
};

/// Makes a namespace, with that name if one is given, checks its identity against the kernel's word and marks it.
Result<TenantPtr> make_tenant(const std::string& name);

/// The same for a namespace that exists.
Result<TenantPtr> as_tenant(Netns ns, const std::string& name);

}  // namespace weir::netns::torture
