// Systems of metrics that drive each other by weights, and what goes wrong in them.
#include "support/synthetic_incidents.h"

#include "support/synthetic_world.h"

namespace weir::test {

namespace {

using explain::Random;

enum class Kind : std::uint8_t { latency, cpu, errors, requests, depth };
constexpr std::array<std::string_view, 5> kind_names{"pressure_pct", "cpu_pct", "score", "requests", "items"};

/// How a metric follows another.
enum class Curve : std::uint8_t { linear, saturating, beyond_threshold };
double shaped(Curve curve, double x) {
  switch (curve) {
    case Curve::saturating:
      return 6 * std::tanh(x / 6);
    case Curve::beyond_threshold:  // a hinge, smoothed
      return std::max(x - 1, 0.0) + std::log1p(std::exp(-std::abs(x - 1))) + 0.15 * x;
    default:
      return x;
  }
}

struct Link {
  std::uint32_t from = 0;
  double weight = 0;
  Curve curve = Curve::linear;
};

/// In units of its own scale, about 0.
struct Metric {
  std::uint32_t entity = 0;
  Kind kind = Kind::latency;
  double centre = 0;
  double scale = 1;
  double noise = 1;
  double inertia = 0;  ///< of the noise, from row to row
  double load = 0;
  double hidden = 0;
  std::vector<Link> links{};
};

class StructuralWorld final : public World {
 public:
  StructuralWorld(Family family, std::uint64_t seed) : family_(family), seed_(seed) {
    for (std::uint64_t attempt = 0;; ++attempt) {
      Random random(seed * 1000 + attempt * 31 + static_cast<std::uint64_t>(family) * 7);
      if (build(random)) return;
    }
  }

  [[nodiscard]] SyntheticIncident incident() const override {
    const explain::Table all = table_of(simulate(faults_));
    SyntheticIncident result{.graph = graph_of(given_callees_),
                             .healthy = rows_of(all, 0, past_rows_),
                             .window = rows_of(all, past_rows_, rows_),
                             .symptom = {name_of(metrics_[symptom_].entity), metric_name(symptom_), since_s()},
                             .roots = {},
                             .onset_row = rows_before};
    for (const Fault& fault : faults_) {
      if (fault.root) result.roots.push_back(name_of(fault.entity));
    }
    return result;
  }

  [[nodiscard]] explain::Table window_without(const std::vector<std::string>& entities) const override {
    std::vector<Fault> left = faults_;
    std::erase_if(
        left, [&](const Fault& fault) { return std::ranges::find(entities, name_of(fault.entity)) != entities.end(); });
    return rows_of(table_of(simulate(left)), past_rows_, rows_);
  }

 private:
  using Series = std::vector<std::vector<float>>;  ///< by metric, in units of its scale

  static std::string name_of(std::uint32_t entity) { return "e" + std::to_string(entity); }
  [[nodiscard]] std::string metric_name(std::uint32_t metric) const {
    return std::string(kind_names.at(static_cast<std::size_t>(metrics_[metric].kind)));
  }
  [[nodiscard]] double since_s() const {
    return (static_cast<double>(past_rows_ + rows_before) + onset_error_) * step_s;
  }
  [[nodiscard]] std::size_t onset() const { return past_rows_ + rows_before; }

  bool build(Random& random) {
    metrics_.clear();
    metrics_of_.clear();
    faults_.clear();
    entities_ = between(random, 10U, 60U);
    past_rows_ = between(random, 200U, 500U);
    rows_ = past_rows_ + rows_before + between(random, 10U, 40U);
    onset_error_ = family_ == Family::onset_off ? static_cast<double>(between(random, 0U, 10U)) - 5 : 0;
    noise_seed_ = random.next();
    callees_ = random_dag(entities_, random);
    if (family_ == Family::cycles) close_cycles(random);
    make_metrics(random);
    link_metrics(random);
    order_metrics();
    given_callees_ = callees_;
    if (family_ == Family::missing_edges) {
      for (auto& callees : given_callees_) {
        std::erase_if(callees, [&](std::uint32_t) { return chance(random, 0.12); });
      }
    }
    return choose_faults(random);
  }

