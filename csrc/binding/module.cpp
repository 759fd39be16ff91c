// The extension module.
#include <atomic>

#include "bandwidth.h"
#include "binding/binding.h"
#include "cpu_features.h"
#include "philox.h"

namespace gradus {
namespace {

void bind_executor(nb::module_& m) {
  nb::class_<Executor> executor(m, "Executor", "Threads, KV cache and scratch; runs instructions on steps.");
  executor
      .def(
          "__init__",
          [](Executor* self, const std::string& cpu_variant, int num_threads, const std::string& kv_format,
             int64_t num_layers, int64_t num_blocks, int64_t block_size, int64_t num_heads,
             int64_t num_kv_heads, int64_t head_dim, int64_t vocab_size, int64_t max_rows,
             int64_t max_model_len) {
            require(num_threads >= 1 && num_threads <= 1024, "num_threads must be 1 to 1024");
            require(num_kv_heads > 0 && num_heads > 0 && num_heads % num_kv_heads == 0,
                    "num_heads must be a multiple of num_kv_heads");
            require(vocab_size > 0 && max_rows > 0 && max_model_len > 0, "sizes must be positive");
            const CacheShape cache{format_of(kv_format), num_layers,   num_blocks,
                                   block_size,           num_kv_heads, head_dim};
            new (self) Executor(select_kernels(cpu_variant), num_threads, cache,
                                {num_heads, vocab_size, max_rows, max_model_len});
          },
          nb::kw_only(), "cpu_variant"_a, "num_threads"_a, "kv_format"_a, "num_layers"_a, "num_blocks"_a,
          "block_size"_a, "num_heads"_a, "num_kv_heads"_a, "head_dim"_a, "vocab_size"_a, "max_rows"_a,
          "max_model_len"_a)
      .def_prop_ro("cpu_variant", [](const Executor& self) { return std::string(self.kernels().name); })
      .def_prop_ro("num_threads", [](Executor& self) { return self.pool().num_threads(); })
      .def_prop_ro("kv_bytes", [](const Executor& self) { return self.cache().bytes(); })
      .def_prop_ro("scratch_bytes", &Executor::scratch_bytes)
      .def("begin", [](Executor& self, const Step& step) { self.begin(step); })
      .def("execute", &Executor::execute, nb::call_guard<nb::gil_scoped_release>())
      .def("end", [](Executor& self) { return to_python(self.end(), self.shape().vocab_size); })
      .def("run", [](Executor& self, const Program& program, const Step& step) {
        StepOutput output;
        {
          nb::gil_scoped_release release;
          output = self.run(program, step);
        }
        return to_python(std::move(output), self.shape().vocab_size);
      });
  bind_quantized_instructions(executor);
  bind_cache_instructions(executor);
  bind_measurements(m, executor);
}

}  // namespace
}  // namespace gradus

NB_MODULE(_native, m) {
  using namespace gradus;
  m.doc() = "The native CPU backend's kernels and program executor.";
  nb::exception<StepError>(m, "StepError", PyExc_RuntimeError);
  nb::exception<SetupError>(m, "SetupError", PyExc_ValueError);
  m.attr("LAYOUT_VERSION") = layout_version;
  m.def("available_variants", &available_variants, "Kernel variants that this CPU can run, best first.");
  m.def(
      "has_bf16_attention",
      [](const std::string& cpu_variant) { return has_bf16_attention(select_kernels(cpu_variant)); },
      "Whether a kernel variant, or the best one, has attention in bf16 on this CPU.", "cpu_variant"_a = "");
  m.def(
      "parallel_sum",
      [](int num_threads, int64_t size, int64_t grain, int64_t failing) {
        ThreadPool pool(num_threads);
        std::atomic<int64_t> sum{0};
        pool.parallel_for(size, grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) {
            if (i == failing) throw StepError("item " + std::to_string(i) + " failed");
            sum += i;
          }
        });
        return sum.load();
      },
      "The sum of 0 .. size by a thread pool, for tests; the item `failing` throws.", "num_threads"_a,
      "size"_a, "grain"_a, "failing"_a = -1, nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "time_loops",
      [](int num_threads, int64_t num_loops, double piece_seconds) {
        require(num_threads >= 1 && num_threads <= 1024 && num_loops >= 1, "a loop needs a thread");
        nb::gil_scoped_release release;
        return time_loops(num_threads, num_loops, piece_seconds);
      },
      "Seconds that each of so many loops takes that consist of a piece of `piece_seconds` for every thread.",
      "num_threads"_a, "num_loops"_a, "piece_seconds"_a);
  m.def(
      "time_memory_reads",
      [](int num_threads, int64_t bytes, int num_passes) {
        require(num_threads >= 1 && num_threads <= 1024, "num_threads must be 1 to 1024");
        require(bytes >= 1 << 20 && num_passes >= 1, "a measurement needs a mebibyte and a pass at least");
        nb::gil_scoped_release release;
        return time_memory_reads(num_threads, bytes, num_passes);
      },
      "Seconds of each pass in which all threads together read so many bytes of memory once.",
      "num_threads"_a, "bytes"_a, "num_passes"_a);
  m.def("uniform_draw", &uniform_draw, "seed"_a, "choice_index"_a, "position"_a);
  bind_memory(m);
  bind_instructions(m);
  bind_step(m);
  bind_executor(m);
}
