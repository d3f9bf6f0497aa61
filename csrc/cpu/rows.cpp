// Checks of index values before a CPU operator reads along them. They cost one pass over the indices that the operator
// itself is about to read, about one per cent of a convolution; docs/benchmarks.md has the figure.
#include "../rows.h"

#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <atomic>

namespace meshconv {
namespace {

constexpr int64_t kGrain = 8192;

bool within(int64_t index, int64_t size) { return static_cast<uint64_t>(index) < static_cast<uint64_t>(size); }

bool ascends(const int64_t* ptr, int64_t row, int64_t members) {
  return ptr[row] >= 0 && ptr[row] <= ptr[row + 1] && ptr[row + 1] <= members;
}

// Whether a member is the row's own and comes from somewhere.
bool fits(const Rows& r, int64_t row, int64_t slot) {
  if (!r.transpose) return r.dst[slot] == row && within(r.src[slot], r.from);
  const int64_t e = r.src_edge[slot];
  return within(e, r.edges) && r.src[e] == row && within(r.dst[e], r.from);
}

// Its highest bit is set if the index is not within the size: then it is set in i or in size - 1 - i. Without a branch,
// so that the compiler takes several at a time.
uint64_t beyond(int64_t index, int64_t size) {
  const uint64_t i = static_cast<uint64_t>(index);
  return i | (static_cast<uint64_t>(size) - 1 - i);
}

bool all_within(const int64_t* index, int64_t count, int64_t size) {
  uint64_t bits = 0;
  for (int64_t k = 0; k < count; ++k) bits |= beyond(index[k], size);
  return bits >> 63 == 0;
}

// The same as `fits` for all members of the rows [begin, end), in loops that are quick.
bool rows_fit(const Rows& r, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row)
    if (!ascends(r.ptr, row, r.edges)) return false;
  const int64_t first = r.ptr[begin], count = r.ptr[end] - first;
  if (!(r.transpose ? all_within(r.src_edge + first, count, r.edges) : all_within(r.src + first, count, r.from)))
    return false;
  int64_t differences = 0;
  uint64_t bits = 0;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t slot = r.ptr[row]; slot < r.ptr[row + 1]; ++slot) {
      if (!r.transpose) {
        differences |= r.dst[slot] ^ row;
        continue;
      }
      const int64_t e = r.src_edge[slot];
      differences |= r.src[e] ^ row;
      bits |= beyond(r.dst[e], r.from);
    }
  return differences == 0 && bits >> 63 == 0;
}

// What the first misfit is.
void report(const char* op, const Rows& r) {
  const char* owner = r.transpose ? "src" : "dst";
  const char* other = r.transpose ? "dst" : "src";
  const int64_t *owners = r.transpose ? r.src : r.dst, *others = r.transpose ? r.dst : r.src;
  for (int64_t row = 0; row < r.rows; ++row)
    for (int64_t slot = r.ptr[row]; slot < r.ptr[row + 1]; ++slot) {
      if (fits(r, row, slot)) continue;
      const int64_t e = r.edge(slot);
      STD_TORCH_CHECK(within(e, r.edges), op, ": src_edge[", slot, "] is ", e, ", out of range for ", r.edges, " edges");
      STD_TORCH_CHECK(owners[e] == row, op, ": edge ", e, " stands in row ", row, " of ", owner, "_ptr, but ", owner, "[",
                      e, "] is ", owners[e], "; edges have to be sorted as GaugeGraph.from_edges does");
      STD_TORCH_CHECK(within(others[e], r.from), op, ": ", other, "[", e, "] is ", others[e], ", out of range for ",
                      r.from, " vertices");
    }
}

}  // namespace

void check_row_pointers(const char* op, const char* name, const int64_t* ptr, int64_t rows, int64_t members) {
  STD_TORCH_CHECK(ptr[0] == 0 && ptr[rows] == members, op, ": ", name, " goes from ", ptr[0], " to ", ptr[rows],
                  ", expected 0 to ", members);
  for (int64_t row = 0; row < rows; ++row)
    STD_TORCH_CHECK(ascends(ptr, row, members), op, ": ", name, " does not ascend: ", ptr[row], " at ", row, ", then ",
                    ptr[row + 1]);
}

void check_edge_values(const char* op, const Rows& r) {
  std::atomic<bool> fit{r.ptr[0] == 0 && r.ptr[r.rows] == r.edges};
  if (fit)
    torch::stable::parallel_for(0, r.rows, kGrain, [&](int64_t begin, int64_t end) {
      if (!rows_fit(r, begin, end)) fit = false;
    });
  if (fit) return;
  check_row_pointers(op, r.transpose ? "src_ptr" : "dst_ptr", r.ptr, r.rows, r.edges);
  report(op, r);
}

}  // namespace meshconv
