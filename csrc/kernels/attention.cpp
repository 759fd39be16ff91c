// paged_attention_f32 / f16, blocked: out = softmax(scale * q . k + causal mask) . v, one query (row, head)
// at a time.
//
// The context is cut into partitions of 256 tokens counted from position 0. Per query and partition:
//   s[t] = scale * sum over d, in order, of q[d] * k[t][d]            lanes are tokens; then the soft cap
//   m = max s,  e[t] = exp(s[t] - m),  l = sum e                      sixteen lanes, then their tree
//   o[d] = sum over t, in order, of e[t] * v[t][d]                    lanes are dimensions
// Partitions are merged in order: M = max(m, m'), (l, o) = (l, o) exp(m - M) + (l', o') exp(m' - M); out = o
// / l.
//
// The queries of an item sweep the context together (attention_sweep.h), in tiles that take turns at each
// partition (attention_tile.h).
#include "kernels/attention_sweep.h"
#include "kernels/attention_tile.h"

namespace gradus::GRADUS_VARIANT {

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                       float* scratch);

namespace {

template <class Stored>
struct F32Products {
  using T = typename Stored::type;
  static constexpr int tile_queries = attention_queries;
  static constexpr index_t queries_at_once = attention_queries_at_once;

  const AttentionArgs& args;
  index_t o_stride;
  float* weights;   // of a tile
  float* partial;   // of a tile
  float* packed_q;  // of every tile of R queries: [head_dim / q_chunk][R][q_chunk]
  const Partition<T>* here = nullptr;
  const Partition<T>* ahead = nullptr;

  F32Products(const AttentionArgs& the_args, float* scratch)
      : args(the_args),
        o_stride((args.cache.head_dim + panel_width - 1) / panel_width * panel_width),
        weights(scratch),
        partial(weights + tile_queries * partition_size),
        packed_q(partial + tile_queries * o_stride) {}

  template <int R>
  void pack(const Query* queries, index_t at) {
    float* packed = packed_q + at * padded_to_chunks(args.cache.head_dim);
    for (int r = 0; r < R; ++r) {
      for (index_t d = 0; d < args.cache.head_dim; d += panel_width) {
        const f32x16 slice = load_first(queries[r].place.q + d, args.cache.head_dim - d);
        store(packed + (d / q_chunk * R + r) * q_chunk + d % q_chunk, slice);
      }
    }
  }

  void begin(const Partition<T>& now, const Partition<T>& later, index_t) {
    here = &now;
    ahead = &later;
  }

  template <int R>
  void run(Query* queries, index_t at, Seen seen) {
    Tile<Stored, R>{args,
                    queries,
                    packed_q + at * padded_to_chunks(args.cache.head_dim),
                    weights,
                    partial,
                    o_stride,
                    *here,
                    at == 0 ? ahead : nullptr,
                    seen.begin_group,
                    seen.end_group,
                    seen.num_tokens}
        .run();
  }
};

}  // namespace

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                       float* scratch) {
  if (args.cache.format == Format::f16) {
    run_item<F32Products<StoredF16>>(args, item, next, scratch);
  } else {
    run_item<F32Products<StoredF32>>(args, item, next, scratch);
  }
}

}  // namespace gradus::GRADUS_VARIANT
