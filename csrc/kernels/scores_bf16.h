// Scores of attention from queries and keys in bf16. See attention_bf16.cpp for the arithmetic.
#pragma once

#include "kernels/attention_ahead.h"
#include "kernels/bf16_pairs.h"

namespace gradus::avx512 {
namespace {

constexpr index_t pairs_per_chunk = q_chunk / 2;
// A few at a time: the CPU waits when more lines are on their way than it keeps track of.
constexpr index_t k_pairs_per_prefetch = 8;

// Keys are pairs of dimensions, made once for a sweep, or when its queries are one tile, on the way from the
// cache: the same pairs in the same order.
struct Bf16Scores {
  const AttentionArgs& args;
  uint32_t* q;  // of every tile of R queries: [head_dim / q_chunk][R][q_chunk / 2], scaled
  uint32_t* k;  // of a partition: [groups / 2][head_dim / 2][2 groups][16 tokens]

  Bf16Scores(const AttentionArgs& the_args, uint32_t* scratch)
      : args(the_args), q(scratch), k(q + bf16_queries_at_once * padded_to_chunks(args.cache.head_dim) / 2) {}

  uint32_t* scratch_end() const { return k + pairs_per_partition * args.cache.head_dim; }

  float factor(index_t) const { return 1; }

  template <int R>
  void pack(const Query* queries, index_t at) {
    const index_t head_dim = args.cache.head_dim;
    uint32_t* packed = q + at * padded_to_chunks(head_dim) / 2;
    for (int r = 0; r < R; ++r) {
      for (index_t d = 0; d < head_dim; d += panel_width) {
        const f32x16 part = load_first(queries[r].place.q + d, head_dim - d) * broadcast(args.scale);
        store_eight_pairs(packed + (d / q_chunk * R + r) * pairs_per_chunk + d % q_chunk / 2, part);
      }
    }
  }

  uint32_t* k_of(index_t group) const {
    return k + (group / 2 * args.cache.head_dim + group % 2) * panel_width;
  }

  void convert(const Partition<uint16_t>& from, index_t group) const {
    uint32_t* to = k_of(group);
    for (index_t i = 0; i < args.cache.head_dim / 2; ++i)
      store_pairs(to + i * 2 * panel_width, k_pair(from.groups[group].k, i));
  }

  template <int R>
  void of_converted(index_t at, Seen seen, Ahead& lines, float* scores) const {
    for (index_t group = seen.begin_group / 2 * 2; group < seen.end_group; group += 2) {
      const uint32_t* from = k_of(group);
      lines.prefetch();
      of_groups<R, 2, false>(
          at, group, scores, [&](index_t i, int p) { return load_pairs(from + (2 * i + p) * panel_width); },
          nullptr);
    }
  }

  template <int R>
  void of_cached(index_t at, Seen seen, const Partition<uint16_t>& here, float* scores) const {
    index_t group = seen.begin_group;
    if constexpr (R <= 1) group = of_cached_while<R, 4>(at, group, seen.end_group, here, scores);
    group = of_cached_while<R, 2>(at, group, seen.end_group, here, scores);
    of_cached_while<R, 1>(at, group, seen.end_group, here, scores);
  }

  template <int R, int P>
  index_t of_cached_while(index_t at, index_t group, index_t end, const Partition<uint16_t>& here,
                          float* scores) const {
    for (; group + P <= end; group += P) {
      const uint16_t* k[P];
      for (int p = 0; p < P; ++p) k[p] = here.groups[group + p].k;
      of_groups<R, P, true>(
          at, group, scores, [&](index_t i, int p) { return k_pair(k[p], i); }, here.groups + group);
    }
    return group;
  }

  // pairs_of(i, p): the i-th pair of dimensions of group + p. Fetches: the groups' values are fetched on the
  // way.
  template <int R, int P, bool Fetches, class PairsOf>
  void of_groups(index_t at, index_t group, float* scores, const PairsOf& pairs_of,
                 const Group<uint16_t>* groups) const {
    const index_t head_dim = args.cache.head_dim;
    const uint32_t* x = q + at * padded_to_chunks(head_dim) / 2;
    f32x16 acc[R][P];
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < P; ++p) acc[r][p] = zero();
    }
    constexpr index_t block = Fetches ? k_pairs_per_prefetch : pairs_per_chunk;
    for (index_t i = 0; i < head_dim / 2; i += block) {
      if constexpr (Fetches) {
        for (int p = 0; p < P; ++p)
          prefetch_part(groups[p].v, head_dim, i / block, (head_dim / 2 + block - 1) / block);
      }
      accumulate_pairs<R, P, pairs_per_chunk>(
          x + i / pairs_per_chunk * R * pairs_per_chunk + i % pairs_per_chunk,
          min_of(block, head_dim / 2 - i), [&](index_t j, int p) { return pairs_of(i + j, p); }, acc);
    }
    for (int r = 0; r < R; ++r) {
      for (int p = 0; p < P; ++p) store(scores + r * partition_size + (group + p) * panel_width, acc[r][p]);
    }
  }
};

}  // namespace
}  // namespace gradus::avx512
