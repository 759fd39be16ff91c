// Scores of attention from queries and keys in 8 bits, which one instruction multiplies four at a time: half
// the instructions of bf16. See attention_bf16.cpp for the arithmetic.
#pragma once

#include "kernels/attention_ahead.h"
#include "kernels/simd_int8_keys.h"

namespace gradus::avx512 {
namespace {

constexpr index_t dims_per_scale = 32;  // of a key
constexpr index_t fours_per_chunk = q_chunk / 4;
constexpr int queries_per_pass = 4;
constexpr index_t scales_per_chunk = q_chunk / dims_per_scale;

// A query has one scale, a key one for each 32 dimensions. The instruction takes one unsigned factor, a key's
// code + 128, and sums start from -128 times the sum of the query's codes.
struct Int8Scores {
  const AttentionArgs& args;
  index_t num_scales;  // of a key
  uint32_t* q;         // of every tile of R queries: [head_dim / q_chunk][R][q_chunk / 4], four codes each
  int32_t* starts;     // of every tile: [scales][R]
  float* factors;      // [queries]
  uint32_t* k;         // of a partition: [groups / 2][head_dim / 4][2 groups][16 tokens]
  float* scales;       // [scales][tokens of a partition]

  Int8Scores(const AttentionArgs& the_args, uint32_t* scratch)
      : args(the_args), num_scales((args.cache.head_dim + dims_per_scale - 1) / dims_per_scale), q(scratch) {
    const index_t padded_dim = padded_to_chunks(args.cache.head_dim);
    starts = reinterpret_cast<int32_t*>(q + bf16_queries_at_once * padded_dim / 4);
    factors = reinterpret_cast<float*>(starts + bf16_queries_at_once * padded_dim / dims_per_scale);
    k = reinterpret_cast<uint32_t*>(factors + bf16_queries_at_once);
    scales = reinterpret_cast<float*>(k + num_fours() * partition_size);
  }

  uint32_t* scratch_end() const { return reinterpret_cast<uint32_t*>(scales + num_scales * partition_size); }

  index_t num_fours() const { return (args.cache.head_dim + 3) / 4; }

  float factor(index_t query) const { return factors[query]; }

  template <int R>
  void pack(const Query* queries, index_t at) {
    for (int r = 0; r < R; ++r) {
      const float* from = queries[r].place.q;
      const float most = largest_of(from);
      const float scale = (most > 1e-30f ? most : 1e-30f) * (1 / 127.0f);
      const f32x16 inverse = broadcast(1 / scale);
      factors[at + r] = scale + (most - most);  // NaN of a query that is not finite
      for (index_t chunk = 0; chunk * q_chunk < args.cache.head_dim; ++chunk)
        pack_chunk<R>(from, chunk, at, r, inverse);
    }
  }

  float largest_of(const float* from) const {
    f32x16 most = zero();
    for (index_t d = 0; d < args.cache.head_dim; d += panel_width)
      most = max_magnitude(most, scaled(from, d));
    return largest_magnitude(most);
  }

  f32x16 scaled(const float* from, index_t d) const {
    return d < args.cache.head_dim ? load_first(from + d, args.cache.head_dim - d) * broadcast(args.scale)
                                   : zero();
  }

  template <int R>
  void pack_chunk(const float* from, index_t chunk, index_t at, int r, f32x16 inverse) {
    const index_t padded_dim = padded_to_chunks(args.cache.head_dim);
    auto* codes = reinterpret_cast<int8_t*>(q + at * padded_dim / 4 + (chunk * R + r) * fours_per_chunk);
    i32x16 both[scales_per_chunk];
    for (index_t g = 0; g < scales_per_chunk; ++g) {
      const index_t d = g * dims_per_scale;
      const i32x16 low = to_code(scaled(from, chunk * q_chunk + d) * inverse);
      const i32x16 high = to_code(scaled(from, chunk * q_chunk + d + panel_width) * inverse);
      store_i8(codes + d, low);
      store_i8(codes + d + panel_width, high);
      both[g] = add(low, high);
    }
    int32_t sums[scales_per_chunk];
    store_sums(sums, both);
    int32_t* to = starts + at * padded_dim / dims_per_scale;
    for (index_t g = 0; g < scales_per_chunk; ++g)
      to[(chunk * scales_per_chunk + g) * R + r] = -128 * sums[g];
  }

  uint32_t* k_of(index_t group) const { return k + (group / 2 * 2 * num_fours() + group % 2) * panel_width; }

  void convert(const Partition<uint16_t>& from, index_t group) const {
    convert_groups<1, false>(from, group);
  }

