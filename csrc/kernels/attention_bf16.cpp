// paged_attention_f16 with products in bf16 and sums in f32, blocked like attention.cpp:
//
// Per query and partition of 256 tokens, with bf16(x) the nearest of 8 bits, ties to even:
//   s[t] = sum over pairs of d, in order, of bf16(scale * q[d]) * bf16(k[t][d])   lanes are tokens; soft cap
//   m = max s,  e[t] = bf16(exp(s[t] - m)),  l = sum e                            so that weights sum to 1
//   o[d] = sum over pairs of t, in order, of e[t] * bf16(v[t][d])                 lanes are dimensions
// Partitions are merged as in attention.cpp, in f32.
//
// For the AVX-512 variant on CPUs with AVX512-BF16, which multiply two numbers a lane: half the instructions
// of f32. K and V are converted once for all queries of a sweep.
#include "kernels/attention_bf16_tile.h"
#include "kernels/attention_sweep.h"

namespace gradus::avx512 {

void attention_bf16(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch);

namespace {

struct Bf16Products {
  using T = uint16_t;
  static constexpr int tile_queries = bf16_queries;
  static constexpr index_t queries_at_once = bf16_queries_at_once;

  const AttentionArgs& args;
  float* weights;      // of a tile
  uint32_t* packed_q;  // of every tile of R queries: [head_dim / q_chunk][R][q_chunk / 2]
  Pairs pairs;
  Ahead lines;
  const Partition<T>* here = nullptr;
  const Partition<T>* ahead = nullptr;
  bool is_converted = false;

  Bf16Products(const AttentionArgs& the_args, float* scratch) : args(the_args), weights(scratch) {
    const index_t head_dim = args.cache.head_dim;
    packed_q = reinterpret_cast<uint32_t*>(weights + tile_queries * partition_size);
    uint32_t* k = packed_q + queries_at_once * padded_to_chunks(head_dim) / 2;
    pairs = {k, k + pairs_per_partition * head_dim, head_dim};
  }

  template <int R>
  void pack(const Query* queries, index_t at) {
    const index_t head_dim = args.cache.head_dim;
    uint32_t* packed = packed_q + at * padded_to_chunks(head_dim) / 2;
    for (int r = 0; r < R; ++r) {
      for (index_t d = 0; d < head_dim; d += panel_width) {
        const f32x16 q = load_first(queries[r].place.q + d, head_dim - d) * broadcast(args.scale);
        store_eight_pairs(packed + (d / q_chunk * R + r) * pairs_per_chunk + d % q_chunk / 2, q);
      }
    }
  }

  void begin(const Partition<T>& now, const Partition<T>& later, index_t num_tiles) {
    here = &now;
    ahead = &later;
    is_converted = num_tiles > 1;
    if (!is_converted) return;
    const index_t head_dim = args.cache.head_dim;
    pairs.convert(now);
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
    Bf16Tile<R, IsConverted>{args,    queries, packed_q + at * padded_to_chunks(args.cache.head_dim) / 2,
                             weights, pairs,   *here,
                             *ahead,  lines,   seen}
        .run();
  }
};

}  // namespace

void attention_bf16(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                    float* scratch) {
  run_item<Bf16Products>(args, item, next, scratch);
}

}  // namespace gradus::avx512
