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
// A tile is up to six queries of the item: neighbouring heads of the kv head, then neighbouring rows. They
// share the loads of K and V and nothing else: a token after a query's own position gets weight 0, which
// changes no sum. So does one before its window; partitions and groups of tokens that no query of the tile
// sees are not even read.
#include "kernels/tile.h"

namespace gradus::GRADUS_VARIANT {

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, float* scratch);

namespace {

constexpr index_t groups_per_partition = partition_size / panel_width;

// Where sixteen consecutive tokens of the context lie in the cache.
template <class T>
struct Group {
  const T* k;  // [head_dim][16]
  const T* v;  // [16][head_dim]
};

template <class T>
Group<T> locate(const CacheView& cache, const AttentionItem& item, index_t token) {
  const index_t block = item.block_table[token / cache.block_size];
  const index_t first =
      (block * cache.num_kv_heads + item.kv_head) * cache.block_size + token % cache.block_size;
  return {static_cast<const T*>(cache.keys) + first * cache.head_dim,
          static_cast<const T*>(cache.values) + first * cache.head_dim};
}

// One query of a tile and its running softmax.
struct Query {
  const float* q;
  float* out;
  index_t first;  // token that it sees
  index_t position;
  float max;
  float sum;
};

template <class Stored, int R>
struct Tile {
  using T = typename Stored::type;

  const AttentionArgs& args;
  Query queries[R];
  float* weights;  // [R][partition_size] scores, then their exponentials
  float* o;        // [R][o_stride]
  index_t o_stride;
  Group<T> groups[groups_per_partition];

  template <int P>
  index_t scores_while(index_t group, index_t num_groups) {
    const float* q[R];
    for (int r = 0; r < R; ++r) q[r] = queries[r].q;
    for (; group + P <= num_groups; group += P) {
      const T* k[P];
      f32x16 acc[R][P];
      for (int p = 0; p < P; ++p) k[p] = groups[group + p].k;
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) acc[r][p] = zero();
      }
      dot_tile<Stored, R, P>(q, k, panel_width, args.cache.head_dim, acc);
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) {
          store(weights + r * partition_size + (group + p) * panel_width, acc[r][p] * broadcast(args.scale));
        }
      }
    }
    return group;
  }

  void scores(index_t group, index_t num_groups) {
    if constexpr (R == 1) group = scores_while<4>(group, num_groups);
    if constexpr (R <= 3) group = scores_while<2>(group, num_groups);
    scores_while<1>(group, num_groups);
  }

  // Of tokens first .. end, exponentials in place of the scores, and 0 for the others from first_group on;
  // returns the partition's maximum and sum.
  void exponentials(float* row, index_t first, index_t end, index_t first_group, index_t num_groups,
                    float* max_out, float* sum_out) {
    const float none = -__builtin_inff();
    f32x16 top = broadcast(none);
    for (index_t t = first_group * panel_width; t < end; t += panel_width) {
      f32x16 s = load(row + t);
      if (args.soft_cap > 0) {
        s = soft_capped(s, args.soft_cap);
        store(row + t, s);
      }
      top = max(top, keep_between(s, first - t, end - t, none));
    }
    const float largest_score = largest(top);
    f32x16 total = zero();
    for (index_t group = first_group; group < num_groups; ++group) {
      const index_t t = group * panel_width;
      const f32x16 e = keep_between(exp(load(row + t) - broadcast(largest_score)), first - t, end - t, 0.0f);
      store(row + t, e);
      total = total + e;
    }
    *max_out = largest_score;
    *sum_out = sum(total);
  }

  // Slices of 16 dimensions from d on, P at a time: their weighted sums, merged into o.
  template <int P>
  index_t values_while(index_t d, index_t first, index_t num_tokens, const float* keep, const float* take) {
    const index_t head_dim = args.cache.head_dim;
    for (; d + (P - 1) * panel_width < head_dim; d += P * panel_width) {
      f32x16 acc[R][P];
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) acc[r][p] = zero();
      }
      for (index_t t = first; t < num_tokens; t += panel_width) {
        const float* e[R];
        const T* v[P];
        for (int r = 0; r < R; ++r) e[r] = weights + r * partition_size + t;
        for (int p = 0; p < P; ++p) v[p] = groups[t / panel_width].v + d + p * panel_width;
        dot_tile<Stored, R, P>(e, v, head_dim, min_of(panel_width, num_tokens - t), acc);
      }
      for (int r = 0; r < R; ++r) {
        for (int p = 0; p < P; ++p) {
          float* slice = o + r * o_stride + d + p * panel_width;
          if (keep[r] == 0) {
            store(slice, acc[r][p] * broadcast(take[r]));
          } else {
            store(slice, load(slice) * broadcast(keep[r]) + acc[r][p] * broadcast(take[r]));
          }
        }
      }
    }
    return d;
  }

  void values(index_t first, index_t num_tokens, const float* keep, const float* take) {
    index_t d = 0;
    if constexpr (R == 1) d = values_while<4>(d, first, num_tokens, keep, take);
    if constexpr (R <= 3) d = values_while<2>(d, first, num_tokens, keep, take);
    values_while<1>(d, first, num_tokens, keep, take);
  }

  // Tokens begin .. begin + num_tokens, read from first_group on.
  void partition(index_t begin, index_t first_group, index_t num_tokens) {
    const index_t num_groups = (num_tokens + panel_width - 1) / panel_width;
    scores(first_group, num_groups);
    float keep[R];
    float take[R];
    for (int r = 0; r < R; ++r) {
      Query& query = queries[r];
      const index_t first = query.first - begin;
      const index_t end = min_of(query.position + 1 - begin, num_tokens);
      float* row = weights + r * partition_size;
      if (end <= 0 || first >= partition_size) {  // the partition lies after this query, or before its window
        for (index_t t = 0; t < num_groups * panel_width; ++t) row[t] = 0;
        keep[r] = end <= 0 ? 1 : 0;
        take[r] = 0;
        continue;
      }
      float partition_max, partition_sum;
      exponentials(row, first, end, first_group, num_groups, &partition_max, &partition_sum);
      const float merged = query.max > partition_max ? query.max : partition_max;
      const bool is_its_first = first >= 0;
      keep[r] = is_its_first ? 0 : exp_one(query.max - merged);
      take[r] = is_its_first ? 1 : exp_one(partition_max - merged);
      query.sum = query.sum * keep[r] + partition_sum * take[r];
      query.max = merged;
    }
    values(first_group * panel_width, num_tokens, keep, take);
  }

  static float exp_one(float x) {
    float lanes[16];
    store(lanes, exp(broadcast(x)));
    return lanes[0];
  }

  void run(const AttentionItem& item) {
    const index_t context = queries[R - 1].position + 1;
    const index_t first = queries[0].first;
    for (index_t begin = first - first % partition_size; begin < context; begin += partition_size) {
      const index_t num_tokens = min_of(partition_size, context - begin);
      const index_t first_group = first > begin ? (first - begin) / panel_width : 0;
      for (index_t t = first_group * panel_width; t < num_tokens; t += panel_width) {
        groups[t / panel_width] = locate<T>(args.cache, item, begin + t);
      }
      partition(begin, first_group, num_tokens);
    }
    for (int r = 0; r < R; ++r) {
      const f32x16 total = broadcast(queries[r].sum);
      for (index_t d = 0; d < args.cache.head_dim; d += panel_width) {
        store_first(queries[r].out + d, load(o + r * o_stride + d) / total, args.cache.head_dim - d);
      }
    }
  }
};

