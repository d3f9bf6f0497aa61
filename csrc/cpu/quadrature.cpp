// Quadrature weights of a point's neighbours by matched moments; see meshconv/ops/quadrature.py for the conditions.
#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "../operators.h"
#include "index_checks.h"

namespace meshconv {
namespace {

constexpr int64_t kGrain = 64;
// Conditions are fewer than neighbours: what is left over keeps the factors near 1.
constexpr double kUsed = 0.8;
// Beyond these shares of the disc's mass a part of the disc has no neighbours, or other ones.
constexpr double kLeast = 0.5, kMost = 2.0;
// Neighbours on one side of a straight boundary have a mean direction of length 2 / pi.
constexpr double kOneSided = 0.5;
// Damping as powers of ten; that of the moments above the lowest rises to kHigher before that of the lowest rises.
constexpr int kFirst = -9, kHigher = 2, kLast = 4;

struct Condition {
  int64_t moment, frequency;
};

// Lower moments first, since the last ones are the first to be left out: what moment j misses is an error of order j.
std::vector<Condition> conditions(int64_t moments, int64_t max_frequency) {
  std::vector<Condition> all;
  for (int64_t j = 0; j < moments; ++j)
    for (int64_t n = 0; n <= max_frequency + j; ++n) all.push_back({j, n});
  return all;
}

// Cholesky factor of a symmetric matrix in place, upper triangle U with A = U^T U, from the lower triangle mirrored;
// false unless positive definite. Inner loops run along rows.
bool factorise(std::vector<double>& a, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < i; ++j) a[j * n + i] = a[i * n + j];
  for (int64_t k = 0; k < n; ++k) {
    double* pivot = a.data() + k * n;
    if (!(pivot[k] > 0)) return false;
    const double root = 1 / std::sqrt(pivot[k]);
    for (int64_t j = k; j < n; ++j) pivot[j] *= root;
    for (int64_t i = k + 1; i < n; ++i) {
      const double value = pivot[i];
      double* row = a.data() + i * n;
      for (int64_t j = i; j < n; ++j) row[j] -= value * pivot[j];
    }
  }
  return true;
}

void solve(const std::vector<double>& u, int64_t n, std::vector<double>& x) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] /= u[i * n + i];
    for (int64_t j = i + 1; j < n; ++j) x[j] -= u[i * n + j] * x[i];
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t j = i + 1; j < n; ++j) x[i] -= u[i * n + j] * x[j];
    x[i] /= u[i * n + i];
  }
}

// Work space of one thread. Rows are stored by neighbour, so that sums over neighbours run along contiguous conditions.
struct Solver {
  std::vector<Condition> wanted;
  int64_t max_frequency, moments, lowest = 0;
  std::vector<double> rows, missing, gram, factor, x, change, cosine, sine, power;

  Solver(const std::vector<Condition>& wanted, int64_t max_frequency, int64_t moments)
      : wanted(wanted), max_frequency(max_frequency + moments - 1), moments(moments), lowest(2 * max_frequency + 1) {}

  // cos and sin of the multiples of each neighbour's angle, and the powers of its radius.
  void see(int64_t n, const double* radius, const double* angle) {
    const int64_t waves = max_frequency + 1;
    cosine.resize(n * waves), sine.resize(n * waves), power.resize(n * moments);
    for (int64_t i = 0; i < n; ++i) {
      const double c = std::cos(angle[i]), s = std::sin(angle[i]);
      double *cs = cosine.data() + i * waves, *sn = sine.data() + i * waves, *pw = power.data() + i * moments;
      cs[0] = 1, sn[0] = 0, pw[0] = 1;
      for (int64_t k = 1; k < waves; ++k) cs[k] = cs[k - 1] * c - sn[k - 1] * s, sn[k] = sn[k - 1] * c + cs[k - 1] * s;
      for (int64_t j = 1; j < moments; ++j) pw[j] = pw[j - 1] * radius[i];
    }
  }

  // Rows of all conditions, [n, m], and what unit weights leave of each, over the mass.
  int64_t build(int64_t n, const double* share, int64_t stride, const double* target) {
    int64_t m = 0;
    for (const Condition& c : wanted) m += c.frequency == 0 ? 1 : 2;
    rows.resize(n * m), missing.assign(m, 0);
    for (int64_t i = 0; i < n; ++i) {
      double* row = rows.data() + i * m;
      const double *cs = cosine.data() + i * (max_frequency + 1), *sn = sine.data() + i * (max_frequency + 1);
      for (const Condition& c : wanted) {
        const double value = share[i * stride] / target[0] * power[i * moments + c.moment];
        *row++ = value * cs[c.frequency];
        if (c.frequency > 0) *row++ = value * sn[c.frequency];
      }
      for (int64_t a = 0; a < m; ++a) missing[a] -= rows[i * m + a];
    }
    int64_t a = 0;
    for (const Condition& c : wanted) {
      if (c.frequency == 0) missing[a] += target[c.moment] / target[0];
      a += c.frequency == 0 ? 1 : 2;
    }
    return m;
  }

