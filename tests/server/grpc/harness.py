"""A client made of generated code, and what every answer has to keep to."""

import queue
from collections import defaultdict


class GrpcClient:
    """Generated messages and stub of one channel."""

    def __init__(self, channel, messages, stubs):
        self.channel = channel
        self.pb = messages
        self.stub = stubs.AiInferenceStub(channel)

    def request(self, prompt="Hi", *, trace_id="", model_id="", metadata=None, fields=None, **generation):
        return self.pb.StreamPredictRequest(
            prompt=prompt,
            model_id=model_id,
            generation=self.pb.GenerationParameters(**generation),
            metadata=self.pb.StreamMetadata(trace_id=trace_id, **(metadata or {})),
            **(fields or {}),
        )

    def predict(self, *requests, timeout=60):
        """One call with these requests; the responses."""
        return list(self.stub.StreamPredict(iter(requests), timeout=timeout))

    def control(self, command, **payload):
        message = self.pb.ControlMessage(trace_id="t-1", command=command, payload=payload)
        answer = self.stub.Control(message, timeout=10)
        assert (answer.trace_id, answer.command) == ("t-1", command)
        return dict(answer.payload)


class Conversation:
    """A call whose requests are sent one by one; it stays open until it is left."""

    def __init__(self, client, timeout=60):
        self._requests = queue.Queue()
        self.responses = client.stub.StreamPredict(iter(self._requests.get, None), timeout=timeout)

    def send(self, request):
        self._requests.put(request)

    def half_close(self):
        self._requests.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.half_close()
        self.responses.cancel()


def texts_of(responses):
    """The text of each request by trace id, after its messages were checked for order and a single end."""
    by_trace = defaultdict(list)
    for response in responses:
        by_trace[response.trace_id].append(response)
    for messages in by_trace.values():
        assert [message.index for message in messages] == list(range(len(messages)))
        assert [message.end_of_stream for message in messages] == [False] * (len(messages) - 1) + [True]
        assert all(message.chunk for message in messages[:-1])
    return {trace_id: "".join(m.chunk for m in messages) for trace_id, messages in by_trace.items()}
