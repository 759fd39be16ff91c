// A tile of attention: up to six queries at one partition of a context. See attention.cpp for the arithmetic.
//
// They are neighbouring heads of the kv head, then neighbouring rows. They share the loads of K and V and
// nothing else: a token after a query's own position gets weight 0, which changes no sum. So does one before
// its window; groups of tokens that no query of the tile sees are not even read.
//
// A context's groups of tokens lie all over the cache, where the CPU does not foresee them: a tile that is
// told what lies ahead prefetches V while it reads K, and the next K while it reads V.
#pragma once

#include "kernels/attention_context.h"

namespace gradus::GRADUS_VARIANT {
namespace {

// acc[r][p] += sum over i, in order, of x[r * RowStride + i] * w[p][i * w_stride + lane]: one register
// addresses all of x, where a pointer for each row would not stay in registers.
template <class Stored, int R, int P, int RowStride>
inline __attribute__((always_inline)) void accumulate(const float* x,
                                                      const typename Stored::type* const (&w)[P],
                                                      index_t w_stride, index_t n, f32x16 (&acc)[R][P]) {
  f32x16 local[R][P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) local[r][p] = acc[r][p];
  }
  for (index_t i = 0; i < n; ++i, ++x) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      const f32x16 lanes = Stored::load16(w[p] + i * w_stride);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) local[r][p] = fma_broadcast(x + r * RowStride, lanes, local[r][p]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) acc[r][p] = local[r][p];
  }
}

// Of tokens first .. end, exponentials in place of the scores, and 0 for the others in groups begin_group ..
// end_group; returns the largest score, and the sum.
void exponentials(float* row, index_t first, index_t end, index_t begin_group, index_t end_group,
                  float soft_cap, float* max_out, float* sum_out) {
  const float none = -__builtin_inff();
  f32x16 top = broadcast(none);
  for (index_t t = begin_group * panel_width; t < end; t += panel_width) {
    f32x16 s = load(row + t);
    if (soft_cap > 0) {
      s = soft_capped(s, soft_cap);
      store(row + t, s);
    }
    if (t < first || t + panel_width > end) s = keep_between(s, first - t, end - t, none);
    top = max(top, s);
  }
  const float largest_score = largest(top);
  f32x16 total = zero();
  for (index_t t = begin_group * panel_width; t < end_group * panel_width; t += panel_width) {
    f32x16 e = exp_not_positive(load(row + t) - broadcast(largest_score));
    if (t < first || t + panel_width > end) e = keep_between(e, first - t, end - t, 0.0f);
    store(row + t, e);
    total = total + e;
  }
  *max_out = largest_score;
  *sum_out = sum(total);
}

inline float exp_one(float x) {
  float lanes[16];
  store(lanes, exp_not_positive(broadcast(x)));
  return lanes[0];
}

// What a query's running result, and a partition's, are multiplied by before they are added.
struct Factors {
  float keep, take;
};

// The partition's largest score and sum into the query's.
inline Factors merge(Query& query, float partition_max, float partition_sum, bool is_its_first) {
  const float merged = query.max > partition_max ? query.max : partition_max;
  const Factors factors =
      is_its_first ? Factors{0, 1} : Factors{exp_one(query.max - merged), exp_one(partition_max - merged)};
  query.sum = query.sum * factors.keep + partition_sum * factors.take;
  query.max = merged;
  return factors;
}
// Of a partition that lies after the query, or before its window.
inline Factors factors_of_unseen(bool lies_after) { return {lies_after ? 1.0f : 0.0f, 0.0f}; }

// R queries at one partition.
template <class Stored, int R>
struct Tile {
  using T = typename Stored::type;

  const AttentionArgs& args;
  Query* queries;  // [R]
  const float* q;  // [head_dim / q_chunk][R][q_chunk], theirs
  float* weights;  // [R][partition_size] scores, then their exponentials
  float* partial;  // [R][o_stride] weighted sums of the partition
  index_t o_stride;
  const Partition<T>& here;
  const Partition<T>* ahead;                   // null: prefetch nothing
  index_t begin_group, end_group, num_tokens;  // what the tile sees of the partition

  // Part `part` of `num_parts` of a group's K or V.
  void prefetch(const T* group, index_t part, index_t num_parts) const {
    const index_t bytes = args.cache.head_dim * panel_width * static_cast<index_t>(sizeof(T));
    const auto* p = reinterpret_cast<const char*>(group);
    for (index_t at = bytes * part / num_parts; at < bytes * (part + 1) / num_parts; at += 64)
      __builtin_prefetch(p + at, 0, 2);
  }

