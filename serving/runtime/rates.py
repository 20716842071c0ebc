"""How often one address, one user, and one user on one route may ask: sliding windows of the library `limits`, in memory.

Each process counts by itself, for it is a process's time that the rates keep: with several ones a client may ask each of them
as often. Addresses of one's own, such as a load balancer's that does not say for whom it asks, are left out
(`OLO_UNLIMITED_NETWORKS`).
"""

import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import Counter

from infra.config import Config
from serving.runtime.problems import Problem

TURNED_AWAY: Final = Counter("olo_door_turned_away", "Requests that the door did not let in", ["why"])

# An address that asks too often gets no new connection for so long: to tell it so on one costs ten times as much.
SHUT_S: Final = 1.0
MAX_SHUT: Final = 10_000


class Rates:
    """The windows of one serving process."""

    def __init__(self, config: Config) -> None:
        self._shut: dict[str, float] = {}
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._address = parse_many(config.rate_address)
        self._user = parse_many(config.rate_user)
        self._write = parse_many(config.rate_write)
        self._staff = parse_many(config.rate_staff)
        self._unlimited = [ip_network(network) for network in config.unlimited_networks.split(",") if network]

    def counted_as(self, address: str) -> str:
        """The name under which an address is counted: its network, of IPv6, where who has one address has 2^64 of them. Empty:
        it is not counted, as one of a socket file."""
        try:
            found = ip_address(address)
        except ValueError:
            return ""
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or found
        if any(found in network for network in self._unlimited):
            return ""
        return str(found if isinstance(found, IPv4Address) else ip_network((found, 64), strict=False))

    async def address(self, address: str) -> None:
        """An address asks. Errors: Problem 429; then it is shut out for a second."""
        if counted := self.counted_as(address):
            try:
                await self._count(self._address, "address", counted)
            except Problem:
                if len(self._shut) >= MAX_SHUT:
                    self._shut.clear()
                self._shut[counted] = time.monotonic() + SHUT_S
                raise

    def is_shut(self, counted: str) -> bool:
        """Whether an address that is `counted_as` this has just asked too often."""
        return self._shut.get(counted, 0.0) > time.monotonic()

    async def user(self, user: str, *, staff: bool) -> None:
        """A user asks. Errors: Problem 429."""
        await self._count(self._staff if staff else self._user, "user", user)

    async def write(self, user: str, route: str) -> None:
        """A user writes by a route. Errors: Problem 429."""
        await self._count(self._write, "route", user, route)

    async def _count(self, limits: Sequence[RateLimitItem], of: str, *names: str) -> None:
        for limit in limits:
            if not await self._limiter.hit(limit, of, *names):
                raise Problem(
                    429,
                    "too_many_requests",
                    f"that is more than {limit} for one {of}; ask again later, and less often",
                    headers={"Retry-After": str(limit.get_expiry())},
                )
