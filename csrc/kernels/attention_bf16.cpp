// Attention to an f16 cache with products of weights and values in bf16 and sums in f32, blocked like
// attention.cpp; queries and keys multiply in bf16 too, or in 8 bits:
//
// Per query and partition of 256 tokens, with bf16(x) the nearest of 8 bits, ties to even, and m, l and o
// what the partitions before it left:
//   s[t] = sum over pairs of d, in order, of bf16(scale * q[d]) * bf16(k[t][d])   lanes are tokens; soft cap
//   m' = max(m, max s),  e[t] = bf16(exp(s[t] - m')),  keep = exp(m - m')
//   l' = keep * l + sum e                                                         so that weights sum to 1
//   o'[d] = keep * o[d] + sum over pairs of t, in order, of e[t] * bf16(v[t][d])  lanes are dimensions
// The result is o / l, in f32.
//
// In 8 bits, with int8(x) the nearest of 127 x / max |x|, and max |x| over 127 its scale:
//   s[t] = q_scale * sum over g, in order, of k_scale[t][g] * sum of int8(scale * q[d]) * int8(k[t][d])
// A query has one scale, a key one for every group g of 32 dimensions; a group's products are summed in
// integers.
//
// For the AVX-512 variant on CPUs with AVX512-BF16, which multiply two numbers a lane: half the instructions
// of f32; and four of 8 bits. K and V are converted once for all queries of a sweep.
#include "kernels/attention_bf16_tile.h"
#include "kernels/attention_sweep.h"
#include "kernels/scores_bf16.h"
#include "kernels/scores_int8.h"

namespace gradus::avx512 {

void attention_bf16(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch);
void attention_int8(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch);

namespace {

template <class Scores>
struct Bf16Products {
  using T = uint16_t;
  static constexpr int tile_queries = bf16_queries;
  static constexpr index_t queries_at_once = bf16_queries_at_once;

  const AttentionArgs& args;
  float* weights;  // of a tile
  Scores scores;
  ValuePairs values;
  Ahead lines;
  const Partition<T>* here = nullptr;
  const Partition<T>* ahead = nullptr;
  bool is_converted = false;

  Bf16Products(const AttentionArgs& the_args, float* scratch)
      : args(the_args),
        weights(scratch),
        scores(args, reinterpret_cast<uint32_t*>(weights + tile_queries * partition_size)),
        values{scores.scratch_end(), args.cache.head_dim} {}

  template <int R>
  void pack(const Query* queries, index_t at) {
    scores.template pack<R>(queries, at);
  }

  void begin(const Partition<T>& now, const Partition<T>& later, index_t num_tiles) {
    here = &now;
    ahead = &later;
    is_converted = num_tiles > 1;
    if (!is_converted) return;
    for (index_t group = now.first_group; group < now.num_groups; ++group) {
      scores.convert(now, group);
      values.convert(now, group);
    }
    const index_t head_dim = args.cache.head_dim;
    lines = Ahead(later, head_dim, num_tiles * (groups_per_partition / 2 + (head_dim + slice - 1) / slice));
  }

  template <int R>
  void run(Query* queries, index_t at, Seen seen) {
    if constexpr (R >= tile_queries / 2) {  // tiles are nearly equal
      if (is_converted) return run_tile<R, true>(queries, at, seen);
    }
    run_tile<R, false>(queries, at, seen);
  }

  template <int R, bool IsConverted>
  void run_tile(Query* queries, index_t at, Seen seen) {
    Bf16Tile<Scores, R, IsConverted>{args, scores, queries, at, weights, values, *here, *ahead, lines, seen}
        .run();
  }
};

}  // namespace

void attention_bf16(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch) {
  run_item<Bf16Products<Bf16Scores>>(args, item, next, scratch);
}

void attention_int8(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch) {
  run_item<Bf16Products<Int8Scores>>(args, item, next, scratch);
}

}  // namespace gradus::avx512
