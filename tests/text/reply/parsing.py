"""Running a parser over a text, cut in one way or another."""

from hypothesis import strategies as st

from gradus.text.reply.parts import ReplyMessage, ToolCall, joined

NAMES = {"weather", "get_time", "x"}


def parts_of(parser, deltas):
    """All parts, neighbours of one kind put together."""
    parts = []
    for delta in deltas:
        parts += parser.feed(delta)
    return joined([*parts, *parser.finish()])


def message_of(parser, deltas):
    message = ReplyMessage()
    message.add(parts_of(parser, deltas))
    return message


def read(make, text):
    """The message, which is the same for the whole text, for its characters, and cut in two anywhere."""
    whole = parts_of(make(), [text])
    assert parts_of(make(), text) == whole
    for cut in range(1, len(text)):
        assert parts_of(make(), [text[:cut], text[cut:]]) == whole
    message = ReplyMessage()
    message.add(whole)
    return message


def calls(*pairs):
    return [ToolCall(name, arguments) for name, arguments in pairs]


@st.composite
def cut(draw, text):
    """A text in pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
