// Which kernel variants this CPU can run, and which one is used.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace gradus {

// Best first; "portable" is always the last.
std::vector<std::string> available_variants();

// `requested` is a variant's name, or empty for the best. Throws SetupError if it is unknown or the CPU lacks
// it.
const Kernels& select_kernels(const std::string& requested);

// Whether these kernels have attention in bf16, and this CPU the instructions for it.
bool has_bf16_attention(const Kernels& kernels);

}  // namespace gradus
