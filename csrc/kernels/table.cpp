// The table of one CPU variant's kernels. The declarations repeat the definitions' own; the table's types
// check them.
#include "kernels/simd.h"

namespace gradus {

namespace GRADUS_VARIANT {

void gemm(const GemmArgs&, int64_t, int64_t, float*);
void attention_blocked(const AttentionArgs&, const AttentionItem&, const AttentionItem*, float*);
void attention_bf16(const AttentionArgs&, const AttentionItem&, const AttentionItem*, float*);
void attention_int8(const AttentionArgs&, const AttentionItem&, const AttentionItem*, float*);
void attention_naive(const AttentionArgs&, const AttentionItem&, float*);
void embed(const void*, Format, int64_t, const int32_t*, float, int64_t, Rows);
void quantize(Rows, int64_t, bool, Rows, int64_t);
void quantize_weights(const float*, Format, uint8_t*, uint16_t*, uint16_t*);
void rms_norm(Rows, const float*, float, int64_t, int64_t, Rows, int64_t);
void add(Rows, Rows, Rows, int64_t, int64_t);
void add_rms_norm(Rows, Rows, Rows, const float*, float, int64_t, Rows, int64_t);
void silu_mul(Rows, Rows, Rows, int64_t, int64_t);
void gelu_mul(Rows, Rows, Rows, int64_t, int64_t);
void soft_cap(Rows, float, int64_t, int64_t);
void rope(Rows, Rows, int64_t, int64_t, int64_t, Rows, int64_t);
void kv_write(const RopeKvArgs&, int64_t, int64_t, int64_t);
void rope_kv_write(const RopeKvArgs&, int64_t, int64_t);
LogitSummary summarize(const float*, int64_t);
void softmax_weights(const float*, int64_t, double, double, double*, double*);
int64_t count_above(const float*, int64_t, float);
int64_t find_at_least(const float*, int64_t, int64_t, float, int32_t*, int64_t, int64_t*);

}  // namespace GRADUS_VARIANT

#define GRADUS_TEXT_OF(name) #name
#define GRADUS_TEXT(name) GRADUS_TEXT_OF(name)
#define GRADUS_JOIN_OF(a, b) a##b
#define GRADUS_JOIN(a, b) GRADUS_JOIN_OF(a, b)

#if GRADUS_VARIANT_avx512
#define GRADUS_WITH_BF16(kernel) variant::kernel
#else
#define GRADUS_WITH_BF16(kernel) nullptr
#endif

const Kernels& GRADUS_JOIN(kernels_, GRADUS_VARIANT)() {
  namespace variant = GRADUS_VARIANT;
  static const Kernels table = {
      GRADUS_TEXT(GRADUS_VARIANT),
      variant::gemm,
      variant::attention_blocked,
      GRADUS_WITH_BF16(attention_bf16),
      GRADUS_WITH_BF16(attention_int8),
      variant::attention_naive,
      variant::embed,
      variant::quantize,
      variant::quantize_weights,
      variant::rms_norm,
      variant::add,
      variant::add_rms_norm,
      variant::silu_mul,
      variant::gelu_mul,
      variant::soft_cap,
      variant::rope,
      variant::kv_write,
      variant::rope_kv_write,
      variant::summarize,
      variant::softmax_weights,
      variant::count_above,
      variant::find_at_least,
  };
  return table;
}

}  // namespace gradus
