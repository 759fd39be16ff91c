// A step's arguments from NumPy arrays, and its results to NumPy arrays.
#include "binding/binding.h"

namespace gradus {

namespace {

template <class T>
void require_outputs(const char* name, const Array1<T>& array, size_t expected) {
  if (array.size() != expected)
    throw StepError(std::string(name) + " has " + std::to_string(array.size()) + " entries, expected " +
                    std::to_string(expected));
}

Step make_step(const Array1<int32_t>& token_ids, const Array1<int32_t>& positions,
               const Array1<int64_t>& slot_mapping, const Array1<int32_t>& query_start,
               const Array1<int32_t>& context_lens, const Array2<int32_t>& block_tables,
               const Array2<int32_t>& block_copies, const Array1<int32_t>& output_rows) {
  Step step;
  step.token_ids = to_vector(token_ids);
  step.positions = to_vector(positions);
  step.slots = to_vector(slot_mapping);
  step.query_start = to_vector(query_start);
  step.context_lens = to_vector(context_lens);
  step.block_tables = to_vector(block_tables);
  step.max_blocks = static_cast<int64_t>(block_tables.shape(1));
  step.block_copies = to_vector(block_copies);
  step.output_rows = to_vector(output_rows);
  if (block_tables.shape(0) != context_lens.size())
    throw StepError("block_tables and context_lens differ in sequences");
  if (block_copies.shape(1) != 2) throw StepError("block_copies is not a list of pairs");
  return step;
}

void set_sampling(Step& step, const Array1<float>& temperature, const Array1<float>& top_p,
                  const Array1<int32_t>& top_k, const Array1<float>& min_p, const Array1<int64_t>& seed,
                  const Array1<int32_t>& choice_index, const Array1<int32_t>& position,
                  const Array1<int32_t>& num_logprobs) {
  const size_t n = step.output_rows.size();
  require_outputs("temperature", temperature, n);
  require_outputs("top_p", top_p, n);
  require_outputs("top_k", top_k, n);
  require_outputs("min_p", min_p, n);
  require_outputs("seed", seed, n);
  require_outputs("choice_index", choice_index, n);
  require_outputs("position", position, n);
  require_outputs("num_logprobs", num_logprobs, n);
  step.sampling.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    step.sampling.push_back({temperature.data()[i], top_p.data()[i], top_k.data()[i], min_p.data()[i],
                             seed.data()[i], choice_index.data()[i], position.data()[i],
                             num_logprobs.data()[i]});
  }
}

void set_targets(Step& step, const Array1<int32_t>& targets) {
  require_outputs("targets", targets, step.sampling.size());
  for (size_t i = 0; i < step.sampling.size(); ++i) step.sampling[i].target = targets.data()[i];
}

void set_edits(Step& step, LogitEdits edits) {
  for (size_t i = 0; i < edits.rows.size(); ++i) {
    const int32_t row = edits.rows[i];
    if (row < 0 || static_cast<size_t>(row) >= step.sampling.size())
      throw StepError("edits.rows has " + std::to_string(row) + ", with " +
                      std::to_string(step.sampling.size()) + " output rows");
    step.sampling[row].edit = static_cast<int32_t>(i);
  }
  step.edits = std::move(edits);
}

// A NumPy array that owns `values`.
template <class T>
nb::object to_numpy(std::vector<T>&& values, std::initializer_list<size_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(owned->data(), shape, owner));
}

}  // namespace

nb::tuple to_python(StepOutput&& out, int64_t vocab_size) {
  const size_t n = out.token_ids.size();
  const auto num_top = static_cast<size_t>(out.num_top);
  nb::object logits = nb::none();
  if (out.has_logits) logits = to_numpy(std::move(out.logits), {n, static_cast<size_t>(vocab_size)});
  nb::object hidden = nb::none();
  if (out.has_hidden) hidden = to_numpy(std::move(out.hidden), {n, static_cast<size_t>(out.hidden_size)});
  return nb::make_tuple(to_numpy(std::move(out.token_ids), {n, 1}), to_numpy(std::move(out.num_sampled), {n}),
                        to_numpy(std::move(out.logprobs), {n, 1}), to_numpy(std::move(out.ranks), {n, 1}),
                        to_numpy(std::move(out.top_token_ids), {n, num_top}),
                        to_numpy(std::move(out.top_logprobs), {n, num_top}), logits, hidden);
}

