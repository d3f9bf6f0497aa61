// Vectors, and the numbering of half-edges: 3 f + k runs from corner k of face f to the next corner.
#pragma once

#include <stdint.h>

#include <cmath>

namespace meshconv {

constexpr double kPi = 3.14159265358979323846;

struct Vec2 {
  double x, y;
};
inline Vec2 operator-(Vec2 a, Vec2 b) { return {a.x - b.x, a.y - b.y}; }
inline double cross(Vec2 a, Vec2 b) { return a.x * b.y - a.y * b.x; }
inline double dot(Vec2 a, Vec2 b) { return a.x * b.x + a.y * b.y; }
inline double norm(Vec2 a) { return std::sqrt(dot(a, a)); }

struct Vec3 {
  double x, y, z;
};
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator*(double s, Vec3 a) { return {s * a.x, s * a.y, s * a.z}; }
inline double dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 cross(Vec3 a, Vec3 b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline double norm(Vec3 a) { return std::sqrt(dot(a, a)); }

// Row i of an array [n, 3].
inline Vec3 row(const double* array, int64_t i) { return {array[3 * i], array[3 * i + 1], array[3 * i + 2]}; }
inline void set_row(double* array, int64_t i, Vec3 a) { array[3 * i] = a.x, array[3 * i + 1] = a.y, array[3 * i + 2] = a.z; }

inline int64_t next(int64_t h) { return h % 3 == 2 ? h - 2 : h + 1; }
inline int64_t previous(int64_t h) { return h % 3 == 0 ? h + 2 : h - 1; }

// Loops over rows that lie anywhere in memory ask for them this many steps ahead.
constexpr int64_t kAhead = 24;

inline void prefetch(const void* place) {
#if defined(__GNUC__)
  __builtin_prefetch(place);
#else
  static_cast<void>(place);
#endif
}

struct CosineSine {
  double cosine, sine;
};

// Of an angle of a few turns at most, to within a unit in the last place: fdlibm's polynomials without a call, which
// is half of the time of a loop over edges.
inline CosineSine cosine_sine(double angle) {
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number
  if (!(std::fabs(angle) < 1e3)) return {std::cos(angle), std::sin(angle)};
  const double quarters = (angle * (2 / kPi) + kShift) - kShift;
  const double r = (angle - quarters * 1.57079632673412561417e+00) - quarters * 6.07710050650619224932e-11;
  const double z = r * r;
  const double sine =
      r + r * z * (-1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 +
          z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
  const double cosine =
      1 - (0.5 * z - z * z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05 +
          z * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11))))));
  // Quarters come in no order that a processor could guess: no branches.
  const int64_t quarter = static_cast<int64_t>(quarters);
  const double both[2] = {cosine, sine};
  return {static_cast<double>(1 - ((quarter + 1) & 2)) * both[quarter & 1],
          static_cast<double>(1 - (quarter & 2)) * both[~quarter & 1]};
}

// An angle brought to [-pi, pi]; most are at most one turn away, which needs no division.
inline double wrap_angle(double angle) {
  if (std::fabs(angle) <= kPi) return angle;
  return std::fabs(angle) <= 3 * kPi ? angle - std::copysign(2 * kPi, angle) : std::remainder(angle, 2 * kPi);
}

}  // namespace meshconv
