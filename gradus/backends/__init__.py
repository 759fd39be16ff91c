"""Where steps are computed: native (C++ on a CPU) and torch (the reference)."""
