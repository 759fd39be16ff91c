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

constexpr float log2_e = 1.44269504088896341f;

// Tokens first .. end of a partition: those that a query sees.
struct SeenTokens {
  index_t first, end;

  bool are_all(index_t from, index_t to) const { return first <= from && to <= end; }

  // Lanes of x, tokens t .. t + 16, that are not seen replaced by `fill`'s.
  f32x16 only(f32x16 x, index_t t, f32x16 fill) const {
    return are_all(t, t + panel_width) ? x : keep_lanes(x, first - t, end - t, fill);
  }
};

inline void cap_scores(float* row, index_t begin, index_t end, float factor, float soft_cap) {
  for (index_t t = begin; t < end; t += panel_width)
    store(row + t, soft_capped(load(row + t) * broadcast(factor), soft_cap));
}

// Of tokens begin .. end, whole pairs of groups; AreAll: all of them are seen.
template <bool AreAll>
float largest_score(const float* row, SeenTokens seen, index_t begin, index_t end) {
  const f32x16 none = broadcast(-__builtin_inff());
  f32x16 most[2] = {none, none};
  for (index_t t = begin; t < end; t += 2 * panel_width) {
    for (int half = 0; half < 2; ++half) {
      const index_t at = t + half * panel_width;
      const f32x16 s = load(row + at);
      most[half] = max(most[half], AreAll ? s : seen.only(s, at, none));
    }
  }
  return largest(max(most[0], most[1]));
}

// 2^(factor * score - most) in place of the scores, as pairs of tokens; weight 0 for tokens that are not
// seen. Returns their sum.
template <bool AreAll>
float bf16_weights(float* row, SeenTokens seen, index_t begin, index_t end, float factor, float most) {
  f32x16 total = zero();
  for (index_t t = begin; t < end; t += 2 * panel_width) {
    f32x16 e[2];
    for (int half = 0; half < 2; ++half) {
      const index_t at = t + half * panel_width;
      e[half] = rough_exp2(fma(load(row + at), broadcast(factor), broadcast(-most)));
      if (!AreAll) e[half] = seen.only(e[half], at, zero());
    }
    const bf16x32 pairs = side_by_side(e[0], e[1]);
    store_pairs(reinterpret_cast<uint32_t*>(row) + t / 2, pairs);
    total = add_pairs(pairs, total);
  }
  return sum(total);
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
  void add(const f32x16 (&acc)[R][P], index_t d, const float* keep) const {
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < P; ++p) {
        float* o = queries[r].o + d + p * panel_width;
        store(o, keep[r] == 0 ? acc[r][p] : fma(load(o), broadcast(keep[r]), acc[r][p]));
      }
    }
  }

  void converted_values(const float* keep) const {
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
      add(acc, d, keep);
    }
  }

  template <int P>
  index_t values_while(index_t d, const float* keep) const {
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
      add(acc, d, keep);
    }
    return d;
  }

  void add_values(const float* keep) const {
    if constexpr (IsConverted) {
      converted_values(keep);
    } else {
      index_t d = 0;
      if constexpr (R <= 2) d = values_while<8>(d, keep);
      if constexpr (R <= 4) d = values_while<4>(d, keep);
      d = values_while<2>(d, keep);
      values_while<1>(d, keep);
    }
  }

  // Weights in place of the scores. keep: what the queries' running results are multiplied by.
  void weigh(float* keep) const {
    const index_t begin = seen.begin_group / 2 * 2 * panel_width;
    const index_t end = (seen.end_group + 1) / 2 * 2 * panel_width;
    SeenTokens tokens[R];
    float factor[R];
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      query.next.prefetch(args.cache.head_dim);
      tokens[r] = {query.first - here.begin, min_of(query.position + 1 - here.begin, seen.num_tokens)};
      factor[r] = scores.factor(at + r);
      float* row = weights + r * partition_size;
      if (args.soft_cap > 0) {
        cap_scores(row, begin, end, factor[r], args.soft_cap);
        factor[r] = 1;
      }
      const float most =
          factor[r] * (tokens[r].are_all(begin, end) ? largest_score<true>(row, tokens[r], begin, end)
                                                     : largest_score<false>(row, tokens[r], begin, end));
      const float before = query.max;
      query.max = before > most ? before : most;
      keep[r] = before - query.max;
    }
    store(keep, exp_not_positive(load(keep)));
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      float* row = weights + r * partition_size;
      if (tokens[r].first >= 0) keep[r] = 0;  // nothing before this partition
      const float in_twos = factor[r] * log2_e, most = query.max * log2_e;
      const float partition_sum = tokens[r].are_all(begin, end)
                                      ? bf16_weights<true>(row, tokens[r], begin, end, in_twos, most)
                                      : bf16_weights<false>(row, tokens[r], begin, end, in_twos, most);
      query.sum = query.sum * keep[r] + partition_sum;
    }
  }

  __attribute__((noinline)) void run() {
    if constexpr (IsConverted) {
      scores.template of_converted<R>(at, seen, lines, weights);
    } else {
      scores.template of_cached<R>(at, seen, here, weights);
    }
    float keep[panel_width] = {};
    weigh(keep);
    add_values(keep);
  }
};

}  // namespace
}  // namespace gradus::avx512