  template <int P>
  index_t scores_while(index_t group) {
    const index_t head_dim = args.cache.head_dim;
    const index_t d_block = ahead ? 32 : q_chunk;
    for (; group + P <= end_group; group += P) {
      f32x16 acc[R][P];
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) acc[r][p] = zero();
      }
      for (index_t d = 0; d < head_dim; d += d_block) {
        const T* k[P];
        for (int p = 0; p < P; ++p) {
          k[p] = here.groups[group + p].k + d * panel_width;
          if (ahead) prefetch(here.groups[group + p].v, d / d_block, (head_dim + d_block - 1) / d_block);
        }
        accumulate<Stored, R, P, q_chunk>(q + d / q_chunk * R * q_chunk + d % q_chunk, k, panel_width,
                                          min_of(d_block, head_dim - d), acc);
      }
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) {
          store(weights + r * partition_size + (group + p) * panel_width, acc[r][p] * broadcast(args.scale));
        }
      }
    }
    return group;
  }

  void scores() {
    index_t group = begin_group;
    if constexpr (R == 1) group = scores_while<4>(group);
    if constexpr (R <= rows_of_two) group = scores_while<2>(group);
    scores_while<1>(group);
  }

  // Adds the weighted values of groups group .. end to the partial sums, P slices of 16 dimensions at a time
  // from d on.
  template <int P>
  index_t values_while(index_t group, index_t end, index_t d, const T* next_k) {
    constexpr index_t width = P * panel_width;
    const index_t head_dim = args.cache.head_dim;
    for (; d + width - panel_width < head_dim; d += width) {
      f32x16 acc[R][P];
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) {
          const float* slice = partial + r * o_stride + d + p * panel_width;
          acc[r][p] = group == begin_group ? zero() : load(slice);
        }
      }
      if (next_k) prefetch(next_k, d / width, (head_dim + width - 1) / width);
      for (index_t g = group; g < end; ++g) {
        const T* v[P];
        for (int p = 0; p < P; ++p) v[p] = here.groups[g].v + d + p * panel_width;
        accumulate<Stored, R, P, partition_size>(weights + g * panel_width, v, head_dim,
                                                 min_of(panel_width, num_tokens - g * panel_width), acc);
      }
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) store(partial + r * o_stride + d + p * panel_width, acc[r][p]);
      }
    }
    return d;
  }

  // Slices of 16 dimensions are half a line of f16: as many groups at a time as stay in the first level of
  // the cache, or one, for whose sake the next K's is prefetched.
  void values() {
    const index_t most_groups = ahead ? 1 : R <= rows_of_two ? groups_per_partition : 4;
    for (index_t group = begin_group; group < end_group; group += most_groups) {
      const index_t end = min_of(group + most_groups, end_group);
      const index_t same = ahead ? ahead->first_group + group - begin_group : 0;
      const T* next_k = ahead && same < ahead->num_groups ? ahead->groups[same].k : nullptr;
      index_t d = 0;
      if constexpr (R == 1) d = values_while<4>(group, end, d, next_k);
      if constexpr (R <= rows_of_two) d = values_while<2>(group, end, d, next_k);
      values_while<1>(group, end, d, next_k);
    }
  }

  // The partition's partial sums into the query's running ones.
  void add(Query& query, const float* from, Factors by) const {
    for (index_t d = 0; d < args.cache.head_dim; d += panel_width) {
      const f32x16 taken = load(from + d) * broadcast(by.take);
      store(query.o + d, by.keep == 0 ? taken : load(query.o + d) * broadcast(by.keep) + taken);
    }
  }

  __attribute__((noinline)) void run() {
    scores();
    Factors factors[R];
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      query.next.prefetch(args.cache.head_dim);
      const index_t first = query.first - here.begin;
      const index_t end = min_of(query.position + 1 - here.begin, num_tokens);
      float* row = weights + r * partition_size;
      if (end <= 0 || first >= partition_size) {
        for (index_t t = begin_group * panel_width; t < end_group * panel_width; ++t) row[t] = 0;
        factors[r] = factors_of_unseen(end <= 0);
        continue;
      }
      float partition_max, partition_sum;
      exponentials(row, first, end, begin_group, end_group, args.soft_cap, &partition_max, &partition_sum);
      factors[r] = merge(query, partition_max, partition_sum, first >= 0);
    }
    values();
    for (int r = 0; r < R; ++r) add(queries[r], partial + r * o_stride, factors[r]);
  }
};

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