// Queries first .. first + R of the item, counted row by row, head by head.
template <class Stored, int R>
void run_tile(const AttentionArgs& args, const AttentionItem& item, index_t first, float* scratch) {
  const index_t head_dim = args.cache.head_dim;
  Tile<Stored, R> tile{args, {}, scratch, scratch + R * partition_size, head_dim + panel_width, {}};
  for (int r = 0; r < R; ++r) {
    const index_t row = (first + r) / args.num_groups;
    const index_t head = item.kv_head * args.num_groups + (first + r) % args.num_groups;
    const index_t position = item.first_position + row;
    tile.queries[r] = {args.q + (item.row_begin + row) * args.q_stride + head * head_dim,
                       args.out + (item.row_begin + row) * args.out_stride + head * head_dim,
                       args.window > 0 && position >= args.window ? position + 1 - args.window : 0,
                       position,
                       -__builtin_inff(),
                       0};
  }
  tile.run(item);
}

template <class Stored>
void run_item(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  const index_t num_queries = (item.row_end - item.row_begin) * args.num_groups;
  const index_t num_tiles = (num_queries + attention_queries - 1) / attention_queries;
  for (index_t tile = 0; tile < num_tiles; ++tile) {
    const index_t first = num_queries * tile / num_tiles;
    switch (num_queries * (tile + 1) / num_tiles - first) {
      case 1:
        run_tile<Stored, 1>(args, item, first, scratch);
        break;
      case 2:
        run_tile<Stored, 2>(args, item, first, scratch);
        break;
      case 3:
        run_tile<Stored, 3>(args, item, first, scratch);
        break;
      case 4:
        run_tile<Stored, 4>(args, item, first, scratch);
        break;
      case 5:
        run_tile<Stored, 5>(args, item, first, scratch);
        break;
      case 6:
        run_tile<Stored, 6>(args, item, first, scratch);
        break;
    }
  }
}

}  // namespace

void attention_blocked(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  if (args.cache.format == Format::f16) {
    run_item<StoredF16>(args, item, scratch);
  } else {
    run_item<StoredF32>(args, item, scratch);
  }
}

}  // namespace gradus::GRADUS_VARIANT
