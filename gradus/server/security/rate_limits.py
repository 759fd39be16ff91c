"""What each client has used, and whether it may have more: requests at once, requests and tokens a minute.

Rates are token buckets that hold one minute's worth and refill evenly. The tokens of a request are not known
before it ends, so a request is let in while the bucket has one, and what it uses may leave a debt that
the next ones wait for: no request is too long for a limit, and the average keeps to it.

Knows a clock and names; lives in the event loop's thread.
"""

import time
from collections.abc import Callable

from gradus.errors import RateLimitError, counted
from gradus.server.security.keys import Client, ClientLimits

Clock = Callable[[], float]
BUSY_SECONDS = 1.0  # when a client that has too many requests in flight is told to come back
_MOST_ACCOUNTS = 4096  # kept at least; more only where they are in use


class Bucket:
    """Refills at `per_minute` and holds as much."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._per_minute = per_minute
        self._level = float(per_minute)
        self._filled_at = now

    def seconds_until(self, amount: float, now: float) -> float:
        """Until so much is in it; 0 if it is."""
        self._refill(now)
        return max(0.0, (amount - self._level) * 60.0 / self._per_minute)

    def take(self, amount: float, now: float) -> None:
        """Whether it is in it or not; what lacks is a debt."""
        self._refill(now)
        self._level -= amount

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self._level >= self._per_minute

    def _refill(self, now: float) -> None:
        gained = max(0.0, now - self._filled_at) * self._per_minute / 60.0
        self._level = min(float(self._per_minute), self._level + gained)
        self._filled_at = now


class Account:
    """One client's use."""

    def __init__(self, limits: ClientLimits, now: float) -> None:
        self.limits = limits
        self.num_running = 0
        self.requests = _bucket(limits.requests_per_minute, now)
        self.tokens = _bucket(limits.tokens_per_minute, now)

    def check(self, now: float) -> None:
        """Raises RateLimitError where a further request is too much."""
        limits = self.limits
        if limits.max_concurrent_requests is not None and self.num_running >= limits.max_concurrent_requests:
            raise RateLimitError(
                f"this client has {counted(self.num_running, 'request')} in flight and may have at most "
                f"{limits.max_concurrent_requests:,}; wait for one of them",
                BUSY_SECONDS,
                "concurrency_limit",
            )
        for bucket, what in ((self.requests, "requests"), (self.tokens, "tokens")):
            wait = 0.0 if bucket is None else bucket.seconds_until(1, now)
            if wait > 0:
                raise RateLimitError(
                    f"this client has used its {getattr(limits, f'{what}_per_minute'):,} {what} a minute; "
                    f"try again in {wait:.1f} seconds",
                    wait,
                    f"{what}_limit",
                )

    def is_idle(self, now: float) -> bool:
        """Whether forgetting it changes nothing."""
        buckets = [bucket for bucket in (self.requests, self.tokens) if bucket is not None]
        return self.num_running == 0 and all(bucket.is_full(now) for bucket in buckets)


class Ticket:
    """A request that was let in. To be released once, whatever becomes of it."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._is_released = False

    def charge(self, num_tokens: int) -> None:
        """Tokens that the request has used."""
        if num_tokens and self._account.tokens is not None:
            self._account.tokens.take(num_tokens, self._clock())

    def cancel(self) -> None:
        """The request did not come about: it counts as none."""
        if not self._is_released and self._account.requests is not None:
            self._account.requests.take(-1, self._clock())
        self.release()

    def release(self) -> None:
        """The request is over. Harmless when repeated."""
        if not self._is_released:
            self._is_released = True
            self._account.num_running -= 1


class RateLimits:
    """The accounts of all clients, by name."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def admit(self, client: Client, tenant: str = "") -> Ticket:
        """Let a request in. Of nobody known by a key, each `tenant` has an account of its own.

        Raises:
            RateLimitError: the client has used what it may.
        """
        now = self._clock()
        name = client.name if client.is_known else f"{client.name}/{tenant}"
        account = self._accounts.get(name)
        if account is None:
            self._forget_idle(now)
            account = self._accounts[name] = Account(client.limits, now)
        account.check(now)
        account.num_running += 1
        if account.requests is not None:
            account.requests.take(1, now)
        return Ticket(account, self._clock)

    def _forget_idle(self, now: float) -> None:
        """Names without a key are the client's to choose, so they must not pile up."""
        if len(self._accounts) >= _MOST_ACCOUNTS and len(self._accounts).bit_count() == 1:
            self._accounts = {n: each for n, each in self._accounts.items() if not each.is_idle(now)}


def _bucket(per_minute: int | None, now: float) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, now)
