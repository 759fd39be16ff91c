#include "cpu_features.h"

#include "errors.h"

#if GRADUS_HAVE_avx2
#include <cpuid.h>
#endif

namespace gradus {

namespace {

#if GRADUS_HAVE_avx2
// Parts of the registers that the operating system saves, as bits of XCR0.
constexpr unsigned saves_ymm = 0x06;
constexpr unsigned saves_zmm = 0xe6;

bool system_saves(unsigned parts) {
  unsigned xcr0, xcr0_high;
  __asm__("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
  return (xcr0 & parts) == parts;
}

// AVX2, FMA and F16C in the CPU, and the operating system saves the upper halves of the registers.
bool cpu_has_avx2() {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  const unsigned needed = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
  if ((ecx & needed) != needed || !system_saves(saves_ymm)) return false;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  return (ebx & bit_AVX2) != 0;
}

// AVX-512 as servers have had it since Ice Lake and Zen 4: F, DQ, BW, VL and VNNI.
bool cpu_has_avx512() {
  unsigned eax, ebx, ecx, edx;
  if (!cpu_has_avx2() || !system_saves(saves_zmm)) return false;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  const unsigned needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  return (ebx & needed) == needed && (ecx & bit_AVX512VNNI) != 0;
}

// AVX512-BF16, beside the rest of AVX-512.
bool cpu_has_avx512_bf16() {
  unsigned eax, ebx, ecx, edx;
  if (!cpu_has_avx512() || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) return false;
  return (eax & bit_AVX512BF16) != 0;
}
#else
bool cpu_has_avx512_bf16() { return false; }
#endif

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> available_variants() {
  std::vector<std::string> names;
#if GRADUS_HAVE_avx2
  if (cpu_has_avx512()) names.push_back("avx512");
  if (cpu_has_avx2()) names.push_back("avx2");
#endif
  names.push_back("portable");
  return names;
}

const Kernels& select_kernels(const std::string& requested) {
  const auto names = available_variants();
  const std::string name = requested.empty() ? names.front() : requested;
  for (const auto& available : names) {
    if (name != available) continue;
#if GRADUS_HAVE_avx2
    if (name == "avx512") return kernels_avx512();
    if (name == "avx2") return kernels_avx2();
#endif
    return kernels_portable();
  }
  throw SetupError("the CPU variant \"" + name + "\" is unknown or not supported by this CPU; it can run " +
                   joined(names));
}

bool has_bf16_attention(const Kernels& kernels) {
  return kernels.attention_bf16 != nullptr && cpu_has_avx512_bf16();
}

}  // namespace gradus
