"""A clock that goes when the test says so."""


class FakeClock:
    """Seconds since it was made."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now
