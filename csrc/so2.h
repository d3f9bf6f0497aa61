// Arithmetic of rotations of the plane, shared by host and device. No torch header here.
#pragma once

#include <math.h>

#if defined(__CUDACC__)
#define MESHCONV_HD __host__ __device__ __forceinline__
#else
#define MESHCONV_HD inline
#endif

namespace meshconv {

// The unit complex number c + i s of an angle.
template <typename T>
struct Rotation {
  T c, s;
};

MESHCONV_HD Rotation<float> rotation(float angle) { return {cosf(angle), sinf(angle)}; }
MESHCONV_HD Rotation<double> rotation(double angle) { return {cos(angle), sin(angle)}; }

// First a, then b: the angles add. Powers of e^{i a} come from repeated products, one rounding each.
template <typename T>
MESHCONV_HD Rotation<T> operator*(Rotation<T> a, Rotation<T> b) {
  return {a.c * b.c - a.s * b.s, a.s * b.c + a.c * b.s};
}

// Angles of one edge as the operator's direction sees it. Forward, a target collects from its sources:
// turn the source's components by g - theta into the edge's frame, later turn the output back by theta.
// The adjoint runs over the same edge from dst to src with theta' = theta - g and g' - theta' = -theta.
template <typename T>
struct EdgeAngles {
  T into, out;
};

template <typename T>
MESHCONV_HD EdgeAngles<T> edge_angles(T theta, T transporter, bool transpose) {
  return transpose ? EdgeAngles<T>{-theta, theta - transporter} : EdgeAngles<T>{transporter - theta, theta};
}

}  // namespace meshconv
