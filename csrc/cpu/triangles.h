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

// An angle brought to [-pi, pi]; most are at most one turn away, which needs no division.
inline double wrap_angle(double angle) {
  if (std::fabs(angle) <= kPi) return angle;
  return std::fabs(angle) <= 3 * kPi ? angle - std::copysign(2 * kPi, angle) : std::remainder(angle, 2 * kPi);
}

}  // namespace meshconv