void bind_step(nb::module_& m) {
  nb::class_<Step>(m, "Step",
                   "One step's arguments; arrays as in gradus.batch.Batch, of exactly those types.")
      .def(
          "__init__",
          [](Step* self, Array1<int32_t> token_ids, Array1<int32_t> positions, Array1<int64_t> slot_mapping,
             Array1<int32_t> query_start, Array1<int32_t> context_lens, Array2<int32_t> block_tables,
             Array2<int32_t> block_copies, Array1<int32_t> output_rows, Array1<float> temperature,
             Array1<float> top_p, Array1<int32_t> top_k, Array1<float> min_p, Array1<int64_t> seed,
             Array1<int32_t> choice_index, Array1<int32_t> position, Array1<int32_t> num_logprobs,
             bool return_logits, bool return_hidden) {
            Step step = make_step(token_ids, positions, slot_mapping, query_start, context_lens, block_tables,
                                  block_copies, output_rows);
            set_sampling(step, temperature, top_p, top_k, min_p, seed, choice_index, position, num_logprobs);
            step.return_logits = return_logits;
            step.return_hidden = return_hidden;
            new (self) Step(std::move(step));
          },
          "token_ids"_a.noconvert(), "positions"_a.noconvert(), "slot_mapping"_a.noconvert(),
          "query_start"_a.noconvert(), "context_lens"_a.noconvert(), "block_tables"_a.noconvert(),
          "block_copies"_a.noconvert(), "output_rows"_a.noconvert(), "temperature"_a.noconvert(),
          "top_p"_a.noconvert(), "top_k"_a.noconvert(), "min_p"_a.noconvert(), "seed"_a.noconvert(),
          "choice_index"_a.noconvert(), "position"_a.noconvert(), "num_logprobs"_a.noconvert(),
          "return_logits"_a, "return_hidden"_a)
      .def("set_targets", &set_targets, "targets"_a.noconvert())
      .def(
          "set_edits",
          [](Step& self, Array1<int32_t> rows, Array1<int32_t> mask_index, Array2<uint32_t> masks,
             Array1<int32_t> bias_start, Array1<int32_t> bias_ids, Array1<float> biases,
             Array1<int32_t> seen_start, Array1<int32_t> seen_ids, Array1<int32_t> seen_counts,
             Array1<float> repetition_penalty, Array1<float> frequency_penalty,
             Array1<float> presence_penalty) {
            const auto num_masks = static_cast<int64_t>(masks.shape(0));
            const auto mask_words = static_cast<int64_t>(masks.shape(1));
            set_edits(self,
                      {to_vector(rows), to_vector(mask_index), to_vector(masks), num_masks, mask_words,
                       to_vector(bias_start), to_vector(bias_ids), to_vector(biases), to_vector(seen_start),
                       to_vector(seen_ids), to_vector(seen_counts), to_vector(repetition_penalty),
                       to_vector(frequency_penalty), to_vector(presence_penalty)});
          },
          "rows"_a.noconvert(), "mask_index"_a.noconvert(), "masks"_a.noconvert(), "bias_start"_a.noconvert(),
          "bias_ids"_a.noconvert(), "biases"_a.noconvert(), "seen_start"_a.noconvert(),
          "seen_ids"_a.noconvert(), "seen_counts"_a.noconvert(), "repetition_penalty"_a.noconvert(),
          "frequency_penalty"_a.noconvert(), "presence_penalty"_a.noconvert());
}

}  // namespace gradus
