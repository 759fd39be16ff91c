// The contract between the executor and the kernels: argument structs, and one table of functions per CPU
// variant.
//
// Kernels see raw pointers and ranges of work; they know nothing of threads, programs or Python. Everything
// here is plain data, so that translation units compiled for different instruction sets can share it.
#pragma once

#include <cstdint>

namespace gradus {

enum class Format : int32_t {
  f32 = 0,
  bf16 = 1,
  f16 = 2,
  int8 = 3,
  int4 = 4,
  int4_symmetric = 5,
  int4_g128 = 6
};

// Static, as what kernels call here has to be: no variant's copy may become another's.
static constexpr bool has_nibbles(Format format) {
  return format == Format::int4 || format == Format::int4_symmetric || format == Format::int4_g128;
}
static constexpr bool has_centres(Format format) { return format == Format::int4; }
static constexpr bool is_quantized(Format format) { return format == Format::int8 || has_nibbles(format); }

constexpr int64_t group_size = 32;  // k whose products 16 bits can hold in 4-bit formats
static constexpr int64_t num_groups(int64_t k) { return (k + group_size - 1) / group_size; }
// Activations in 8 bits, for every format but int4_g128: those that belong to a group of weights are
// x = scale * code. A row is its groups, one after the other, and four of them, counted from the row's start,
// have one scale.
constexpr int64_t groups_per_scale = 4;
struct ActivationGroup {
  int8_t codes[group_size];
  float scale;
  float sum;              // of codes
  int32_t int8_start;     // -128 * sum of codes: what sums start from where weights are taken as code + 128
  int16_t int4_start[2];  // -4 * sum of codes, twice: a 4-bit weight is its code - 8
};
// For int4_g128: x = scale * 2^shift * code, with a scale for the row. A row is its quads, the last one's
// missing codes 0, and then its scale.
constexpr int64_t quad_size = groups_per_scale * group_size;
struct ActivationQuad {
  int8_t codes[quad_size];
  int32_t start;  // -8 * sum of codes
  int32_t shift;  // 0 .. most_shift
};
constexpr int32_t most_shift = 13;  // a quad's products with codes - 8 are below 2^17
static constexpr int64_t num_quads(int64_t k) { return (k + quad_size - 1) / quad_size; }
static constexpr bool takes_quads(Format weight) { return weight == Format::int4_g128; }
// A row of either, counted in floats.
static constexpr int64_t quantized_width(int64_t k, bool in_quads) {
  return in_quads ? num_quads(k) * static_cast<int64_t>(sizeof(ActivationQuad) / sizeof(float)) + 1
                  : num_groups(k) * static_cast<int64_t>(sizeof(ActivationGroup) / sizeof(float));
}

constexpr int64_t panel_width = 16;  // outputs side by side in a packed weight, and tokens in a group of K
// A panel of quantized weights is its groups' codes, [8][16 outputs][4 k] each, two codes a byte in 4 bits.
// After every group, in int4_g128 after every fourth and the last, there are their factors: f16 scales [16];
// int4: f16 centres [16].
static constexpr int64_t code_bytes(Format format) {
  return panel_width * group_size / (has_nibbles(format) ? 2 : 1);
}
static constexpr int64_t factor_bytes(Format format) { return panel_width * (has_centres(format) ? 4 : 2); }
// Groups of weights that share their factors, counted from the start of k.
static constexpr int64_t groups_per_factor(Format format) {
  return format == Format::int4_g128 ? groups_per_scale : 1;
}
static constexpr int64_t num_factors(Format format, int64_t k) {
  return (num_groups(k) + groups_per_factor(format) - 1) / groups_per_factor(format);
}
static constexpr int64_t quantized_panel_bytes(Format format, int64_t k) {
  return num_groups(k) * code_bytes(format) + num_factors(format, k) * factor_bytes(format);
}
// Panels that stay in L2 while rows come by.
static constexpr int64_t panels_at_once(Format format, int64_t k) {
  constexpr int64_t bytes_at_once = int64_t{1} << 19;
  const int64_t bytes = quantized_panel_bytes(format, k);
  return bytes < bytes_at_once ? bytes_at_once / bytes : 1;
}
// Where in a panel of `groups` the codes of one begin, and its factors.
static constexpr int64_t codes_at(Format format, int64_t group) {
  return group * code_bytes(format) + group / groups_per_factor(format) * factor_bytes(format);
}
static constexpr int64_t factors_at(Format format, int64_t group, int64_t groups) {
  const int64_t shared = groups_per_factor(format), first = group / shared * shared;
  return codes_at(format, first) + (groups - first < shared ? groups - first : shared) * code_bytes(format);
}
constexpr int64_t partition_size = 256;  // tokens of context that attention reduces before it merges

// Rows of a matrix: `width` used elements in every `stride`.
struct Rows {
  float* data;
  int64_t stride;
};

struct GemmArgs {
  const float* x;  // [rows][x_stride], k used, or those of quantized_width
  int64_t x_stride;
  int64_t rows;
  int64_t k;
  const void* weight;  // [panels][k][16] in `format`, or panels of groups
  Format format;
  const float* bias;  // [panels * 16] or null
  float* y;           // [rows][y_stride]
  int64_t y_stride;
  bool quantized_x;  // x holds rows of `quantize`; only with quantized weights
};

struct CacheView {
  const void* keys;    // [block][kv_head][block_size / 16][head_dim][16 tokens]
  const void* values;  // [block][kv_head][block_size][head_dim]
  Format format;       // f32 or f16
  int64_t block_size;
  int64_t num_kv_heads;
  int64_t head_dim;
};

struct AttentionArgs {
  CacheView cache;
  const float* q;  // [rows][q_stride], head-major
  int64_t q_stride;
  float* out;  // [rows][out_stride], q's layout
  int64_t out_stride;
  int64_t num_groups;  // query heads per kv head
  float scale;
  int64_t window;  // tokens that a query sees, its own included; 0 is all before it
  float soft_cap;  // 0 is none
};

// Rows row_begin .. row_end of one sequence, for the query heads of one kv head.
struct AttentionItem {
  const int32_t* block_table;
  int64_t row_begin;
  int64_t row_end;
  int64_t first_position;  // of row_begin
  int64_t kv_head;
};

struct HeadArgs {
  const float* weight;  // norm over the head, or null
  int64_t num_heads;
};

// q and k in place, then k and v into the cache. Rows row_begin .. row_end of the step.
struct RopeKvArgs {
  float* q;
  int64_t q_stride;
  float* k;
  int64_t k_stride;
  const float* v;
  int64_t v_stride;
  HeadArgs q_norm;
  HeadArgs k_norm;
  float eps;
  int64_t head_dim;
  const float* table;  // [rows][table_stride]: rotary_dim / 2 cosines, then as many sines
  int64_t table_stride;
  int64_t rotary_dim;    // of head_dim
  const int64_t* slots;  // [rows]
  void* keys;
  void* values;
  Format format;
  int64_t block_size;
};

constexpr int64_t weight_block = 512;

struct LogitSummary {
  float max;
  bool has_nan;
};

struct Kernels {
  const char* name;
  // y rows 0 .. rows, outputs of panels panel_begin .. panel_end. scratch: gemm_scratch_floats.
  void (*gemm)(const GemmArgs&, int64_t panel_begin, int64_t panel_end, float* scratch);
  // `next`: the item that this thread is likely to do afterwards, or null. Scratch:
  // attention_scratch_floats(head_dim).
  void (*attention_blocked)(const AttentionArgs&, const AttentionItem&, const AttentionItem* next,
                            float* scratch);
  // The same of an f16 cache with products in bf16, and with scores from 8 bits beside them; null in variants
  // without. See has_bf16_attention. Scratch: attention_bf16_scratch_floats(head_dim).
  void (*attention_bf16)(const AttentionArgs&, const AttentionItem&, const AttentionItem* next,
                         float* scratch);
  void (*attention_int8)(const AttentionArgs&, const AttentionItem&, const AttentionItem* next,
                         float* scratch);
  // Scratch: context length + head_dim floats.
  void (*attention_naive)(const AttentionArgs&, const AttentionItem&, float* scratch);
  // Row kernels: every one handles `rows` rows that start at its pointers.
  void (*embed)(const void* weight, Format, int64_t k, const int32_t* ids, float scale, int64_t rows, Rows y);
  // y: rows of quantized_width(k, in_quads).
  void (*quantize)(Rows x, int64_t k, bool in_quads, Rows y, int64_t rows);
  // Inputs that share their factors, of sixteen outputs, x: [inputs][16]; codes: like x; scales, centres (of
  // int4): [16], f16.
  void (*quantize_weights)(const float* x, Format, uint8_t* codes, uint16_t* scales, uint16_t* centres);
  void (*rms_norm)(Rows x, const float* weight, float eps, int64_t width, int64_t segments, Rows y,
                   int64_t rows);
  void (*add)(Rows a, Rows b, Rows y, int64_t width, int64_t rows);
  void (*add_rms_norm)(Rows a, Rows b, Rows sum, const float* weight, float eps, int64_t width, Rows y,
                       int64_t rows);
  void (*silu_mul)(Rows gate, Rows up, Rows y, int64_t width, int64_t rows);
  void (*gelu_mul)(Rows gate, Rows up, Rows y, int64_t width, int64_t rows);
  void (*soft_cap)(Rows x, float cap, int64_t width, int64_t rows);  // in place
  void (*rope)(Rows x, Rows table, int64_t rotary_dim, int64_t head_dim, int64_t num_heads, Rows y,
               int64_t rows);
  void (*kv_write)(const RopeKvArgs&, int64_t num_kv_heads, int64_t row_begin, int64_t row_end);
  void (*rope_kv_write)(const RopeKvArgs&, int64_t row_begin, int64_t row_end);
  // Sampling, one row of logits.
  LogitSummary (*summarize)(const float* logits, int64_t n);
  // block_sums: one per weight_block of weights.
  void (*softmax_weights)(const float* logits, int64_t n, double max, double temperature, double* weights,
                          double* block_sums);
  int64_t (*count_above)(const float* logits, int64_t n, float value);
  // Indices of logits that are at least `threshold`, from `begin` on, until `capacity` are found; returns
  // their number and sets `end` to where the search stopped.
  int64_t (*find_at_least)(const float* logits, int64_t begin, int64_t n, float threshold, int32_t* found,
                           int64_t capacity, int64_t* end);
};

constexpr int64_t gemm_scratch_floats = partition_size * panel_width;
constexpr int64_t attention_queries = 6;           // queries of one tile
constexpr int64_t attention_queries_at_once = 48;  // that sweep a context together
constexpr int64_t q_chunk = 128;                   // of a query's dimensions, side by side in a tile
static constexpr int64_t padded_to_chunks(int64_t head_dim) {
  return (head_dim + q_chunk - 1) / q_chunk * q_chunk;
}
static constexpr int64_t attention_scratch_floats(int64_t head_dim) {
  return attention_queries * partition_size +
         (attention_queries + attention_queries_at_once) * (head_dim + 2 * panel_width) +
         attention_queries_at_once * padded_to_chunks(head_dim);
}
// In bf16, where a tile's queries share K and V that were converted for all queries at once.
constexpr int64_t bf16_queries = 8;
constexpr int64_t bf16_queries_at_once = 192;
static constexpr int64_t attention_bf16_scratch_floats(int64_t head_dim) {
  const int64_t padded_dim = head_dim + 2 * panel_width;
  return (bf16_queries + padded_dim) * partition_size +
         bf16_queries_at_once * (padded_dim + padded_to_chunks(head_dim) / 2);
}

const Kernels& kernels_portable();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace gradus