  void close_cycles(Random& random) {
    for (std::uint32_t i = 0; i < entities_ / 4; ++i) {
      const std::uint32_t from = between(random, 1U, entities_ - 1);
      const std::uint32_t to = random.below(from);
      if (std::ranges::find(callees_[from], to) == callees_[from].end()) callees_[from].push_back(to);
    }
  }

  void make_metrics(Random& random) {
    metrics_of_.resize(entities_);
    for (std::uint32_t entity = 0; entity < entities_; ++entity) {
      for (const Kind kind : {Kind::latency, Kind::cpu, Kind::errors, Kind::requests, Kind::depth}) {
        if (kind != Kind::latency && !chance(random, kind == Kind::depth ? 0.2 : 0.5)) continue;
        if (metrics_of_[entity].size() == 4) break;
        Metric metric{.entity = entity, .kind = kind};
        const bool counted = kind == Kind::errors || kind == Kind::requests;
        metric.scale = std::pow(10, between(random, counted ? 1.0 : -5.0, 5.0));
        metric.centre = metric.scale * between(random, 4.0, 30.0);
        metric.noise = std::pow(10, between(random, -0.8, 0.0));
        metric.inertia = chance(random, 0.5) ? between(random, 0.1, 0.6) : 0;
        metrics_of_[entity].push_back(static_cast<std::uint32_t>(metrics_.size()));
        metrics_.push_back(std::move(metric));
      }
    }
  }

  [[nodiscard]] const std::uint32_t* find(std::uint32_t entity, Kind kind) const {
    for (const std::uint32_t& metric : metrics_of_[entity]) {
      if (metrics_[metric].kind == kind) return &metric;
    }
    return nullptr;
  }

  void link(const std::uint32_t* from, const std::uint32_t* to, double weight, Random& random) {
    const double drawn = random.uniform();
    if (from == nullptr || to == nullptr) return;
    Curve curve = Curve::linear;
    if (family_ == Family::nonlinear && drawn < 0.8) curve = drawn < 0.4 ? Curve::saturating : Curve::beyond_threshold;
    metrics_[*to].links.push_back({*from, weight, curve});
  }

  void link_metrics(Random& random) {
    const double gain = family_ == Family::cycles ? 0.7 : 1;
    for (std::uint32_t entity = 0; entity < entities_; ++entity) {
      for (const std::uint32_t callee : callees_[entity]) {
        const bool weak = chance(random, 0.25);
        const double share = gain * (weak ? between(random, 0.05, 0.2) : between(random, 0.4, 1.0));
        link(find(callee, Kind::latency), find(entity, Kind::latency), share, random);
        link(find(callee, Kind::errors), find(entity, Kind::errors), share, random);
        // Load goes the other way.
        if (callee > entity) {
          link(find(entity, Kind::requests), find(callee, Kind::requests), between(random, 0.3, 0.8), random);
        }
      }
      link(find(entity, Kind::requests), find(entity, Kind::cpu), between(random, 0.2, 0.8), random);
      link(find(entity, Kind::cpu), find(entity, Kind::latency), between(random, 0.3, 0.9), random);
      link(find(entity, Kind::cpu), find(entity, Kind::errors), between(random, 0.0, 0.3), random);
    }
    for (Metric& metric : metrics_) {
      if (family_ == Family::seasonal && metric.kind != Kind::depth) {
        metric.load = metric.kind == Kind::requests ? between(random, 1.0, 3.0) : between(random, 0.0, 1.0);
      }
      if (family_ == Family::confounders && chance(random, 0.3)) metric.hidden = between(random, 0.3, 1.0);
    }
  }

  /// Requests go from the front to the back, all else the other way.
  void order_metrics() {
    order_.clear();
    for (std::uint32_t i = 0; i < metrics_.size(); ++i) order_.push_back(i);
    const auto place = [&](std::uint32_t i) {
      const Metric& metric = metrics_[i];
      const std::int64_t entity = metric.entity;
      if (metric.kind == Kind::requests) return std::tuple(0, entity, 0);
      return std::tuple(metric.kind == Kind::cpu ? 1 : 2, -entity, static_cast<int>(metric.kind));
    };
    std::ranges::stable_sort(order_, {}, place);
  }

