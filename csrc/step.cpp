#include "step.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "errors.h"

namespace gradus {

namespace {

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw StepError(text.str());
}

template <class... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) refuse(parts...);
}

template <class T>
void require_length(const char* name, const std::vector<T>& values, int64_t expected) {
  const auto found = static_cast<int64_t>(values.size());
  require(found == expected, name, " has ", found, " entries, expected ", expected);
}

template <class T>
void require_range(const char* name, const std::vector<T>& values, int64_t end) {
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<int64_t>(values[i]);
    require(value >= 0 && value < end, name, "[", i, "] is ", value, ", not in 0 to ", end - 1);
  }
}

// Rows of sequence `seq`: consecutive positions that end at its context, written where its block table says.
void check_sequence(const Step& step, const StepLimits& limits, int64_t seq) {
  const int64_t begin = step.query_start[seq];
  const int64_t end = step.query_start[seq + 1];
  require(begin < end && end <= step.num_rows(), "query_start[", seq, "] is ", begin, " and the next is ",
          end, ", with ", step.num_rows(), " tokens in the step");
  const int64_t context = step.context_lens[seq];
  require(context >= end - begin && context <= limits.max_model_len, "context_lens[", seq, "] is ", context,
          ", with ", end - begin, " rows and max_model_len ", limits.max_model_len);
  const int64_t num_blocks = (context + limits.block_size - 1) / limits.block_size;
  require(num_blocks <= step.max_blocks, "sequence ", seq, " needs ", num_blocks, " blocks, its table has ",
          step.max_blocks);
  const int32_t* table = step.block_tables.data() + seq * step.max_blocks;
  for (int64_t i = 0; i < num_blocks; ++i) {
    require(table[i] >= 0 && table[i] < limits.num_blocks, "block_tables[", seq, ", ", i, "] is ", table[i],
            ", not in 0 to ", limits.num_blocks - 1);
  }
  for (int64_t row = begin; row < end; ++row) {
    const int64_t position = context - (end - row);
    require(step.positions[row] == position, "positions[", row, "] is ", step.positions[row], ", expected ",
            position);
    const int64_t slot =
        table[position / limits.block_size] * limits.block_size + position % limits.block_size;
    require(step.slots[row] == slot, "slot_mapping[", row, "] is ", step.slots[row], ", expected ", slot,
            " from the block table");
  }
}

void check_sampling(const SamplingParams& p, int64_t row, const StepLimits& limits) {
  require(p.temperature >= 0 && std::isfinite(p.temperature), "temperature[", row, "] is ", p.temperature);
  require(p.top_p >= 0 && p.top_p <= 1, "top_p[", row, "] is ", p.top_p, ", not in 0 to 1");
  require(p.top_k >= 0, "top_k[", row, "] is ", p.top_k);
  require(p.num_logprobs >= -1 && p.num_logprobs <= limits.vocab_size, "num_logprobs[", row, "] is ",
          p.num_logprobs, ", not in -1 to ", limits.vocab_size);
  require(p.min_p >= 0 && p.min_p <= 1, "min_p[", row, "] is ", p.min_p, ", not in 0 to 1");
  require(p.target >= score_nothing && p.target < limits.vocab_size, "targets[", row, "] is ", p.target,
          ", not in -2 to ", limits.vocab_size - 1);
}

}  // namespace

void Step::check(const StepLimits& limits) const {
  require(num_rows() <= limits.max_rows, "the step has ", num_rows(), " tokens, max_num_batched_tokens is ",
          limits.max_rows);
  require_length("positions", positions, num_rows());
  require_length("slot_mapping", slots, num_rows());
  require_length("query_start", query_start, num_seqs() + 1);
  require_length("block_tables", block_tables, num_seqs() * max_blocks);
  require(block_copies.size() % 2 == 0, "block_copies is not a list of pairs");
  require_range("token_ids", token_ids, limits.vocab_size);
  require_range("block_copies", block_copies, limits.num_blocks);
  require_range("output_rows", output_rows, num_rows());
  require(std::is_sorted(output_rows.begin(), output_rows.end()) &&
              std::adjacent_find(output_rows.begin(), output_rows.end()) == output_rows.end(),
          "output_rows are not ascending");
  require(query_start.front() == 0 && query_start.back() == num_rows(), "query_start runs from ",
          query_start.front(), " to ", query_start.back(), ", with ", num_rows(), " tokens in the step");
  for (int64_t seq = 0; seq < num_seqs(); ++seq) check_sequence(*this, limits, seq);
  for (int64_t row = 0; row < num_outputs(); ++row) check_sampling(sampling[row], row, limits);
  if (edits.num_edited() > 0) edits.check(num_outputs(), limits.vocab_size);
}

namespace {

// Cuts rows first .. last, consecutive positions of a sequence, into items of at most `most` rows, each for
// one kv head.
void add_items(std::vector<AttentionItem>& items, const int32_t* block_table, int64_t first, int64_t last,
               int64_t position, int64_t most, int64_t num_kv_heads) {
  for (int64_t row = first; row < last; row += most) {
    for (int64_t head = 0; head < num_kv_heads; ++head) {
      items.push_back({block_table, row, std::min(row + most, last), position + row - first, head});
    }
  }
}

}  // namespace

std::vector<AttentionItem> Step::attention_items(int64_t num_kv_heads, int64_t num_groups,
                                                 int64_t queries) const {
  const int64_t most = std::max<int64_t>(1, queries / num_groups);
  std::vector<AttentionItem> items;
  for (int64_t seq = 0; seq < num_seqs(); ++seq) {
    const int64_t first = query_start[seq];
    add_items(items, block_tables.data() + seq * max_blocks, first, query_start[seq + 1], positions[first],
              most, num_kv_heads);
  }
  return items;
}

std::vector<AttentionItem> Step::output_attention_items(int64_t num_kv_heads, int64_t num_groups,
                                                        int64_t queries) const {
  const int64_t most = std::max<int64_t>(1, queries / num_groups);
  std::vector<AttentionItem> items;
  int64_t seq = 0;
  for (int64_t first = 0, last; first < num_outputs(); first = last) {
    const int64_t row = output_rows[first];
    while (row >= query_start[seq + 1]) ++seq;
    for (last = first + 1; last < num_outputs(); ++last) {
      if (output_rows[last] != row + last - first || output_rows[last] >= query_start[seq + 1]) break;
    }
    add_items(items, block_tables.data() + seq * max_blocks, first, last, positions[row], most, num_kv_heads);
  }
  return items;
}

StepOutput::StepOutput(const Step& step, int64_t vocab_size) {
  const auto n = static_cast<size_t>(step.num_outputs());
  for (const auto& p : step.sampling) num_top = std::max<int64_t>(num_top, p.num_logprobs);
  token_ids.assign(n, -1);
  num_sampled.assign(n, 0);
  logprobs.assign(n, 0);
  ranks.assign(n, 0);
  top_token_ids.assign(n * num_top, -1);
  top_logprobs.assign(n * num_top, 0);
  has_logits = step.return_logits;
  if (has_logits) logits.resize(n * vocab_size);
  has_hidden = step.return_hidden;
}

void StepOutput::take_hidden(const float* rows, int64_t stride, int64_t width, int64_t num_rows) {
  hidden_size = width;
  hidden.resize(num_rows * width);
  for (int64_t row = 0; row < num_rows; ++row)
    std::copy_n(rows + row * stride, width, hidden.data() + row * width);
}

}  // namespace gradus
