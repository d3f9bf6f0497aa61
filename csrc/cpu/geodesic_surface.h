// A triangle mesh as the geodesic front sees it: half-edges, unfolding coefficients, and angles round the vertices.
#pragma once

#include <vector>

#include "triangles.h"

namespace meshconv {

// How the corners lie round a vertex.
enum VertexKind : int64_t { kIrregular = 0, kInterior = 1, kBoundary = 2 };

struct GeodesicSurface {
  int64_t vertices, half_edges;
  const double *points, *frames;                 // [V, 3], [V, 3, 3]
  const int64_t *origin, *twin;                  // [H]
  const double *corner, *fan_angle;              // [H]
  const double *total, *scale;                   // [V]
  const int64_t* kind;                           // [V]
  const int64_t *ring_ptr, *ring_src;            // the one-ring graph, rows = targets
  const double *ring_radius, *ring_angle, *ring_transporter;
  struct HalfEdge {
    double along, up, length;  // up < 0: the face cannot be unfolded over this edge
    int64_t origin, twin;
  };
  std::vector<HalfEdge> edge;                    // [H]; what a front asks of one lies together
  std::vector<int64_t> out_ptr, out;             // half-edges that leave each vertex

  double mean_length;                            // of an edge

  int64_t tip(int64_t h) const { return edge[next(h)].origin; }
  Vec3 point(int64_t v) const { return row(points, v); }

  // The third corner of the face of h is  p1 + along (p2 - p1) + up J (p2 - p1),  J a quarter turn to the left.
  void prepare() {
    edge.resize(half_edges);
    out_ptr.assign(vertices + 1, 0), out.resize(half_edges);
    for (int64_t h = 0; h < half_edges; ++h) {
      const Vec3 e = point(origin[next(h)]) - point(origin[h]), w = point(origin[previous(h)]) - point(origin[h]);
      const double square = dot(e, e);
      edge[h] = {dot(e, w) / square, norm(cross(e, w)) / square, std::sqrt(square), origin[h], twin[h]};
      // Unfolding over an edge this much shorter than its face loses all digits; the way round by the
      // vertices remains.
      if (!(square > 0 && std::fabs(edge[h].along) < 1e8 && edge[h].up < 1e8)) edge[h].up = -1;
      ++out_ptr[origin[h] + 1];
    }
    double sum = 0;
    for (const HalfEdge& e : edge) sum += e.length;
    mean_length = half_edges > 0 ? sum / static_cast<double>(half_edges) : 0;
    for (int64_t v = 0; v < vertices; ++v) out_ptr[v + 1] += out_ptr[v];
    std::vector<int64_t> place(out_ptr.begin(), out_ptr.end() - 1);
    for (int64_t h = 0; h < half_edges; ++h) out[place[origin[h]]++] = h;
  }

  // Angle in v's frame of the direction that lies `turn` counter-clockwise of h, in the face of h.
  double direction(int64_t v, int64_t h, double turn) const {
    if (kind[v] != kIrregular) return scale[v] * (fan_angle[h] + turn);
    Vec3 e = point(tip(h)) - point(v), w = point(origin[previous(h)]) - point(v);
    const double square = dot(e, e);
    if (square > 0) w = w - (dot(e, w) / square) * e, e = (1 / std::sqrt(square)) * e;
    const double height = norm(w);
    if (height > 0) w = (1 / height) * w;
    const Vec3 d = std::cos(turn) * e + std::sin(turn) * w;
    const double* f = frames + 9 * v;
    return std::atan2(dot(Vec3{f[3], f[4], f[5]}, d), dot(Vec3{f[0], f[1], f[2]}, d));
  }
};

}  // namespace meshconv
