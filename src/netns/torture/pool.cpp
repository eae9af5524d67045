#include "netns/torture/pool.h"

#include "netns/torture/truth.h"

namespace weir::netns::torture {

namespace {

constexpr const char* kMarkedSysctl = "net/ipv4/ip_default_ttl";

}  // namespace

TenantPtr Pool::at(std::size_t slot) const {
  const std::scoped_lock lock(slots_[slot].mutex);
  return slots_[slot].tenant;
}

TenantPtr Pool::exchange(std::size_t slot, TenantPtr tenant) {
  const std::scoped_lock lock(slots_[slot].mutex);
  return std::exchange(slots_[slot].tenant, std::move(tenant));
}

void Pool::clear() {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) exchange(slot, nullptr);
}

Result<TenantPtr> as_tenant(Netns ns, const std::string& name) {
  const std::uint64_t id = of_file(ns.fd()).value_or(ns.id());
  std::string mark = std::to_string(1 + id % 255);
  if (auto marked = write_sysctl(ns, kMarkedSysctl, mark); !marked) return pass(std::move(marked));
  return std::make_shared<const Tenant>(std::move(ns), id, name, std::move(mark));
}

Result<TenantPtr> make_tenant(const std::string& name) {
  auto ns = name.empty() ? Netns::create() : Netns::create_named(name);
  if (!ns) return pass(std::move(ns));
  return as_tenant(std::move(*ns), name);
}

}  // namespace weir::netns::torture
