// Services that call each other: latency, requests and failures add up along the calls.
#include "support/synthetic_world.h"

namespace weir::test {

namespace {

using explain::Random;

struct Call {
  std::uint32_t to = 0;
  double per_request = 1;
};

struct Service {
  double own_s = 0.01;          ///< spent in it, a request
  double own_failures = 0.001;  ///< share of requests that fail in it
  double outside = 0;           ///< requests a row that come from no other service
  double spread = 0.05;         ///< of own_s from row to row
  std::vector<Call> calls;
};

struct State {
  double requests = 0;
  double latency_s = 0;
  double availability = 1;
};

class ServiceWorld final : public World {
 public:
  explicit ServiceWorld(std::uint64_t seed) {
    for (std::uint64_t attempt = 0;; ++attempt) {
      Random random(seed * 1000 + attempt * 37 + 5);
      if (build(random)) return;
    }
  }

  [[nodiscard]] SyntheticIncident incident() const override {
    const explain::Table all = simulate(faults_);
    SyntheticIncident result{.graph = graph_of(callees_),
                             .healthy = rows_of(all, 0, past_rows_),
                             .window = rows_of(all, past_rows_, rows_),
                             .symptom = {name_of(0), slow_ ? "latency" : "availability", onset_s()},
                             .roots = {name_of(faults_.front().entity)},
                             .onset_row = rows_before};
    return result;
  }

  [[nodiscard]] explain::Table window_without(const std::vector<std::string>& entities) const override {
    std::vector<Fault> left = faults_;
    std::erase_if(
        left, [&](const Fault& fault) { return std::ranges::find(entities, name_of(fault.entity)) != entities.end(); });
    return rows_of(simulate(left), past_rows_, rows_);
  }

 private:
  static std::string name_of(std::uint32_t entity) { return "e" + std::to_string(entity); }
  [[nodiscard]] double onset_s() const { return static_cast<double>(past_rows_ + rows_before) * step_s; }

  bool build(Random& random) {
    const std::uint32_t entities = between(random, 10U, 60U);
    past_rows_ = between(random, 200U, 500U);
    rows_ = past_rows_ + rows_before + between(random, 10U, 40U);
    noise_seed_ = random.next();
    slow_ = chance(random, 0.6);
    callees_ = random_dag(entities, random);
    services_.assign(entities, {});
    for (std::uint32_t i = 0; i < entities; ++i) {
      Service& service = services_[i];
      service.own_s = std::pow(10, between(random, -3.0, -1.0));
      service.own_failures = std::pow(10, between(random, -5.0, -2.5));
      service.spread = between(random, 0.02, 0.2);
      service.outside = i == 0 ? std::pow(10, between(random, 2.5, 4.0)) : 0;
      if (i > 0 && chance(random, 0.15)) service.outside = std::pow(10, between(random, 1.0, 3.0));
      for (const std::uint32_t callee : callees_[i]) {
        service.calls.push_back({callee, chance(random, 0.3) ? between(random, 0.05, 0.3) : between(random, 0.5, 1.5)});
      }
    }
    return choose_faults(random);
  }

  /// A fault's size: seconds added to each request, or the share of requests that fail besides.
  [[nodiscard]] std::vector<State> state_of(double load, const std::vector<Fault>& faults,
                                            const std::vector<double>& shape) const {
    std::vector<State> state(services_.size());
    for (std::uint32_t i = 0; i < services_.size(); ++i) {
      state[i].requests += services_[i].outside * load;
      for (const Call& call : services_[i].calls) state[call.to].requests += state[i].requests * call.per_request;
    }
    for (std::uint32_t i = static_cast<std::uint32_t>(services_.size()); i-- > 0;) {
      double own = services_[i].own_s * shape[i];
      double failures = services_[i].own_failures;
      for (const Fault& fault : faults) {
        if (fault.entity == i) (fault.metric == 0 ? own : failures) += fault.size;
      }
      state[i].latency_s = own;
      state[i].availability = 1 - failures;
      for (const Call& call : services_[i].calls) {
        state[i].latency_s += call.per_request * state[call.to].latency_s;
        state[i].availability *= std::pow(state[call.to].availability, call.per_request);
      }
    }
    return state;
  }

