// Philox4x64-10, a counter-based generator: a draw is a pure function of key and counter.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstdint>

namespace gradus {

using Philox4 = std::array<uint64_t, 4>;

inline Philox4 philox4x64(Philox4 counter, uint64_t key0, uint64_t key1) {
  for (int round = 0; round < 10; ++round) {
    const auto product0 = static_cast<unsigned __int128>(counter[0]) * 0xD2E7470EE14C6C93u;
    const auto product1 = static_cast<unsigned __int128>(counter[2]) * 0xCA5A826395121157u;
    counter = {static_cast<uint64_t>(product1 >> 64) ^ counter[1] ^ key0, static_cast<uint64_t>(product1),
               static_cast<uint64_t>(product0 >> 64) ^ counter[3] ^ key1, static_cast<uint64_t>(product0)};
    key0 += 0x9E3779B97F4A7C15u;
    key1 += 0xBB67AE8584CAA73Bu;
  }
  return counter;
}

// 53 bits in [0, 1) for one sampled token.
inline double uniform_draw(int64_t seed, int32_t choice_index, int32_t position) {
  const Philox4 bits = philox4x64({static_cast<uint64_t>(position), 0, 0, 0}, static_cast<uint64_t>(seed),
                                  static_cast<uint64_t>(choice_index));
  return static_cast<double>(bits[0] >> 11) * 0x1p-53;
}

}  // namespace gradus
