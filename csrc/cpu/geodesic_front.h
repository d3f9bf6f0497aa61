// Exact geodesics from one vertex over its neighbourhood: straight lines followed through unfolded triangle strips.
//
// A window is what a source sees through one edge: a cone of rays in the plane into which the triangles between have
// been unfolded, source at the origin (Mitchell, Mount, Papadimitriou 1987; Chen, Han 1990). Vertices leave a queue by
// their distance, windows one of buckets of distances, each before the vertices of its bucket, so that a vertex that
// leaves has its final distance (Xin, Wang 2009; buckets: Xu, Wang, Liu, Liu, He 2015). Shortest paths bend
// only at vertices of more than a full turn (more than pi on a boundary); such a vertex becomes a
// source for the wedge of directions that no straight line through it serves.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "geodesic_surface.h"

namespace meshconv {

// Which vertices belong to the neighbourhood; what is not asked for is 0 rings, infinity, or 0 nearest.
struct GeodesicExtent {
  int64_t rings;
  double radius;
  int64_t nearest;
};

// Vertices to be reached, and everything within `radius`. A target's bound is a guess of its distance, at best a little
// more: fronts that cannot reach a target within its bound by the shortest line through space are left aside.
struct GeodesicTargets {
  const int64_t* vertex;
  const double* bound;
  int64_t count;
  double radius;
};

class GeodesicFront {
 public:
  // The last stretch of a path to a vertex, from its source: an edge of the one-ring graph, or a line that leaves by
  // half-edge `start`'s face and arrives at `end` in the source's plane.
  struct Path {
    int64_t source = -1;       // index into reached(); -1: no path
    int64_t start = -1;        // -1: along `edge`
    int64_t edge = -1;
    int64_t back = -1;         // half-edge from the vertex to the right of the arriving line
    Vec2 end{0, 0}, back_end{0, 0};  // where `back` ends
  };
  // A vertex with the best path known; and its rival, a line as short to rounding, as on symmetric meshes.
  struct Reached {
    int64_t vertex;
    double distance;
    Path path, rival;
    double angle, transporter;  // at the centre; known once settled
    bool settled, member;
  };

  explicit GeodesicFront(const GeodesicSurface& surface)
      : surface_(surface), place_(surface.vertices, -1), distance_(surface.vertices, kFar), buckets_(kBuckets),
        per_length_(surface.mean_length > 0 ? kPerEdge / surface.mean_length : 0) {}

  const std::vector<Reached>& reached() const { return reached_; }
  const Reached& reached(int64_t vertex) const { return reached_[place_[vertex]]; }

  // Fill reached() with the neighbourhood of `centre`: those settled that are members.
  void run(int64_t centre, const GeodesicExtent& extent) {
    begin(centre, extent.radius);
    int64_t missing = std::numeric_limits<int64_t>::max();
    if (extent.rings > 0) missing = mark_rings(extent.rings);
    if (extent.nearest > 0) missing = extent.nearest;
    spread(missing, extent.rings > 0);
  }

  // Until all targets are settled; whether that could be. Whatever is settled has its shortest path: if a bound was too
  // low for that, the targets are looked for once more without.
  bool run(int64_t centre, const GeodesicTargets& targets) {
    for (const bool bounded : {true, false}) {
      begin(centre, std::numeric_limits<double>::infinity());
      ball_ = targets.radius;
      if (bounded) near_ = ball_;
      const int64_t missing = mark_targets(targets);
      spread(missing, true);
      bool found = true, within = true;
      for (int64_t k = 0; k < targets.count; ++k) {
        const Reached& r = reached(targets.vertex[k]);
        found = found && r.settled;
        within = within && r.distance <= targets.bound[k];
      }
      if (found && (within || !bounded)) return true;
    }
    return false;
  }

 private:
  void begin(int64_t centre, double limit) {
    for (const Reached& r : reached_) place_[r.vertex] = -1, distance_[r.vertex] = kFar;
    for (size_t b = bucket_; b <= last_bucket_; ++b) buckets_[b].clear();
    reached_.clear(), queue_.clear(), open_.clear();
    bucket_ = last_bucket_ = 0, windows_ = 0;
    limit_ = near_ = limit, ball_ = -1;
    reached_.push_back({centre, 0, {}, {}, 0, 0, true, false});
    place_[centre] = 0, distance_[centre] = 0;
  }

