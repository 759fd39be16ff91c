// A tile of attention: up to six queries at one partition of a context. See attention.cpp for the arithmetic.
//
// They are neighbouring heads of the kv head, then neighbouring rows. They share the loads of K and V and
// nothing else: a token after a query's own position gets weight 0, which changes no sum. So does one before
// its window; groups of tokens that no query of the tile sees are not even read.
//
// A context's groups of tokens lie all over the cache, where the CPU does not foresee them: a tile that is
// told what lies ahead prefetches V while it reads K, and the next K while it reads V.
#pragma once

#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {
namespace {

constexpr index_t groups_per_partition = partition_size / panel_width;

// Where sixteen consecutive tokens of the context lie in the cache.
template <class T>
struct Group {
  const T* k;  // [head_dim][16]
  const T* v;  // [16][head_dim]
};

// Tokens begin .. begin + num_tokens of a context; the groups before first_group are not read.
template <class T>
struct Partition {
  index_t begin;
  index_t num_tokens;
  index_t first_group;
  index_t num_groups;
  Group<T> groups[groups_per_partition];
};

// The partition with token `first`, of a context of `context` tokens.
template <class T>
void locate(const CacheView& cache, const AttentionItem& item, index_t first, index_t context,
            Partition<T>& partition) {
  partition.begin = first - first % partition_size;
  partition.num_tokens = min_of(partition_size, context - partition.begin);
  partition.first_group = first % partition_size / panel_width;
  partition.num_groups = (partition.num_tokens + panel_width - 1) / panel_width;
  for (index_t group = partition.first_group; group < partition.num_groups; ++group) {
    const index_t token = partition.begin + group * panel_width;
    const index_t block = item.block_table[token / cache.block_size];
    const index_t at =
        (block * cache.num_kv_heads + item.kv_head) * cache.block_size + token % cache.block_size;
    partition.groups[group] = {static_cast<const T*>(cache.keys) + at * cache.head_dim,
                               static_cast<const T*>(cache.values) + at * cache.head_dim};
  }
}

index_t first_token(const AttentionArgs& args, index_t position) {
  return args.window > 0 && position >= args.window ? position + 1 - args.window : 0;
}

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

// exp(x) for x <= 0 to about 1 ulp; from 2^-126 on, which is as good as 0 beside the 1 of the largest score.
inline __attribute__((always_inline)) f32x16 exp_not_positive(f32x16 x) {
  f32x16 n;
  const f32x16 p = reduced_exp_minus_one(max(broadcast(-87.0f), x), &n);
  return (p + broadcast(1.0f)) * power_of_two(n);
}

inline float exp_one(float x) {
  float lanes[16];
  store(lanes, exp_not_positive(broadcast(x)));
  return lanes[0];
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

// A query and its result, of head_dim floats.
struct Place {
  const float* q = nullptr;
  float* out = nullptr;
};

// One query and its running softmax.
struct Query {
  Place place;
  Place next;     // of the next item, if there is one that is not prefetched yet
  float* o;       // [head_dim]
  index_t first;  // token that it sees
  index_t position;
  float max;
  float sum;
};

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

  void prefetch(Place& place) const {
    if (!place.q) return;
    for (index_t d = 0; d < args.cache.head_dim; d += panel_width) {
      __builtin_prefetch(place.q + d, 0, 2);
      __builtin_prefetch(place.out + d, 1, 2);
    }
    place = {};
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
  void merge(Query& query, const float* from, float keep, float take) const {
    for (index_t d = 0; d < args.cache.head_dim; d += panel_width) {
      const f32x16 taken = load(from + d) * broadcast(take);
      store(query.o + d, keep == 0 ? taken : load(query.o + d) * broadcast(keep) + taken);
    }
  }

  __attribute__((noinline)) void run() {
    scores();
    float keep[R];
    float take[R];
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      prefetch(query.next);
      const index_t first = query.first - here.begin;
      const index_t end = min_of(query.position + 1 - here.begin, num_tokens);
      float* row = weights + r * partition_size;
      if (end <= 0 || first >= partition_size) {  // the partition lies after this query, or before its window
        for (index_t t = begin_group * panel_width; t < end_group * panel_width; ++t) row[t] = 0;
        keep[r] = end <= 0 ? 1 : 0;
        take[r] = 0;
        continue;
      }
      float partition_max, partition_sum;
      exponentials(row, first, end, begin_group, end_group, args.soft_cap, &partition_max, &partition_sum);
      const float merged = query.max > partition_max ? query.max : partition_max;
      const bool is_its_first = first >= 0;
      keep[r] = is_its_first ? 0 : exp_one(query.max - merged);
      take[r] = is_its_first ? 1 : exp_one(partition_max - merged);
      query.sum = query.sum * keep[r] + partition_sum * take[r];
      query.max = merged;
    }
    values();
    for (int r = 0; r < R; ++r) merge(queries[r], partial + r * o_stride, keep[r], take[r]);
  }
};

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
