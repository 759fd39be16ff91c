"""Programs that hold one engine each and run prompts on command; the others' need no Gradus beside them."""
