#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "philox.h"

namespace gradus {

namespace {

// Finding the most likely few tokens costs one pass; sorting a vocabulary costs a hundred. So a nucleus is
// looked for among this many first, then among ever more.
constexpr int64_t first_candidates = 64;
constexpr int64_t more_candidates = 16;

// The first index up to which the weights sum to more than `target`; block by block, then one by one. Where
// rounding hides the crossing, the last index with weight.
int64_t find_cumulative(const std::vector<double>& weights, const std::vector<double>& block_sums,
                        double target) {
  double cumulative = 0;
  size_t block = 0;
  while (block + 1 < block_sums.size() && cumulative + block_sums[block] <= target)
    cumulative += block_sums[block++];
  const auto n = static_cast<int64_t>(weights.size());
  int64_t chosen = -1;
  for (int64_t i = static_cast<int64_t>(block) * weight_block; i < n; ++i) {
    if (weights[i] > 0) chosen = i;
    cumulative += weights[i];
    if (cumulative > target) break;
  }
  for (int64_t i = static_cast<int64_t>(block) * weight_block; chosen < 0 && i-- > 0;) {
    if (weights[i] > 0) chosen = i;  // the last blocks weigh nothing
  }
  return std::max<int64_t>(chosen, 0);
}

}  // namespace

Peak Sampler::peak(const Kernels& kernels, const float* logits, int64_t begin, int64_t end) {
  const LogitSummary summary = kernels.summarize(logits, end - begin);
  return {summary.max, summary.has_nan, begin, end};
}

void Sampler::sample(const float* logits, const Peak& peak, const Step& step, StepOutput& output,
                     int64_t index) {
  const SamplingParams& params = step.sampling[index];
  if (params.target == score_nothing || !peak.is_usable()) return;  // num_sampled stays 0
  const int32_t token_id =
      params.target == draw_token ? choose(logits, peak, params, step.edits) : params.target;
  if (token_id < 0) return;
  output.token_ids[index] = token_id;
  output.num_sampled[index] = 1;
  if (params.num_logprobs >= 0) add_logprobs(logits, peak.max, token_id, params.num_logprobs, output, index);
}

// The next token, or -1 where the row's edits leave none.
int32_t Sampler::choose(const float* logits, Peak peak, const SamplingParams& params,
                        const LogitEdits& edits) {
  if (params.edit >= 0) {
    edited_.assign(logits, logits + vocab_size_);
    edits.apply(params.edit, edited_.data(), vocab_size_);
    logits = edited_.data();
    peak = Sampler::peak(kernels_, logits, 0, vocab_size_);
    if (!peak.is_usable()) return -1;
  }
  return params.temperature == 0 ? first_of(logits, peak) : draw(logits, peak.max, params);
}

int32_t Sampler::first_of(const float* logits, const Peak& peak) {
  int32_t found[panel_width];
  int64_t end;
  kernels_.find_at_least(logits, peak.begin, peak.end, peak.max, found, panel_width, &end);
  return found[0];
}

int32_t Sampler::draw(const float* logits, float max, const SamplingParams& params) {
  const double uniform = uniform_draw(params.seed, params.choice_index, params.position);
  const bool cut_k = params.top_k > 0 && params.top_k < vocab_size_;
  const bool cut_min = params.min_p > 0;
  if (!cut_k && !cut_min && !(params.top_p < 1)) {
    const double total = weigh_all(logits, max, params.temperature);
    return static_cast<int32_t>(find_cumulative(weights_, block_sums_, uniform * total));
  }
  if (cut_min) {
    keep_min_p(logits, max, params);
  } else if (cut_k) {
    find_likeliest(logits, params.top_k);
  }
  if (params.top_p < 1) keep_top_p(logits, max, params, !cut_k && !cut_min);
  std::sort(candidates_.begin(), candidates_.end());
  const double total = weigh_candidates(logits, max, params.temperature);
  return candidates_[find_cumulative(weights_, block_sums_, uniform * total)];
}

// Leaves in `candidates_` the tokens at least min_p times as likely as the likeliest, and of these the top_k
// likeliest if top_k is on, by falling logit and then rising id.
void Sampler::keep_min_p(const float* logits, float max, const SamplingParams& params) {
  weigh_all(logits, max, params.temperature);
  candidates_.clear();
  for (int64_t i = 0; i < vocab_size_; ++i) {
    if (weights_[i] >= static_cast<double>(params.min_p)) candidates_.push_back(static_cast<int32_t>(i));
  }
  std::sort(candidates_.begin(), candidates_.end(), [logits](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  });
  if (params.top_k > 0) candidates_.resize(std::min<size_t>(candidates_.size(), params.top_k));
}

// Leaves the nucleus in `candidates_`: that of all tokens, or of those which are there already.
void Sampler::keep_top_p(const float* logits, float max, const SamplingParams& params, bool from_all) {
  double total = from_all ? weigh_all(logits, max, params.temperature) : 0;
  for (int64_t count = first_candidates;; count *= more_candidates) {
    if (from_all) find_likeliest(logits, std::min(count, vocab_size_));
    const double candidates_total = weigh_candidates(logits, max, params.temperature);
    const bool is_everything = !from_all || count >= vocab_size_;
    if (is_everything) total = candidates_total;
    const double enough = static_cast<double>(params.top_p) * total;
    if (candidates_total < enough && !is_everything) continue;
    double cumulative = 0;
    size_t num_kept = 0;
    while (num_kept < weights_.size() && (num_kept == 0 || cumulative < enough))
      cumulative += weights_[num_kept++];
    candidates_.resize(num_kept);
    return;
  }
}

double Sampler::weigh_candidates(const float* logits, float max, double temperature) {
  candidate_logits_.resize(candidates_.size());
  for (size_t i = 0; i < candidates_.size(); ++i) candidate_logits_[i] = logits[candidates_[i]];
  return weigh(candidate_logits_.data(), static_cast<int64_t>(candidates_.size()), max, temperature);
}

double Sampler::weigh_all(const float* logits, float max, double temperature) {
  return weigh(logits, vocab_size_, max, temperature);
}

// Weights of n logits into `weights_`; returns their sum.
double Sampler::weigh(const float* logits, int64_t n, float max, double temperature) {
  weights_.resize(n);
  block_sums_.resize((n + weight_block - 1) / weight_block);
  kernels_.softmax_weights(logits, n, max, temperature, weights_.data(), block_sums_.data());
  return std::accumulate(block_sums_.begin(), block_sums_.end(), 0.0);
}

// The `count` likeliest tokens into `candidates_`, by falling logit and then rising id. One pass that keeps
// up to twice as many, and raises its threshold to the count-th whenever they are cut back.
void Sampler::find_likeliest(const float* logits, int64_t count) {
  const auto likelier = [logits](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  const int64_t capacity = 2 * count + 2 * panel_width;
  candidates_.resize(capacity);
  float threshold = -INFINITY;
  int64_t found = 0;
  for (int64_t begin = 0; begin < vocab_size_;) {
    found += kernels_.find_at_least(logits, begin, vocab_size_, threshold, candidates_.data() + found,
                                    capacity - found, &begin);
    if (found <= count) continue;
    std::nth_element(candidates_.begin(), candidates_.begin() + count - 1, candidates_.begin() + found,
                     likelier);
    found = count;
    threshold = logits[candidates_[count - 1]];
  }
  candidates_.resize(std::min(found, count));
  std::sort(candidates_.begin(), candidates_.end(), likelier);
}

void Sampler::add_logprobs(const float* logits, float max, int32_t token_id, int32_t num_top,
                           StepOutput& output, int64_t index) {
  const double log_total = std::log(weigh_all(logits, max, 1.0));
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(static_cast<double>(logits[id]) - static_cast<double>(max) - log_total);
  };
  const float logit = logits[token_id];
  output.logprobs[index] = logprob(token_id);
  output.ranks[index] = static_cast<int32_t>(1 + kernels_.count_above(logits, vocab_size_, logit) +
                                             std::count(logits, logits + token_id, logit));
  if (num_top == 0) return;
  find_likeliest(logits, num_top);
  for (size_t i = 0; i < candidates_.size(); ++i) {
    output.top_token_ids[index * output.num_top + i] = candidates_[i];
    output.top_logprobs[index * output.num_top + i] = logprob(candidates_[i]);
  }
}

}  // namespace gradus
