"""Structured output: forms of text (JSON Schema, regex, choice, Lark) compiled to masks over a vocabulary.

Stands on llguidance, and is the only folder that knows it. A front end states a form as
`gradus.structured_outputs.StructuredOutputsParams` in `SamplingParams.structured_outputs`; nothing here needs
to be called for that. From Python, or from code that wants a reply in a format of its own:

    form = StructuredOutputsParams(json={"type": "object", ...})
    form = StructuredOutputsParams(grammar='start: "<tool_call>" ...', field="tools")
    SamplingParams(structured_outputs=form)

`field` is the name under which errors speak of it. In an event loop, `await service.compile_grammar(params)`
compiles the form in another thread before `InputProcessor.process`, which then finds it ready.
"""
