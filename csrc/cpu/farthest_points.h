// Farthest point sampling by geodesic distance: each new point is as far as can be from all before it.
//
// Distances are marched over triangles: from two corners that are done, the source is unfolded into the plane of the
// third and its distance taken along the straight line through the edge between (Novotni, Klein 2002); else along edges.
// That is exact on flat parts, and a march stops where an earlier point is nearer, so that n points cost about
// log(n) marches over all vertices. Lengths are compared in single precision: rounding decides nothing between equals.
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "geodesic_surface.h"

namespace meshconv {

class FarthestPoints {
 public:
  // Of points equally far the one of lowest rank is taken; ranks are a permutation of 0 .. V - 1.
  FarthestPoints(const GeodesicSurface& surface, const int64_t* rank)
      : surface_(surface), rank_(rank), known_(surface.vertices), cell_(surface.vertices, -1),
        chosen_(surface.vertices, false) {
    for (int64_t v = 0; v < surface.vertices; ++v) farthest_.push_back(candidate(v));
    std::make_heap(farthest_.begin(), farthest_.end());
  }

  double distance(int64_t v) const { return known_[v].distance; }  // to the nearest point so far
  const std::vector<int64_t>& cell() const { return cell_; }       // which point that is
  const std::vector<int64_t>& points() const { return points_; }

  // Add a point. The first of a component is the vertex farthest from its vertex of lowest rank: an end of it.
  void add() {
    int64_t v = next();
    if (distance(v) == kFar) {
      march(v, -1);
      Candidate end = candidate(v);
      for (int64_t u : settled_) end = std::max(end, candidate(u));
      for (int64_t u : settled_) known_[u].distance = kFar;
      farthest_.push_back(candidate(v));
      std::push_heap(farthest_.begin(), farthest_.end());
      v = end.vertex;
    }
    chosen_[v] = true;
    march(v, static_cast<int64_t>(points_.size()));
    points_.push_back(v);
  }

 private:
  struct Candidate {
    float distance;
    int64_t rank, vertex;
    bool operator<(const Candidate& other) const {
      return distance != other.distance ? distance < other.distance : rank > other.rank;
    }
  };
  static constexpr double kFar = std::numeric_limits<double>::infinity();

  Candidate candidate(int64_t v) const { return {static_cast<float>(distance(v)), rank_[v], v}; }

  // The farthest vertex; distances only shrink, so one that is out of date goes back to its place.
  int64_t next() {
    while (true) {
      std::pop_heap(farthest_.begin(), farthest_.end());
      const Candidate top = farthest_.back();
      farthest_.pop_back();
      if (chosen_[top.vertex]) continue;
      const Candidate now = candidate(top.vertex);
      if (now.distance == top.distance) return top.vertex;
      farthest_.push_back(now);
      std::push_heap(farthest_.begin(), farthest_.end());
    }
  }

  // Every vertex that `source` is nearer to than any point before.
  void march(int64_t source, int64_t cell) {
    ++now_;
    settled_.clear(), queue_.clear();
    known_[source].begin(now_, 0);
    queue_.emplace_back(0, source);
    while (!queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
      const int64_t v = queue_.back().second;
      queue_.pop_back();
      Known& k = known_[v];
      if (k.done) continue;
      k.done = true;
      k.distance = k.run, cell_[v] = cell;
      settled_.push_back(v);
      for (int64_t e = surface_.ring_ptr[v]; e < surface_.ring_ptr[v + 1]; ++e)
        improve(surface_.ring_src[e], k.run + surface_.ring_radius[e]);
      for (int64_t o = surface_.out_ptr[v]; o < surface_.out_ptr[v + 1]; ++o) {
        const int64_t h = surface_.out[o];
        unfold(h);
        unfold(previous(h));
      }
    }
  }

  bool done(int64_t v) const { return known_[v].march == now_ && known_[v].done; }

  void improve(int64_t v, double distance) {
    Known& k = known_[v];
    if (!(static_cast<float>(distance) < static_cast<float>(k.distance))) return;
    if (k.march == now_ && (k.done || !(distance < k.run))) return;
    k.begin(now_, distance);
    queue_.emplace_back(distance, v);
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
  }

  // From both ends of half-edge h to the third corner of its face.
  void unfold(int64_t h) {
    const int64_t i = surface_.edge[h].origin, j = surface_.tip(h);
    if (surface_.edge[h].up < 0 || !done(i) || !done(j)) return;
    const double length = surface_.edge[h].length, di = known_[i].run, dj = known_[j].run;
    // The source in the plane: at (x, -y), the half-edge along the x axis.
    const double x = (di * di - dj * dj + length * length) / (2 * length);
    const double y = std::sqrt(std::max(di * di - x * x, 0.0));
    const double third_x = surface_.edge[h].along * length, third_y = surface_.edge[h].up * length;
    const double through = x * third_y + third_x * y;  // where the line crosses the edge, times y + third_y
    if (!(through >= 0 && through <= length * (y + third_y))) return;
    const double dx = third_x - x, dy = third_y + y;
    improve(surface_.edge[previous(h)].origin, std::sqrt(dx * dx + dy * dy));
  }

  struct Known {
    double distance = kFar;  // to the nearest point so far
    double run = 0;          // of the march that reached it last
    int64_t march = 0;
    bool done = false;

    void begin(int64_t now, double first) { run = first, march = now, done = false; }
  };

  const GeodesicSurface& surface_;
  const int64_t* rank_;
  std::vector<Known> known_;
  std::vector<int64_t> cell_, points_;
  std::vector<Candidate> farthest_;
  std::vector<char> chosen_;
  // Of the march under way.
  std::vector<int64_t> settled_;
  std::vector<std::pair<double, int64_t>> queue_;
  int64_t now_ = 0;
};

}  // namespace meshconv
