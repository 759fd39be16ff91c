// One step's arguments, copied and checked, and its results. Mirrors gradus/batch.py.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "logit_edits.h"

namespace gradus {

struct StepLimits {
  int64_t max_rows;
  int64_t max_model_len;
  int64_t vocab_size;
  int64_t num_blocks;
  int64_t block_size;
};

constexpr int32_t draw_token = -1;
constexpr int32_t score_nothing = -2;

struct SamplingParams {
  float temperature;
  float top_p;
  int32_t top_k;
  float min_p;
  int64_t seed;
  int32_t choice_index;
  int32_t position;
  int32_t num_logprobs;
  int32_t target = draw_token;  // or score_nothing, or a token id to score
  int32_t edit = -1;            // index into the step's edits; -1: none
};

struct Step {
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int64_t> slots;
  std::vector<int32_t> query_start;
  std::vector<int32_t> context_lens;
  std::vector<int32_t> block_tables;  // [num_seqs][max_blocks]
  int64_t max_blocks = 0;
  std::vector<int32_t> block_copies;  // [num_copies][2]
  std::vector<int32_t> output_rows;
  std::vector<SamplingParams> sampling;  // per output
  LogitEdits edits;
  bool return_logits = false;
  bool return_hidden = false;

  int64_t num_rows() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_seqs() const { return static_cast<int64_t>(context_lens.size()); }
  int64_t num_outputs() const { return static_cast<int64_t>(output_rows.size()); }
  int64_t num_copies() const { return static_cast<int64_t>(block_copies.size() / 2); }

  // Throws StepError with the numbers unless everything is in range and consistent: after this, no kernel can
  // touch memory that is not its own.
  void check(const StepLimits& limits) const;

  // The work of attention, in pieces of about `queries` queries. Valid after `check`.
  std::vector<AttentionItem> attention_items(int64_t num_kv_heads, int64_t num_groups, int64_t queries) const;
  // The same for the output rows alone, which the items count.
  std::vector<AttentionItem> output_attention_items(int64_t num_kv_heads, int64_t num_groups,
                                                    int64_t queries) const;
};

struct StepOutput {
  int64_t num_top = 0;
  bool has_logits = false;
  std::vector<int32_t> token_ids;
  std::vector<int32_t> num_sampled;
  std::vector<float> logprobs;
  std::vector<int32_t> ranks;
  std::vector<int32_t> top_token_ids;  // [num_outputs][num_top]
  std::vector<float> top_logprobs;
  std::vector<float> logits;  // [num_outputs][vocab_size], or empty
  bool has_hidden = false;
  int64_t hidden_size = 0;
  std::vector<float> hidden;  // [num_outputs][hidden_size], or empty

  StepOutput() = default;
  StepOutput(const Step& step, int64_t vocab_size);
  void take_hidden(const float* rows, int64_t stride, int64_t width, int64_t num_rows);
};

}  // namespace gradus
