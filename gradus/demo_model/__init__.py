"""The embedded demo model: a small Qwen3-architecture chat model that this project trains itself.

`tools/train_demo_model.py` writes everything else in this folder; `docs/demo-model.md` says what it can do.
"""
