// The queries of an item sweep the context together, in tiles that take turns at each partition: what kernels
// of attention share, whatever they multiply in.
//
// A kernel's `Products` say how: T, the cache's type; the queries of a tile and of a sweep, at most; and
//   Products(args, scratch)                          scratch lies behind the queries' running results
//   pack<R>(queries, at)                             of a tile, which begins with the sweep's query `at`
//   begin(here, ahead, num_tiles)                    the next partition, and the one after it
//   run<R>(queries, at, seen)                        a tile at this partition
#pragma once

#include "kernels/attention_context.h"

namespace gradus::GRADUS_VARIANT {
namespace {

template <int R>
struct Height {
  static constexpr int value = R;
};

// body(Height<height>) for a height of 1 .. R.
template <int R, class Body>
void with_height(index_t height, const Body& body) {
  if constexpr (R > 1) {
    if (height < R) return with_height<R - 1>(height, body);
  }
  body(Height<R>{});
}

// Queries of an item, counted row by row, head by head, and their way through the context.
template <class Products>
struct Sweep {
  using T = typename Products::T;

  const AttentionArgs& args;
  const AttentionItem& item;
  float* o;
  index_t o_stride;
  index_t num_queries;
  Products products;
  Query queries[Products::queries_at_once];

  index_t num_tiles() const { return (num_queries + Products::tile_queries - 1) / Products::tile_queries; }

  // body(Height<R>, first query) for tiles of nearly equal height.
  template <class Body>
  void for_tiles(const Body& body) {
    for (index_t tile = 0; tile < num_tiles(); ++tile) {
      const index_t first = num_queries * tile / num_tiles();
      const index_t height = num_queries * (tile + 1) / num_tiles() - first;
      with_height<Products::tile_queries>(height, [&](auto R) { body(R, first); });
    }
  }

  Place place(const AttentionItem& of, index_t row, index_t head) const {
    const index_t column = (of.kv_head * args.num_groups + head) * args.cache.head_dim;
    return {args.q + (of.row_begin + row) * args.q_stride + column,
            args.out + (of.row_begin + row) * args.out_stride + column};
  }

  void begin(index_t first, const AttentionItem* next) {
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
    for_tiles([&](auto R, index_t at) { products.template pack<decltype(R)::value>(queries + at, at); });
  }

  template <int R>
  void tile(index_t at, const Partition<T>& here) {
    Query* tile_queries = queries + at;
    const index_t num_tokens = min_of(here.num_tokens, tile_queries[R - 1].position + 1 - here.begin);
    const index_t first_seen = tile_queries[0].first - here.begin;
    if (num_tokens <= 0 || first_seen >= partition_size) return;
    const index_t begin_group = first_seen > 0 ? first_seen / panel_width : 0;
    products.template run<R>(tile_queries, at,
                             {begin_group, (num_tokens + panel_width - 1) / panel_width, num_tokens});
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
        const index_t rows = next->row_end - next->row_begin;
        locate(args.cache, *next, first_token(args, next->first_position), next->first_position + rows,
               ahead);
      } else {
        ahead.first_group = ahead.num_groups = 0;
      }
      products.begin(here, ahead, num_tiles());
      for_tiles([&](auto R, index_t at) { tile<decltype(R)::value>(at, here); });
      if (end >= context) break;
    }
    for (index_t i = 0; i < num_queries; ++i) {
      const f32x16 share = broadcast(1 / queries[i].sum);
      for (index_t d = 0; d < args.cache.head_dim; d += panel_width)
        store_first(queries[i].place.out + d, load(queries[i].o + d) * share, args.cache.head_dim - d);
    }
  }
};

template <class Products>
void run_item(const AttentionArgs& args, const AttentionItem& item, const AttentionItem* next,
              float* scratch) {
  const index_t o_stride = (args.cache.head_dim + 2 * panel_width - 1) / (2 * panel_width) * 2 * panel_width;
  const index_t num_queries = (item.row_end - item.row_begin) * args.num_groups;
  float* products_scratch = scratch + Products::queries_at_once * o_stride;
  for (index_t first = 0; first < num_queries; first += Products::queries_at_once) {
    Sweep<Products> sweep{args,
                          item,
                          scratch,
                          o_stride,
                          min_of(Products::queries_at_once, num_queries - first),
                          Products(args, products_scratch),
                          {}};
    sweep.begin(first, next);
    sweep.run(next);
  }
}

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