  // Least change of unit weights that meets the first m of all rows, damped until all weights are within bounds: first
  // the moments above the lowest, then all.
  bool damped(int64_t m, int64_t all, int64_t n, double low, double high) {
    gram.assign(m * m, 0), change.assign(n, 0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t a = 0; a < m; ++a) {
        const double* row = rows.data() + i * all;
        const double value = row[a];
        double* sums = gram.data() + a * m;
        for (int64_t b = 0; b <= a; ++b) sums[b] += value * row[b];
      }
    double trace = 0;
    for (int64_t a = 0; a < m; ++a) trace += gram[a * m + a];
    if (!(trace > 0)) return false;
    // Without rows of higher moments the first steps are all the same.
    int lower = kFirst, higher = m > lowest ? kFirst : kHigher;
    for (; lower <= kLast; higher < kHigher ? ++higher : ++lower) {
      const double first = std::pow(10.0, lower), rest = std::pow(10.0, std::max(lower, higher));
      factor = gram;
      for (int64_t a = 0; a < m; ++a)
        factor[a * m + a] += (a < lowest ? first : rest) * trace / static_cast<double>(m);
      if (!factorise(factor, m)) continue;
      x.assign(missing.begin(), missing.begin() + m);
      solve(factor, m, x);
      bool within = true;
      for (int64_t i = 0; i < n && within; ++i) {
        double sum = 0;
        for (int64_t a = 0; a < m; ++a) sum += rows[i * all + a] * x[a];
        change[i] = sum;
        within = 1 + sum >= low && 1 + sum <= high;
      }
      if (within) return true;
    }
    return false;
  }

  // The largest moment that is missed, over the mass: of frequencies above 0 the modulus, the same in every gauge.
  double residual(int64_t m, int64_t n) {
    x = missing;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t a = 0; a < m; ++a) x[a] -= rows[i * m + a] * change[i];
    double worst = 0;
    const double* left = x.data();
    for (const Condition& c : wanted) {
      worst = std::max(worst, c.frequency == 0 ? std::fabs(left[0]) : std::hypot(left[0], left[1]));
      left += c.frequency == 0 ? 1 : 2;
    }
    return worst;
  }
};

}  // namespace

std::tuple<Tensor, Tensor> matched_weights_cpu(Tensor ptr, Tensor radius, Tensor angle, Tensor share, Tensor target,
                                               int64_t max_frequency, double low, double high) {
  const char* op = "matched_weights";
  STD_TORCH_CHECK(radius.scalar_type() == torch::headeronly::ScalarType::Double, op, ": radius has to be float64");
  STD_TORCH_CHECK(max_frequency >= 0 && max_frequency <= 64, op, ": max_frequency ", max_frequency, ", expected 0 to 64");
  STD_TORCH_CHECK(low < 1 && high > 1, op, ": bounds ", low, " and ", high, " have to enclose 1");
  radius = check_tensor(op, "radius", radius, radius, false, {-1});
  const int64_t edges = radius.numel();
  angle = check_tensor(op, "angle", angle, radius, false, {edges});
  share = check_tensor(op, "share", share, radius, false, {edges, -1});
  ptr = check_pointers(op, "ptr", ptr, radius);
  check_rows(op, "ptr", ptr, edges);
  const int64_t vertices = ptr.numel() - 1, functions = share.size(1);
  target = check_tensor(op, "target", target, radius, false, {vertices, functions, -1});
  const int64_t moments = target.size(2);
  STD_TORCH_CHECK(moments >= 1 && moments <= 8, op, ": target has ", moments, " moments, expected 1 to 8");

  Tensor weights = torch::stable::new_empty(radius, {edges, functions});
  Tensor residuals = torch::stable::new_empty(radius, {vertices, functions});
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  const double *r = radius.const_data_ptr<double>(), *a = angle.const_data_ptr<double>();
  const double *s = share.const_data_ptr<double>(), *t = target.const_data_ptr<double>();
  double *w = weights.mutable_data_ptr<double>(), *left = residuals.mutable_data_ptr<double>();
  const std::vector<Condition> wanted = conditions(moments, max_frequency);

  torch::stable::parallel_for(0, vertices, kGrain, [&](int64_t begin, int64_t end) {
    Solver solver(wanted, max_frequency, moments);
    for (int64_t v = begin; v < end; ++v) {
      const int64_t first = p[v], n = p[v + 1] - first;
      solver.see(n, r + first, a + first);
      for (int64_t b = 0; b < functions; ++b) {
        const double *own = s + first * functions + b, *wished = t + (v * functions + b) * moments;
        double mass = 0, largest = 0, ahead = 0, aside = 0;
        for (int64_t i = 0; i < n; ++i) {
          const double value = own[i * functions];
          mass += value, largest = std::max(largest, std::fabs(value));
          ahead += value * std::cos(a[first + i]), aside += value * std::sin(a[first + i]);
        }
        int64_t seen = 0;
        for (int64_t i = 0; i < n; ++i) seen += std::fabs(own[i * functions]) > 1e-9 * largest;
        const bool whole = wished[0] > 0 && mass > kLeast * wished[0] && mass < kMost * wished[0] &&
                           std::hypot(ahead, aside) < kOneSided * mass;
        int64_t count = 0, rows = 0;
        for (; whole && count < static_cast<int64_t>(wanted.size()); ++count) {
          const int64_t more = wanted[count].frequency == 0 ? 1 : 2;
          if (static_cast<double>(rows + more) > kUsed * static_cast<double>(seen)) break;
          rows += more;
        }
        bool met = false;
        if (whole) {
          const int64_t all = solver.build(n, own, functions, wished);
          met = rows > 0 && solver.damped(rows, all, n, low, high);
          if (met) left[v * functions + b] = solver.residual(all, n);
        }
        if (!met) left[v * functions + b] = 1;
        for (int64_t i = 0; i < n; ++i) w[(first + i) * functions + b] = met ? 1 + solver.change[i] : 1;
      }
    }
  });
  return {weights, residuals};
}

}  // namespace meshconv
