// Namespaces that come and go, and every way of getting hold of one.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "netns/torture/actors.h"
#include "netns/torture/truth.h"

namespace weir::netns::torture {

namespace {

class Churner final : public Actor {
 public:
  using Actor::Actor;

 protected:
  Result<void> step(Dice& dice) override;

 private:
  Result<void> replace(Dice& dice);
  Result<void> make_several(Dice& dice);
  Result<void> reuse_a_name(Dice& dice);
  Result<void> open_in_every_way(Dice& dice);
  Result<void> open_what_is_none(Dice& dice);
  Result<void> find_the_dead_again(Dice& dice);
  void check_identity(const Netns& ns, bool is_new);
  void keep(Dice& dice, TenantPtr tenant);
  void must_be(const Result<Netns>& opened, const Tenant& tenant, std::string_view how);

  DurableId dead_{};
};

Result<void> Churner::step(Dice& dice) {
  const auto among = stage_.gate.among_others();
  const std::size_t what = dice.below(100);
  if (what < 40) return replace(dice);
  if (what < 50) return make_several(dice);
  if (what < 65) return reuse_a_name(dice);
  if (what < 85) return open_in_every_way(dice);
  if (what < 95) return find_the_dead_again(dice);
  return open_what_is_none(dice);
}

/// The library's word against the kernel's, and, of a new one, against all that there ever were.
void Churner::check_identity(const Netns& ns, bool is_new) {
  const auto is = of_file(ns.fd());
  if (is && *is != ns.id()) {
    broken("identity", "the kernel says id " + std::to_string(*is) + ", the library " + std::to_string(ns.id()));
  }
  if (!is_new) return;
  ++stage_.ledger.namespaces_made;
  if (!stage_.ledger.new_identity(ns.id())) {
    ++stage_.ledger.repeated_identities;
    broken("identity", "id " + std::to_string(ns.id()) + " was given before to another namespace");
  }
}

/// Puts it into the pool; what was there loses its name and, once nobody visits it, its life.
void Churner::keep(Dice& dice, TenantPtr tenant) {
  const TenantPtr before = stage_.pool.exchange(dice.below(stage_.pool.size()), std::move(tenant));
  if (!before) return;
  if (auto id = before->ns.durable()) dead_ = *id;
  if (!before->name.empty()) static_cast<void>(Netns::remove_named(before->name));
}

Result<void> Churner::replace(Dice& dice) {
  auto tenant = make_tenant({});
  if (!tenant) return pass(std::move(tenant));
  check_identity((*tenant)->ns, true);
  keep(dice, std::move(*tenant));
  return {};
}

Result<void> Churner::make_several(Dice& dice) {
  std::vector<std::string> names;
  const std::size_t count = 1 + dice.below(8);
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back("churned-" + name() + "-" + std::to_string(operations()) + "-" + std::to_string(i));
  }
  auto made = Netns::create_many(names);
  if (!made) return pass(std::move(made));
  for (std::size_t i = 0; i < count; ++i) {
    check_identity((*made)[i], true);
    auto tenant = as_tenant(std::move((*made)[i]), names[i]);
    if (tenant) {
      keep(dice, std::move(*tenant));
      continue;
    }
    for (; i < count; ++i) static_cast<void>(Netns::remove_named(names[i]));
    return pass(std::move(tenant));
  }
  return {};
}

/// The name must be the new one's as soon as the old one has lost it.
Result<void> Churner::reuse_a_name(Dice& dice) {
  const std::string reused = "reused-" + name();
  std::uint64_t last = 0;
  for (std::size_t round = 0, rounds = 2 + dice.below(3); round < rounds; ++round) {
    auto made = Netns::create_named(reused);
    if (!made) return pass(std::move(made));
    check_identity(*made, true);
    const auto opened = Netns::open(reused);
    const bool same = opened && opened->id() == made->id() && opened->id() != last;
    last = made->id();
    if (auto removed = Netns::remove_named(reused); !removed) return removed;
    if (!opened) return std::unexpected(opened.error());
    if (!same) broken("identity", "the name " + reused + " still means a namespace that lost it");
  }
  return {};
}

void Churner::must_be(const Result<Netns>& opened, const Tenant& tenant, std::string_view how) {
  if (opened && opened->id() != tenant.id) {
    broken("handle", std::string(how) + ": id " + std::to_string(tenant.id) + " was asked for, id " +
                         std::to_string(opened->id()) + " came");
  }
}

/// Before nsfs had file handles (6.18, with NS_GET_ID) only namespaces with a name or a process are found again, and
/// where processes are hidden nobody can tell.
bool is_only_found_by_handle(const Error& error, const Tenant& tenant) {
  return (error.code == Errc::not_found || error.code == Errc::permission) && !of_file(tenant.ns.fd());
}

Result<void> Churner::open_in_every_way(Dice& dice) {
  const TenantPtr tenant = any(dice);
  check_identity(tenant->ns, false);
  const auto socket = open_socket(tenant->ns, AF_UNIX, SOCK_DGRAM, 0);
  if (!socket) return std::unexpected(socket.error());
  check_socket(socket->get(), *tenant);
  const auto durable = tenant->ns.durable();
  if (!durable) return std::unexpected(durable.error());
  const auto parsed = DurableId::parse(durable->text());
  if (!parsed || *parsed != *durable) broken("handle", durable->text() + " cannot be read back");
  // By descriptor, by socket, by what was noted down; each may lack descriptors, none may be another namespace.
  const std::pair<const char*, Result<Netns>> ways[] = {
      {"duplicate", tenant->ns.duplicate()},
      {"of a descriptor", Netns::from_fd(Fd(::fcntl(tenant->ns.fd(), F_DUPFD_CLOEXEC, 0)))},
      {"of a socket", Netns::of_socket(socket->get())},
      {"reopened", Netns::reopen(*durable)}};
  for (const auto& [how, opened] : ways) {
    must_be(opened, *tenant, how);
    if (!opened && is_only_found_by_handle(opened.error(), *tenant)) continue;
    if (!opened) return std::unexpected(Error(opened.error()).with_context(how));
  }
  return {};
}

/// An id that was noted down means that namespace or none, never another.
Result<void> Churner::find_the_dead_again(Dice& dice) {
  if (dead_.id == 0) return {};
  const auto found = Netns::reopen(dead_);
  if (found && (found->id() != dead_.id || of_file(found->fd()).value_or(dead_.id) != dead_.id)) {
    broken("handle", dead_.text() + " was asked for, id " + std::to_string(found->id()) + " came");
  }
  if (found || found.error().code == Errc::not_found || is_only_found_by_handle(found.error(), *any(dice))) return {};
  return std::unexpected(found.error());
}

Result<void> Churner::open_what_is_none(Dice& dice) {
  if (dice.one_in(2)) {
    const auto opened = Netns::from_fd(Fd(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)));
    if (opened) broken("handle", "a mount namespace was taken for a network namespace");
    if (!opened && opened.error().code != Errc::usage) return std::unexpected(opened.error());
    return {};
  }
  const std::string name = "plain-" + this->name();
  const std::string path = "/run/netns/" + name;
  if (!std::ofstream(path).is_open()) return fail_errno(errno, path);
  const auto opened = Netns::open(name);
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  if (opened) broken("handle", "a plain file was taken for a network namespace");
  if (!opened && opened.error().code != Errc::usage) return std::unexpected(opened.error());
  return {};
}

}  // namespace

std::unique_ptr<Actor> make_churner(Stage& stage, std::string name) {
  return std::make_unique<Churner>(stage, std::move(name), false);
}

}  // namespace weir::netns::torture