  [[nodiscard]] double draw(Random& random) const {
    if (family_ != Family::heavy_tails) return random.normal();
    double square = 0;
    for (int i = 0; i < 3; ++i) square += std::pow(random.normal(), 2);
    return random.normal() / std::sqrt(square / 3) / std::sqrt(3.0);  // of variance 1
  }

  void settle(std::vector<double>& now, const std::vector<double>& own) const {
    const int sweeps = family_ == Family::cycles ? 25 : 1;
    for (int sweep = 0; sweep < sweeps; ++sweep) {
      for (const std::uint32_t i : order_) {
        double value = own[i];
        for (const Link& link : metrics_[i].links) value += link.weight * shaped(link.curve, now[link.from]);
        now[i] = value;
      }
    }
  }

  [[nodiscard]] Series simulate(const std::vector<Fault>& faults) const {
    Random random(noise_seed_);
    Series series(metrics_.size(), std::vector<float>(rows_));
    std::vector<double> noise(metrics_.size(), 0.0);
    std::vector<double> own(metrics_.size());
    std::vector<double> now(metrics_.size(), 0.0);
    const double phase = between(random, 0.0, 6.28);
    double hidden = 0;
    for (std::size_t row = 0; row < rows_; ++row) {
      const double load = std::sin(phase + static_cast<double>(row) * 6.2832 / 96) + 0.2 * random.normal();
      hidden = 0.8 * hidden + 0.6 * random.normal();
      const double driver = hidden + (row >= onset() ? 2 : 0);
      for (std::size_t i = 0; i < metrics_.size(); ++i) {
        const Metric& metric = metrics_[i];
        noise[i] =
            metric.inertia * noise[i] + std::sqrt(1 - metric.inertia * metric.inertia) * metric.noise * draw(random);
        own[i] = noise[i] + metric.load * load + metric.hidden * driver;
      }
      for (const Fault& fault : faults) {
        if (row < onset()) continue;
        const double rise = std::min(1.0, static_cast<double>(row - onset() + 1) / 2);
        own[fault.metric] += fault.size * rise * (1 + 0.1 * std::sin(static_cast<double>(row)));
      }
      settle(now, own);
      for (std::size_t i = 0; i < metrics_.size(); ++i) series[i][row] = static_cast<float>(now[i]);
    }
    return series;
  }

  [[nodiscard]] explain::Table table_of(const Series& series) const {
    Random random(noise_seed_ + 1);
    explain::Table table;
    for (std::size_t row = 0; row < rows_; ++row) table.times_s.push_back(static_cast<double>(row) * step_s);
    for (std::uint32_t i = 0; i < metrics_.size(); ++i) {
      const Metric& metric = metrics_[i];
      auto& column = table.columns.emplace_back();
      column = {name_of(metric.entity), metric_name(i), "", series[i]};
      for (float& value : column.values) {
        value = static_cast<float>(metric.centre + metric.scale * value);
        if (metric.kind == Kind::errors || metric.kind == Kind::requests) value = std::max(value, 0.0F);
        if (chance(random, 0.02)) value = explain::missing;
      }
    }
    return table;
  }

  static double sd_of(const std::vector<float>& series, std::size_t rows) {
    double sum = 0;
    double squares = 0;
    for (std::size_t i = 0; i < rows; ++i) {
      sum += series[i];
      squares += static_cast<double>(series[i]) * series[i];
    }
    const auto n = static_cast<double>(rows);
    return std::sqrt(std::max(1e-12, squares / n - sum / n * sum / n));
  }

  /// What a fault alone does to each metric, in units of its scale.
  [[nodiscard]] std::vector<double> effect_of(std::uint32_t metric, double size) const {
    std::vector<double> own(metrics_.size(), 0.0);
    std::vector<double> without(metrics_.size(), 0.0);
    std::vector<double> with(metrics_.size(), 0.0);
    settle(without, own);
    own[metric] = size;
    settle(with, own);
    for (std::size_t i = 0; i < with.size(); ++i) with[i] -= without[i];
    return with;
  }