  [[nodiscard]] explain::Table simulate(const std::vector<Fault>& faults) const {
    Random random(noise_seed_);
    explain::Table table;
    for (std::uint32_t i = 0; i < services_.size(); ++i) {
      for (const auto* metric : {"requests", "latency", "availability"}) {
        table.columns.push_back({name_of(i), metric, "", std::vector<float>(rows_, explain::missing)});
      }
    }
    const double phase = between(random, 0.0, 6.28);
    std::vector<double> shape(services_.size());
    for (std::size_t row = 0; row < rows_; ++row) {
      table.times_s.push_back(static_cast<double>(row) * step_s);
      const double load = 1 + 0.3 * std::sin(phase + static_cast<double>(row) * 6.2832 / 96) + 0.05 * random.normal();
      for (std::size_t i = 0; i < shape.size(); ++i) shape[i] = std::exp(services_[i].spread * random.normal());
      const auto state = state_of(load, row < past_rows_ + rows_before ? std::vector<Fault>{} : faults, shape);
      for (std::size_t i = 0; i < state.size(); ++i) write(table, i, row, state[i], random);
    }
    return table;
  }

  /// As a monitor sees it: counts are whole, a mean is of so many requests, nothing is known without any.
  static void write(explain::Table& table, std::size_t service, std::size_t row, const State& state, Random& random) {
    const double seen = std::round(std::max(0.0, state.requests + std::sqrt(state.requests) * random.normal()));
    const double error_of_mean = random.normal() / std::sqrt(std::max(1.0, seen));
    const double failed_share = 1 - state.availability;
    const double failed_error = std::sqrt(failed_share * state.availability / std::max(1.0, seen)) * random.normal();
    const double failed = std::round(std::clamp(failed_share + failed_error, 0.0, 1.0) * seen);
    const bool lost = chance(random, 0.03);
    table.columns[service * 3].values[row] = static_cast<float>(seen);
    if (seen < 1 || lost) return;
    table.columns[service * 3 + 1].values[row] = static_cast<float>(state.latency_s * (1 + 0.5 * error_of_mean));
    table.columns[service * 3 + 2].values[row] = static_cast<float>(100 * (1 - failed / seen));
  }

  bool choose_faults(Random& random) {
    faults_.clear();
    const std::vector<double> usual(services_.size(), 1.0);
    const State front = state_of(1, {}, usual).front();
    std::vector<Fault> possible;
    for (std::uint32_t i = 1; i < services_.size(); ++i) {
      const double size = slow_ ? services_[i].own_s * between(random, 1.0, 20.0) : between(random, 0.02, 0.5);
      const Fault fault{i, slow_ ? 0U : 1U, size, true};
      const State after = state_of(1, {fault}, usual).front();
      const double change = slow_ ? after.latency_s / front.latency_s - 1 : front.availability - after.availability;
      if (change > (slow_ ? 0.3 : 0.02)) possible.push_back(fault);
    }
    if (possible.empty()) return false;
    faults_.push_back(possible[random.below(static_cast<std::uint32_t>(possible.size()))]);
    add_bystanders(random, usual);
    return true;
  }

  /// Services that get slow or fail too, and hardly touch the front.
  void add_bystanders(Random& random, const std::vector<double>& usual) {
    const std::vector<Fault> root = faults_;
    const State front = state_of(1, root, usual).front();
    for (std::uint32_t wanted = between(random, 1U, 3U), tries = 0; wanted > 0 && tries < 50; ++tries) {
      const std::uint32_t i = between(random, 1U, static_cast<std::uint32_t>(services_.size()) - 1);
      const Fault fault{i, random.below(2), 0, false};
      Fault sized = fault;
      sized.size = fault.metric == 0 ? services_[i].own_s * between(random, 0.5, 5.0) : between(random, 0.01, 0.1);
      if (i == root.front().entity) continue;
      const State after = state_of(1, {root.front(), sized}, usual).front();
      if (std::abs(after.latency_s / front.latency_s - 1) > 0.01) continue;
      if (std::abs(after.availability - front.availability) > 0.0005) continue;
      faults_.push_back(sized);
      --wanted;
    }
  }

  std::uint64_t noise_seed_ = 0;
  std::size_t past_rows_ = 0;
  std::size_t rows_ = 0;
  bool slow_ = true;
  std::vector<std::vector<std::uint32_t>> callees_;
  std::vector<Service> services_;
  std::vector<Fault> faults_;
};

}  // namespace

std::unique_ptr<World> make_service_world(std::uint64_t seed) {
  return std::make_unique<ServiceWorld>(seed);
}

}  // namespace weir::test
