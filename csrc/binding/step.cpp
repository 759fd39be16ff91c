// A step's arguments from NumPy arrays, and its results to NumPy arrays.
#include "binding/binding.h"

namespace gradus {

namespace {

Step make_step(const Array1<int32_t>& token_ids, const Array1<int32_t>& positions,
               const Array1<int64_t>& slot_mapping, const Array1<int32_t>& query_start,
               const Array1<int32_t>& context_lens, const Array2<int32_t>& block_tables,
               const Array2<int32_t>& block_copies, const Array1<int32_t>& output_rows,
               const Array1<float>& temperature, const Array1<float>& top_p, const Array1<int32_t>& top_k,
               const Array1<int64_t>& seed, const Array1<int32_t>& choice_index,
               const Array1<int32_t>& position, const Array1<int32_t>& num_logprobs, bool return_logits) {
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
  step.return_logits = return_logits;
  if (block_tables.shape(0) != context_lens.size())
    throw StepError("block_tables and context_lens differ in sequences");
  if (block_copies.shape(1) != 2) throw StepError("block_copies is not a list of pairs");
  const size_t n = output_rows.size();
  for (const size_t size : {temperature.size(), top_p.size(), top_k.size(), seed.size(), choice_index.size(),
                            position.size(), num_logprobs.size()}) {
    if (size != n)
      throw StepError("a sampling array has " + std::to_string(size) + " entries, expected " +
                      std::to_string(n));
  }
  for (size_t i = 0; i < n; ++i) {
    step.sampling.push_back({temperature.data()[i], top_p.data()[i], top_k.data()[i], seed.data()[i],
                             choice_index.data()[i], position.data()[i], num_logprobs.data()[i]});
  }
  return step;
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
  return nb::make_tuple(to_numpy(std::move(out.token_ids), {n, 1}), to_numpy(std::move(out.num_sampled), {n}),
                        to_numpy(std::move(out.logprobs), {n, 1}), to_numpy(std::move(out.ranks), {n, 1}),
                        to_numpy(std::move(out.top_token_ids), {n, num_top}),
                        to_numpy(std::move(out.top_logprobs), {n, num_top}), logits);
}

void bind_step(nb::module_& m) {
  nb::class_<Step>(m, "Step",
                   "One step's arguments; arrays as in gradus.batch.Batch, of exactly those types.")
      .def(
          "__init__",
          [](Step* self, Array1<int32_t> token_ids, Array1<int32_t> positions, Array1<int64_t> slot_mapping,
             Array1<int32_t> query_start, Array1<int32_t> context_lens, Array2<int32_t> block_tables,
             Array2<int32_t> block_copies, Array1<int32_t> output_rows, Array1<float> temperature,
             Array1<float> top_p, Array1<int32_t> top_k, Array1<int64_t> seed, Array1<int32_t> choice_index,
             Array1<int32_t> position, Array1<int32_t> num_logprobs, bool return_logits) {
            new (self) Step(make_step(token_ids, positions, slot_mapping, query_start, context_lens,
                                      block_tables, block_copies, output_rows, temperature, top_p, top_k,
                                      seed, choice_index, position, num_logprobs, return_logits));
          },
          "token_ids"_a.noconvert(), "positions"_a.noconvert(), "slot_mapping"_a.noconvert(),
          "query_start"_a.noconvert(), "context_lens"_a.noconvert(), "block_tables"_a.noconvert(),
          "block_copies"_a.noconvert(), "output_rows"_a.noconvert(), "temperature"_a.noconvert(),
          "top_p"_a.noconvert(), "top_k"_a.noconvert(), "seed"_a.noconvert(), "choice_index"_a.noconvert(),
          "position"_a.noconvert(), "num_logprobs"_a.noconvert(), "return_logits"_a);
}

}  // namespace gradus