  // Settle vertices until no member is missing and the ball is full; unless members are marked, all are.
  void spread(int64_t missing, bool marked) {
    const int64_t centre = reached_[0].vertex;
    relax_edges(0);
    for (int64_t k = surface_.out_ptr[centre]; k < surface_.out_ptr[centre + 1]; ++k)
      emit(0, surface_.out[k], 0, surface_.corner[surface_.out[k]]);
    while (true) {
      const double next = queue_.empty() ? kFar : queue_.front().key;
      const size_t until = std::min(bucket(next), last_bucket_);
      while (bucket_ < until && buckets_[bucket_].empty()) ++bucket_;
      if (!buckets_[bucket_].empty()) {
        if (missing <= 0 && static_cast<double>(bucket_) > ball_ * per_length_) break;
        const Window window = buckets_[bucket_].back();
        buckets_[bucket_].pop_back();
        advance(window);
        continue;
      }
      if (queue_.empty() || next > limit_ || (missing <= 0 && next > ball_)) break;
      const int64_t at = place_[queue_.front().vertex];
      std::pop_heap(queue_.begin(), queue_.end());
      queue_.pop_back();
      Reached& r = reached_[at];
      if (r.settled || r.distance < next) continue;
      r.settled = true;
      if (!open_.empty()) close(r.vertex);
      const double incoming = measure(r);
      if (marked ? r.member : (r.member = true)) --missing;
      if (missing > 0 || next <= ball_) leave(at, incoming);
    }
  }

  struct Window {
    int64_t half_edge;    // of the face that the rays enter, from v1 on their left to v2 on their right
    Vec2 p1, p2;          // v1, v2 in the source's plane
    Vec2 left, right;     // the cone
    double distance;      // of the source from the centre
    int64_t source, start;
  };
  struct Event {
    double key;
    int64_t vertex;  // of equally near vertices the lower number first
    bool operator<(const Event& other) const { return key > other.key || (key == other.key && vertex > other.vertex); }
  };

  static constexpr double kFar = std::numeric_limits<double>::infinity();
  static constexpr size_t kBuckets = 4096;  // what is farther is in the last one
  static constexpr double kPerEdge = 2;     // buckets in the length of an edge
  static constexpr double kTie = 1e-10;    // relative difference of lengths that counts as none
  static constexpr double kSlack = 1e-12;  // relative: a line through a vertex passes on both sides of it

  int64_t place(int64_t vertex) {
    if (place_[vertex] < 0) {
      place_[vertex] = static_cast<int64_t>(reached_.size());
      reached_.push_back({vertex, std::numeric_limits<double>::infinity(), {}, {}, 0, 0, false, false});
    }
    return place_[vertex];
  }

  size_t bucket(double key) const {
    const double place = key * per_length_;
    return place < static_cast<double>(kBuckets - 1) ? static_cast<size_t>(place) : kBuckets - 1;
  }

  // A shorter way to a vertex that is not settled.
  void improve(Reached& r, double distance, const Path& path) {
    r.distance = distance_[r.vertex] = distance;
    r.path = path, r.rival = {};
    queue_.push_back({distance, r.vertex});
    std::push_heap(queue_.begin(), queue_.end());
  }

  // Members by number of edges; how many there are.
  int64_t mark_rings(int64_t rings) {
    size_t begin = 0;
    for (int64_t ring = 0; ring < rings; ++ring) {
      const size_t end = reached_.size();
      for (; begin < end; ++begin) {
        const int64_t v = reached_[begin].vertex;
        for (int64_t e = surface_.ring_ptr[v]; e < surface_.ring_ptr[v + 1]; ++e)
          reached_[place(surface_.ring_src[e])].member = true;
      }
    }
    reached_[0].member = false;
    return static_cast<int64_t>(reached_.size()) - 1;
  }

  // Targets become members; how many there are. Those not settled yet are open.
  int64_t mark_targets(const GeodesicTargets& targets) {
    int64_t count = 0;
    for (int64_t k = 0; k < targets.count; ++k) {
      Reached& r = reached_[place(targets.vertex[k])];
      if (r.settled || r.member) continue;
      r.member = true;
      open_.push_back({r.vertex, surface_.point(r.vertex), targets.bound[k] * (1 + 1e-9)});  // with rivals
      ++count;
    }
    return count;
  }

  void close(int64_t vertex) {
    for (size_t k = 0; k < open_.size(); ++k)
      if (open_[k].vertex == vertex) {
        open_[k] = open_.back(), open_.pop_back();
        return;
      }
  }

  // Whether a path that has come within `reach` of x after a length of `key` may go on to an open target.
  bool useful(double key, Vec3 x, double reach) const {
    for (const Target& t : open_) {
      const double left = t.bound - key + reach;
      const Vec3 d = t.point - x;
      if (left >= 0 && dot(d, d) <= left * left) return true;
    }
    return false;
  }