  // In two passes, so that scales are there when codes are made. Fetches: the groups' values are fetched on
  // the way.
  template <int P, bool Fetches>
  void convert_groups(const Partition<uint16_t>& from, index_t first) const {
    for (index_t group = first; group < first + P; ++group) {
      for_parts([&](index_t d, index_t num_dims) {
        const f32x16 most = largest_magnitudes(from.groups[group].k + d * panel_width, num_dims);
        store(scales_of(group, d), max(broadcast(1e-30f), most) * broadcast(1 / 127.0f));
      });
    }
    for (index_t group = first; group < first + P; ++group) {
      const Group<uint16_t>& in = from.groups[group];
      for_parts([&](index_t d, index_t num_dims) {
        const f32x16 inverse = broadcast(1.0f) / load(scales_of(group, d));
        uint32_t* to = k_of(group) + d / 4 * 2 * panel_width;
        for (index_t i = 0; i < num_dims; i += 4, to += 2 * panel_width) {
          if constexpr (Fetches) {
            __builtin_prefetch(in.v + (d + i) * panel_width, 0, 2);
            __builtin_prefetch(in.v + (d + i + 2) * panel_width, 0, 2);
          }
          store_codes(to, four_codes(in.k + (d + i) * panel_width, num_dims - i, inverse));
        }
      });
    }
  }

  float* scales_of(index_t group, index_t d) const {
    return scales + d / dims_per_scale * partition_size + group * panel_width;
  }

  // body(first, number) for dimensions that share a scale: all but the last are of one known number.
  template <class Body>
  inline __attribute__((always_inline)) void for_parts(const Body& body) const {
    const index_t head_dim = args.cache.head_dim;
    index_t d = 0;
    for (; d + dims_per_scale <= head_dim; d += dims_per_scale) body(d, dims_per_scale);
    if (d < head_dim) body(d, head_dim - d);
  }

  template <int R>
  void of_converted(index_t at, Seen seen, Ahead& lines, float* scores) const {
    for (index_t group = seen.begin_group / 2 * 2; group < seen.end_group; group += 2) {
      lines.prefetch();
      of_groups<R, 2>(at, group, scores);
    }
  }

  template <int R>
  void of_cached(index_t at, Seen seen, const Partition<uint16_t>& here, float* scores) const {
    index_t group = seen.begin_group;
    if (group % 2) group = of_cached_while<R, 1>(at, group, group + 1, here, scores);
    group = of_cached_while<R, 2>(at, group, seen.end_group, here, scores);
    of_cached_while<R, 1>(at, group, seen.end_group, here, scores);
  }

  template <int R, int P>
  index_t of_cached_while(index_t at, index_t group, index_t end, const Partition<uint16_t>& here,
                          float* scores) const {
    for (; group + P <= end; group += P) {
      convert_groups<P, true>(here, group);
      of_groups<R, P>(at, group, scores);
    }
    return group;
  }

  // Of P groups from an even one on, or one.
  template <int R, int P, int First = 0>
  void of_groups(index_t at, index_t group, float* scores) const {
    constexpr int count = R - First < queries_per_pass ? R - First : queries_per_pass;
    of_queries<R, P, First, count>(at, group, scores + First * partition_size + group * panel_width);
    if constexpr (First + count < R) of_groups<R, P, First + count>(at, group, scores);
  }

  // Of `Count` of a tile's R queries, so few that their sums, whole and in floats, stay in registers.
  template <int R, int P, int First, int Count>
  void of_queries(index_t at, index_t group, float* to) const {
    const index_t padded_dim = padded_to_chunks(args.cache.head_dim);
    const auto* x = reinterpret_cast<const int8_t*>(q + at * padded_dim / 4 + First * fours_per_chunk);
    const int32_t* start = starts + at * padded_dim / dims_per_scale + First;
    const uint32_t* codes = k_of(group);
    f32x16 total[Count][P];
#pragma GCC unroll 16
    for (int r = 0; r < Count; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) total[r][p] = zero();
    }
    for (index_t g = 0; g < num_scales; ++g, start += R) {
      const int8_t* four = x + g / scales_per_chunk * R * q_chunk + g % scales_per_chunk * dims_per_scale;
      i32x16 sums[Count][P];
#pragma GCC unroll 16
      for (int r = 0; r < Count; ++r) {
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) sums[r][p] = broadcast_i32(start[r]);
      }
      const index_t n = min_of(dims_per_scale / 4, num_fours() - g * dims_per_scale / 4);
      for (index_t i = 0; i < n; ++i, four += 4, codes += 2 * panel_width) {
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) {
          const i8x64 lanes = load_i8(reinterpret_cast<const uint8_t*>(codes + p * panel_width));
#pragma GCC unroll 16
          for (int r = 0; r < Count; ++r) sums[r][p] = add_products(sums[r][p], lanes, four + r * q_chunk);
        }
      }
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const f32x16 scale = load(scales_of(group + p, g * dims_per_scale));
#pragma GCC unroll 16
        for (int r = 0; r < Count; ++r) total[r][p] = fma(to_float(sums[r][p]), scale, total[r][p]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Count; ++r) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) store(to + r * partition_size + p * panel_width, total[r][p]);
    }
  }
};

}  // namespace
}  // namespace gradus::avx512
