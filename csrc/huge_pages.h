// Read-only data of a file's map, moved into huge pages of this process' own.
//
// Where the file system keeps files in pages of 4 KiB, a product with few rows waits for the TLB: up to 40 %
// of its speed. Moving costs a copy of the data, once; the file's pages leave this process meanwhile, so that
// its memory does not double.
#pragma once

#include <cstddef>

namespace gradus {

// The share of what is resident of these bytes' mappings that lies in huge pages; 1 where it is not known.
double share_in_huge_pages(const void* data, size_t bytes);

// Replaces the whole huge pages within the data, while others may read them. Returns the bytes that were
// moved; stops where the system refuses.
size_t move_into_huge_pages(const void* data, size_t bytes);

}  // namespace gradus