  void relax_edges(int64_t from) {
    const int64_t v = reached_[from].vertex;
    const double d = reached_[from].distance;
    for (int64_t e = surface_.ring_ptr[v]; e < surface_.ring_ptr[v + 1]; ++e) {
      const double sum = d + surface_.ring_radius[e];
      if (sum > limit_ || (sum > near_ && !useful(sum, surface_.point(surface_.ring_src[e]), 0))) continue;
      const int64_t to = place(surface_.ring_src[e]);
      Reached& r = reached_[to];
      if (r.settled || !(sum < r.distance)) continue;
      improve(r, sum, {from, -1, e, -1, {0, 0}, {0, 0}});
    }
  }

  struct Measured {
    double angle, transporter;  // at the centre
    double back;                // direction back along the path in the vertex's fan, unscaled; no use if irregular
  };

  Measured follow(int64_t vertex, const Path& path) const {
    const Reached& q = reached_[path.source];
    double out, turn, back;
    if (path.start < 0) {
      out = surface_.ring_angle[path.edge];
      turn = surface_.ring_transporter[path.edge];
      const double scaled = std::remainder(out + kPi - turn, 2 * kPi);
      // On a boundary scaled angles lie in [0, pi], inside in a full turn.
      back = (scaled < (surface_.kind[vertex] == kBoundary ? -kPi / 2 : 0) ? scaled + 2 * kPi : scaled) /
             surface_.scale[vertex];
    } else {
      const Vec2 to_back = path.back_end - path.end, to_source = Vec2{0, 0} - path.end;
      const double inside = std::atan2(cross(to_back, to_source), dot(to_back, to_source));
      out = surface_.direction(q.vertex, path.start, std::atan2(path.end.y, path.end.x));
      turn = out + kPi - surface_.direction(vertex, path.back, inside);
      back = surface_.fan_angle[path.back] + inside;
    }
    const bool direct = path.source == 0;
    return {direct ? out : q.angle, direct ? turn : turn + q.transporter, back};
  }

  // Angle and transporter of a vertex whose path is final; of two equally short ones the mean, so that rounding
  // decides nothing. Returns the direction back.
  double measure(Reached& r) const {
    const Measured one = follow(r.vertex, r.path);
    r.angle = one.angle, r.transporter = one.transporter;
    if (r.rival.source >= 0) {
      const Measured other = follow(r.vertex, r.rival);
      r.angle += std::remainder(other.angle - one.angle, 2 * kPi) / 2;
      r.transporter += std::remainder(other.transporter - one.transporter, 2 * kPi) / 2;
    }
    return one.back;
  }

  // A settled vertex as a source: along its edges, and into the wedge that straight lines through it leave dark.
  void leave(int64_t from, double incoming) {
    const int64_t v = reached_[from].vertex;
    relax_edges(from);
    const double total = surface_.total[v];
    const bool boundary = surface_.kind[v] == kBoundary, irregular = surface_.kind[v] == kIrregular;
    if (!irregular && total <= (boundary ? kPi : 2 * kPi)) return;
    for (int64_t k = surface_.out_ptr[v]; k < surface_.out_ptr[v + 1]; ++k) {
      const int64_t h = surface_.out[k];
      const double begin = surface_.fan_angle[h], angle = surface_.corner[h];
      if (irregular) {
        emit(from, h, 0, angle);
      } else if (boundary) {
        emit(from, h, std::max(0.0, incoming + kPi - begin), angle);
        emit(from, h, 0, std::min(angle, incoming - kPi - begin));
      } else {
        double offset = std::fmod(incoming + kPi - begin, total);
        if (offset < 0) offset += total;
        emit(from, h, offset, std::min(angle, offset + total - 2 * kPi));
        emit(from, h, 0, std::min(angle, offset - 2 * kPi));
      }
    }
  }

  // The rays between two angles from half-edge h, through the opposite edge of its face.
  void emit(int64_t from, int64_t h, double low, double high) {
    if (!(low < high)) return;
    const int64_t opposite = next(h), entered = surface_.edge[opposite].twin;
    if (entered < 0) return;
    const double angle = surface_.corner[h], far = surface_.edge[previous(h)].length;
    const Vec2 right{surface_.edge[h].length, 0}, left{far * std::cos(angle), far * std::sin(angle)};
    push_window({entered, left, right, high < angle ? Vec2{std::cos(high), std::sin(high)} : left,
                 low > 0 ? Vec2{std::cos(low), std::sin(low)} : right, reached_[from].distance, from, h});
  }

