// K and V as pairs of bf16, the way that attention in bf16 multiplies them.
//
// Pairs are two neighbours in a sum: of K two dimensions of a token, of V two tokens of a dimension.
#pragma once

#include "kernels/attention_context.h"
#include "kernels/simd_bf16.h"

namespace gradus::avx512 {
namespace {

constexpr index_t pairs_per_group = panel_width / 2;
constexpr index_t pairs_per_partition = partition_size / 2;
constexpr index_t slice = 2 * panel_width;  // dimensions of V that lie side by side

// Pair i of a group's K: lanes are tokens.
inline __attribute__((always_inline)) bf16x32 k_pair(const uint16_t* k, index_t i) {
  return interleaved(load_f16(k + 2 * i * panel_width), load_f16(k + (2 * i + 1) * panel_width));
}

// Pair i of a group's V from a dimension on: lanes are dimensions. A token after the context's last is 0,
// whatever the cache holds there.
inline __attribute__((always_inline)) bf16x32 v_pair(const uint16_t* v, index_t i, index_t head_dim,
                                                     bool is_whole) {
  return interleaved(load_f16(v + 2 * i * head_dim),
                     is_whole ? load_f16(v + (2 * i + 1) * head_dim) : zero());
}

// A partition's values, made once for all tiles of a sweep.
struct ValuePairs {
  uint32_t* pairs;  // [slices][pairs_per_partition][32 dimensions]
  index_t head_dim;

  const uint32_t* of_slice(index_t d) const { return pairs + d / slice * pairs_per_partition * slice; }

  void convert(const Partition<uint16_t>& from, index_t group) const {
    const index_t num_tokens = min_of(panel_width, from.num_tokens - group * panel_width);
    for (index_t i = 0; 2 * i < num_tokens; ++i) {
      uint32_t* to = pairs + (group * pairs_per_group + i) * slice;
      for (index_t d = 0; d < head_dim; d += panel_width) {
        store_pairs(to + d / slice * pairs_per_partition * slice + d % slice,
                    v_pair(from.groups[group].v + d, i, head_dim, 2 * i + 1 < num_tokens));
      }
    }
  }
};

// acc[r][p] += sum over i, in order, of the products of x[r * RowStride + i] and pairs(i, p).
template <int R, int P, int RowStride, class PairsOf>
inline __attribute__((always_inline)) void accumulate_pairs(const uint32_t* x, index_t n,
                                                            const PairsOf& pairs, f32x16 (&acc)[R][P]) {
  f32x16 local[R][P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) local[r][p] = acc[r][p];
  }
  for (index_t i = 0; i < n; ++i, ++x) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      const bf16x32 lanes = pairs(i, p);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) local[r][p] = add_products(x + r * RowStride, lanes, local[r][p]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) acc[r][p] = local[r][p];
  }
}

}  // namespace
}  // namespace gradus::avx512
