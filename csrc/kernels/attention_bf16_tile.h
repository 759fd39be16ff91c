// A tile of attention in bf16: up to eight queries at one partition of a context. See attention_bf16.cpp for
// the arithmetic. What multiplies queries and keys, `Scores`, is scores_bf16.h's or scores_int8.h's.
//
// Keys and values come from the sweep's, or, when its queries are one tile, straight from the cache: the same
// numbers in the same order. A token after a query's own position has weight 0, which changes no sum; so does
// one before its window.
#pragma once

#include "kernels/attention_ahead.h"
#include "kernels/bf16_pairs.h"

namespace gradus::avx512 {
namespace {

constexpr index_t v_pairs_per_prefetch = 2;  // few at a time, as of K

// Of tokens first .. end, weights in place of the scores over `factor`, as pairs of tokens; weight 0 for the
// others in groups begin_group .. end_group, both even. Returns the largest score, and the weights' sum.
inline void bf16_weights(float* row, index_t first, index_t end, index_t begin_group, index_t end_group,
                         float factor, float soft_cap, float* max_out, float* sum_out) {
  const f32x16 none = broadcast(-__builtin_inff());
  const index_t begin = begin_group * panel_width;
  f32x16 top = none;
  for (index_t t = begin; t < end; t += panel_width) {
    f32x16 s = load(row + t);
    if (soft_cap > 0) {
      s = soft_capped(s * broadcast(factor), soft_cap);
      store(row + t, s);
    }
    if (t < first || t + panel_width > end) s = keep_lanes(s, first - t, end - t, none);
    top = max(top, s);
  }
  if (soft_cap > 0) factor = 1;
  const float largest_score = largest(top);
  *max_out = largest_score * factor;
  const f32x16 offset = broadcast(largest_score);
  const f32x16 in_twos = broadcast(factor * 1.44269504088896341f);
  f32x16 total = zero();
  for (index_t t = begin; t < end_group * panel_width; t += 2 * panel_width) {
    bf16x32 pairs = no_pairs();
    if (t < end && t + 2 * panel_width > first) {
      f32x16 e[2];
      for (int half = 0; half < 2; ++half) {
        const index_t at = t + half * panel_width;
        e[half] = rough_exp2((load(row + at) - offset) * in_twos);
        if (at < first || at + panel_width > end) e[half] = keep_lanes(e[half], first - at, end - at, zero());
      }
      pairs = side_by_side(e[0], e[1]);
    }
    store_pairs(reinterpret_cast<uint32_t*>(row) + t / 2, pairs);
    total = add_pairs(pairs, total);
  }
  *sum_out = sum(total);
}

// R queries at one partition, the sweep's from `at` on.
template <class Scores, int R, bool IsConverted>
struct Bf16Tile {
  using T = uint16_t;

  const AttentionArgs& args;
  const Scores& scores;
  Query* queries;  // [R]
  index_t at;
  float* weights;            // [R][partition_size] scores, then pairs of weights
  const ValuePairs& values;  // of `here`, where IsConverted
  const Partition<T>& here;
  const Partition<T>& ahead;
  Ahead& lines;  // of `ahead`, where IsConverted
  Seen seen;

  // The weighted values of P slices of 16 dimensions from d on, into the queries' running ones.
  template <int P>
  void add(const f32x16 (&acc)[R][P], index_t d, const Factors* factors) const {
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < P; ++p) {
        float* o = queries[r].o + d + p * panel_width;
        const f32x16 taken = acc[r][p] * broadcast(factors[r].take);
        store(o, factors[r].keep == 0 ? taken : load(o) * broadcast(factors[r].keep) + taken);
      }
    }
  }

  void converted_values(const Factors* factors) const {
    const index_t first = seen.begin_group * pairs_per_group;
    const auto* x = reinterpret_cast<const uint32_t*>(weights) + first;
    for (index_t d = 0; d < args.cache.head_dim; d += slice) {
      const uint32_t* v = values.of_slice(d) + first * slice;
      lines.prefetch();
      f32x16 acc[R][2];
      for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = zero();
      accumulate_pairs<R, 2, partition_size>(
          x, (seen.num_tokens + 1) / 2 - first,
          [&](index_t i, int p) { return load_pairs(v + (2 * i + p) * panel_width); }, acc);
      add(acc, d, factors);
    }
  }

  template <int P>
  index_t values_while(index_t d, const Factors* factors) const {
    constexpr index_t width = P * panel_width;
    const index_t head_dim = args.cache.head_dim;
    const index_t num_parts = (head_dim + width - 1) / width * pairs_per_group / v_pairs_per_prefetch;
    for (; d + width - panel_width < head_dim; d += width) {
      f32x16 acc[R][P];
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) acc[r][p] = zero();
      }
      for (index_t group = seen.begin_group; group < seen.end_group; ++group) {
        const index_t same = ahead.first_group + group - seen.begin_group;
        const T* next_k = same < ahead.num_groups ? ahead.groups[same].k : nullptr;
        const T* v = here.groups[group].v + d;
        const auto* x = reinterpret_cast<const uint32_t*>(weights) + group * pairs_per_group;
        const index_t n = min_of(panel_width, seen.num_tokens - group * panel_width);
        for (index_t i = 0; i < pairs_per_group; i += v_pairs_per_prefetch) {
          if (next_k)
            prefetch_part(next_k, head_dim, (d / width * pairs_per_group + i) / v_pairs_per_prefetch,
                          num_parts);
          accumulate_pairs<R, P, partition_size>(
              x + i, min_of(v_pairs_per_prefetch, n / 2 - i),
              [&](index_t j, int p) { return v_pair(v + p * panel_width, i + j, head_dim, true); }, acc);
        }
        if (n % 2) {
          accumulate_pairs<R, P, partition_size>(
              x + n / 2, 1,
              [&](index_t, int p) { return v_pair(v + p * panel_width, n / 2, head_dim, false); }, acc);
        }
      }
      add(acc, d, factors);
    }
    return d;
  }

  void add_values(const Factors* factors) const {
    if constexpr (IsConverted) {
      converted_values(factors);
    } else {
      index_t d = 0;
      if constexpr (R <= 2) d = values_while<8>(d, factors);
      if constexpr (R <= 4) d = values_while<4>(d, factors);
      d = values_while<2>(d, factors);
      values_while<1>(d, factors);
    }
  }

  __attribute__((noinline)) void run() {
    if constexpr (IsConverted) {
      scores.template of_converted<R>(at, seen, lines, weights);
    } else {
      scores.template of_cached<R>(at, seen, here, weights);
    }
    Factors factors[R];
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      query.next.prefetch(args.cache.head_dim);
      const index_t first = query.first - here.begin;
      const index_t end = min_of(query.position + 1 - here.begin, seen.num_tokens);
      float partition_max, partition_sum;
      bf16_weights(weights + r * partition_size, first, end, seen.begin_group / 2 * 2,
                   (seen.end_group + 1) / 2 * 2, scores.factor(at + r), args.soft_cap, &partition_max,
                   &partition_sum);
      if (end <= 0 || first >= partition_size) {
        factors[r] = factors_of_unseen(end <= 0);
      } else {
        factors[r] = merge(query, partition_max, partition_sum, first >= 0);
      }
    }
    add_values(factors);
  }
};

}  // namespace
}  // namespace gradus::avx512