  // Unfold the face behind a window's edge.
  void advance(const Window& w) {
    const int64_t h = w.half_edge;
    const double a = surface_.edge[h].along, b = surface_.edge[h].up;
    if (b < 0) return;
    const int64_t from_third = previous(h);
    const auto &right_side = surface_.edge[next(h)], &left_side = surface_.edge[from_third];
    for (const auto* side : {&right_side, &left_side})
      if (side->twin >= 0) prefetch(&surface_.edge[side->twin]);
    const Vec2 e = w.p2 - w.p1;
    const Vec2 p3{w.p1.x + a * e.x - b * e.y, w.p1.y + a * e.y + b * e.x};
    const double size = std::fabs(p3.x) + std::fabs(p3.y);
    const double inside_right = cross(w.right, p3), inside_left = cross(p3, w.left);
    const bool passes_right = inside_right < -kSlack * size * (std::fabs(w.right.x) + std::fabs(w.right.y));
    const bool passes_left = inside_left < -kSlack * size * (std::fabs(w.left.x) + std::fabs(w.left.y));
    if (!passes_right && !passes_left) reach(left_side.origin, p3, from_third, w);
    if (!passes_left && left_side.twin >= 0 && inside_left > 0)
      push_window({left_side.twin, w.p1, p3, w.left, inside_right < 0 ? w.right : p3, w.distance, w.source, w.start});
    if (!passes_right && right_side.twin >= 0 && inside_right > 0)
      push_window({right_side.twin, p3, w.p2, inside_left < 0 ? w.left : p3, w.right, w.distance, w.source, w.start});
  }

  void reach(int64_t vertex, Vec2 p, int64_t back, const Window& w) {
    const double sum = w.distance + norm(p);
    if (sum > limit_ || (sum > near_ && !useful(sum, surface_.point(vertex), 0))) return;
    const int64_t to = place(vertex);
    Reached& r = reached_[to];
    const Path path{w.source, w.start, -1, back, p, w.p1};
    if (r.settled) return;
    if (r.path.start >= 0 && std::fabs(sum - r.distance) <= kTie * sum) {
      if (r.rival.source < 0) r.rival = path;
      return;
    }
    if (!(sum < r.distance)) return;
    improve(r, sum, path);
  }

  // Queue a window by the distance of its nearest point, unless that is out of range or the way by
  // one of the edge's ends is shorter all along it.
  void push_window(const Window& w) {
    const Vec2 e = w.p2 - w.p1;
    const double length = surface_.edge[w.half_edge].length;
    const double across_left = cross(w.left, e), across_right = cross(w.right, e);
    // Where the cone's sides cut the edge, as fractions of it; a side along the edge cuts off nothing.
    double a = across_left < 0 ? -cross(w.left, w.p1) / across_left : 0;
    double b = across_right < 0 ? -cross(w.right, w.p1) / across_right : 1;
    a = std::min(std::max(a, 0.0), 1.0), b = std::min(std::max(b, a), 1.0);
    const Vec2 from{w.p1.x + a * e.x, w.p1.y + a * e.y}, to{w.p1.x + b * e.x, w.p1.y + b * e.y};
    const double d_from = norm(from), d_to = norm(to);
    double nearest = std::min(d_from, d_to);
    if (dot(from, e) < 0 && dot(to, e) > 0) nearest = std::min(nearest, std::fabs(cross(w.p1, e)) / length);
    const double key = w.distance + nearest;
    if (key > limit_) return;
    const double slack = 1 + 1e-9;
    const int64_t v1 = surface_.edge[w.half_edge].origin, v2 = surface_.tip(w.half_edge);
    if (w.distance + d_to > (distance_[v1] + b * length) * slack) return;
    if (w.distance + d_from > (distance_[v2] + (1 - a) * length) * slack) return;
    if (key > near_ && !useful(key, 0.5 * (surface_.point(v1) + surface_.point(v2)), 0.5 * length)) return;
    // No reasonable surface comes near this; on others the ways along edges remain.
    if (++windows_ > 4096 + 256 * reached_.size()) return;
    const size_t place = std::max(bucket(key), bucket_);
    last_bucket_ = std::max(last_bucket_, place);
    buckets_[place].push_back(w);
  }

  const GeodesicSurface& surface_;
  std::vector<int64_t> place_;  // of each vertex in reached_, -1 if it is not there
  std::vector<Reached> reached_;
  std::vector<double> distance_;  // of each vertex, as far as known
  std::vector<Event> queue_;      // vertices
  std::vector<std::vector<Window>> buckets_;
  const double per_length_;       // buckets in a unit of length
  size_t bucket_ = 0, last_bucket_ = 0, windows_ = 0;  // the first and last that may hold windows; windows so far
  struct Target {
    int64_t vertex;
    Vec3 point;
    double bound;
  };
  std::vector<Target> open_;  // targets that are not settled yet
  // Nothing beyond limit_ counts; nothing beyond near_ but the ways to open targets; all within ball_ is settled.
  double limit_ = 0, near_ = 0, ball_ = -1;
};

}  // namespace meshconv
