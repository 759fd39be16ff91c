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
// The queries of an item sweep the context together, in tiles that take turns at each partition: see
// attention_tile.h.
#include "kernels/attention_tile.h"

namespace gradus::GRADUS_VARIANT {

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                       float* scratch);

namespace {

template <int R>
struct Height {
  static constexpr int value = R;
};

// Queries of an item, counted row by row, head by head, and their way through the context.
template <class Stored>
struct Sweep {
  using T = typename Stored::type;

  const AttentionArgs& args;
  const AttentionItem& item;
  float* weights;
  float* partial;
  float* o;
  index_t o_stride;
  float* packed_q;  // of every tile of R queries: [head_dim / q_chunk][R][q_chunk]
  index_t num_queries;
  Query queries[attention_queries_at_once];

  Place place(const AttentionItem& of, index_t row, index_t head) const {
    const index_t column = (of.kv_head * args.num_groups + head) * args.cache.head_dim;
    return {args.q + (of.row_begin + row) * args.q_stride + column,
            args.out + (of.row_begin + row) * args.out_stride + column};
  }

  void begin(index_t first, const AttentionItem* next) {
    const index_t head_dim = args.cache.head_dim;
    for (index_t i = 0; i < num_queries; ++i) {
      const index_t row = (first + i) / args.num_groups;
      const index_t head = (first + i) % args.num_groups;
      const index_t position = item.first_position + row;
      const bool has_next = next && next->row_begin + row < next->row_end;
      queries[i] = {place(item, row, head),
                    has_next ? place(*next, row, head) : Place{},
                    o + i * o_stride,
                    first_token(args, position),
                    position,
                    -__builtin_inff(),
                    0};
    }
    for_tiles([&](auto height, index_t at) {
      constexpr int R = decltype(height)::value;
      float* packed = packed_q + at * padded_to_chunks(head_dim);
      for (int r = 0; r < R; ++r) {
        for (index_t d = 0; d < head_dim; d += panel_width) {
          const f32x16 slice = load_first(queries[at + r].place.q + d, head_dim - d);
          store(packed + (d / q_chunk * R + r) * q_chunk + d % q_chunk, slice);
        }
      }
    });
  }

  // body(Height<R>, first query) for tiles of nearly equal height.
  template <class Body>
  void for_tiles(const Body& body) {
    const index_t num_tiles = (num_queries + attention_queries - 1) / attention_queries;
    for (index_t tile = 0; tile < num_tiles; ++tile) {
      const index_t first = num_queries * tile / num_tiles;
      switch (num_queries * (tile + 1) / num_tiles - first) {
        case 1:
          body(Height<1>{}, first);
          break;
        case 2:
          body(Height<2>{}, first);
          break;
        case 3:
          body(Height<3>{}, first);
          break;
        case 4:
          body(Height<4>{}, first);
          break;
        case 5:
          body(Height<5>{}, first);
          break;
        case 6:
          body(Height<6>{}, first);
          break;
      }
    }
  }

  template <int R>
  void tile(index_t first, const Partition<T>& here, const Partition<T>* ahead) {
    Query* tile_queries = queries + first;
    const index_t num_tokens = min_of(here.num_tokens, tile_queries[R - 1].position + 1 - here.begin);
    const index_t first_seen = tile_queries[0].first - here.begin;
    if (num_tokens <= 0 || first_seen >= partition_size) return;
    const index_t begin_group = first_seen > 0 ? first_seen / panel_width : 0;
    Tile<Stored, R>{args,
                    tile_queries,
                    packed_q + first * padded_to_chunks(args.cache.head_dim),
                    weights,
                    partial,
                    o_stride,
                    here,
                    ahead,
                    begin_group,
                    (num_tokens + panel_width - 1) / panel_width,
                    num_tokens}
        .run();
  }

  void run(const AttentionItem* next) {
    const index_t context = queries[num_queries - 1].position + 1;
    Partition<T> partitions[2];
    locate(args.cache, item, queries[0].first, context, partitions[0]);
    for (index_t i = 0;; ++i) {
      const Partition<T>& here = partitions[i % 2];
      Partition<T>& ahead = partitions[(i + 1) % 2];
      const index_t end = here.begin + partition_size;
      if (end < context) {
        locate(args.cache, item, end, context, ahead);
      } else if (next) {
        locate(args.cache, *next, first_token(args, next->first_position), next->first_position + 1, ahead);
      } else {
        ahead.first_group = ahead.num_groups = 0;
      }
      for_tiles([&](auto height, index_t first) {
        tile<decltype(height)::value>(first, here, first == 0 ? &ahead : nullptr);
      });
      if (end >= context) break;
    }
    for (index_t i = 0; i < num_queries; ++i) {
      const f32x16 total = broadcast(queries[i].sum);
      for (index_t d = 0; d < args.cache.head_dim; d += panel_width)
        store_first(queries[i].place.out + d, load(queries[i].o + d) / total, args.cache.head_dim - d);
    }
  }
};

template <class Stored>
void run_item(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
              float* scratch) {
  const index_t o_stride = (args.cache.head_dim + panel_width - 1) / panel_width * panel_width;
  float* partial = scratch + attention_queries * partition_size;
  const index_t num_queries = (item.row_end - item.row_begin) * args.num_groups;
  for (index_t first = 0; first < num_queries; first += attention_queries_at_once) {
    Sweep<Stored> sweep{args,
                        item,
                        scratch,
                        partial,
                        partial + attention_queries * o_stride,
                        o_stride,
                        partial + (attention_queries + attention_queries_at_once) * o_stride,
                        min_of(attention_queries_at_once, num_queries - first),
                        {}};
    sweep.begin(first, next);
    sweep.run(next);
  }
}

}  // namespace

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
                       float* scratch) {
  if (args.cache.format == Format::f16) {
    run_item<StoredF16>(args, item, next, scratch);
  } else {
    run_item<StoredF32>(args, item, next, scratch);
  }
}

}  // namespace gradus::GRADUS_VARIANT