  bool choose_faults(Random& random) {
    const Series healthy = simulate({});
    std::vector<double> sd;
    for (std::size_t i = 0; i < metrics_.size(); ++i) {
      // Nobody calls a change of less than a few percent one.
      sd.push_back(std::max(sd_of(healthy[i], past_rows_), 0.02 * metrics_[i].centre / metrics_[i].scale));
    }
    const std::uint32_t front = random.below(std::max(1U, entities_ / 4));
    const std::uint32_t* symptom = find(front, chance(random, 0.25) ? Kind::errors : Kind::latency);
    if (symptom == nullptr) return false;
    symptom_ = *symptom;
    std::vector<Fault> possible;
    for (std::uint32_t i = 0; i < metrics_.size(); ++i) {
      const Kind kind = metrics_[i].kind;
      if (metrics_[i].entity == front || kind == Kind::requests || kind == Kind::depth) continue;
      const double size = sd[i] * between(random, 6.0, 20.0);
      if (effect_of(i, size)[symptom_] > 4 * sd[symptom_]) possible.push_back({metrics_[i].entity, i, size, true});
    }
    const std::size_t wanted = family_ == Family::two_faults ? 2 : 1;
    while (faults_.size() < wanted && !possible.empty()) {
      const Fault chosen = possible[random.below(static_cast<std::uint32_t>(possible.size()))];
      faults_.push_back(chosen);
      std::erase_if(possible, [&](const Fault& fault) { return fault.entity == chosen.entity; });
    }
    if (faults_.size() < wanted || (wanted == 2 && comparable(sd) == false)) return false;
    add_bystanders(sd, random);
    return true;
  }

  /// Neither of two faults drowns the other at the symptom.
  [[nodiscard]] bool comparable(const std::vector<double>& sd) const {
    const double a = effect_of(faults_[0].metric, faults_[0].size)[symptom_] / sd[symptom_];
    const double b = effect_of(faults_[1].metric, faults_[1].size)[symptom_] / sd[symptom_];
    return a < 3 * b && b < 3 * a;
  }

  /// Anomalies that do nothing to the symptom, as large as the fault.
  void add_bystanders(const std::vector<double>& sd, Random& random) {
    for (std::uint32_t wanted = between(random, 1U, 3U), tries = 0; wanted > 0 && tries < 50; ++tries) {
      const std::uint32_t metric = random.below(static_cast<std::uint32_t>(metrics_.size()));
      const double size = sd[metric] * between(random, 5.0, 20.0);
      const std::uint32_t entity = metrics_[metric].entity;
      const bool taken = std::ranges::any_of(faults_, [&](const Fault& fault) { return fault.entity == entity; });
      if (taken || std::abs(effect_of(metric, size)[symptom_]) > 0.05 * sd[symptom_] || metric == symptom_) continue;
      faults_.push_back({entity, metric, size, false});
      --wanted;
    }
  }

  Family family_;
  std::uint64_t seed_;
  std::uint64_t noise_seed_ = 0;
  std::uint32_t entities_ = 0;
  std::size_t past_rows_ = 0;
  std::size_t rows_ = 0;
  double onset_error_ = 0;
  std::uint32_t symptom_ = 0;
  std::vector<std::vector<std::uint32_t>> callees_;
  std::vector<std::vector<std::uint32_t>> given_callees_;
  std::vector<Metric> metrics_;
  std::vector<std::vector<std::uint32_t>> metrics_of_;
  std::vector<std::uint32_t> order_;
  std::vector<Fault> faults_;
};

std::unique_ptr<World> make_world(Family family, std::uint64_t seed) {
  return family == Family::services ? make_service_world(seed) : make_structural_world(family, seed);
}

}  // namespace

std::unique_ptr<World> make_structural_world(Family family, std::uint64_t seed) {
  return std::make_unique<StructuralWorld>(family, seed);
}

std::string_view to_string(Family family) {
  constexpr std::array<std::string_view, all_families.size()> names{
      "dag",       "cycles",      "two faults", "missing edges", "confounders",
      "nonlinear", "heavy tails", "seasonal",   "onset off",     "services"};
  return names.at(static_cast<std::size_t>(family));
}

SyntheticIncident make_incident(Family family, std::uint64_t seed) {
  return make_world(family, seed)->incident();
}

explain::Table window_without(Family family, std::uint64_t seed, const std::vector<std::string>& entities) {
  return make_world(family, seed)->window_without(entities);
}

}  // namespace weir::test
