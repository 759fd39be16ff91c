"""GGUF, the file format of llama.cpp: reader, block formats, names."""
