"""The servers of the store: one, or the primaries of a cluster.

Where a slot lives is learned from what servers answer (MOVED), and forgotten when its server fails; then another server
is asked, which says where it lives now. The host of the URL is the first to be asked: it is all that stays when every
node is replaced. So a single server, a cluster and a proxy in front of one need no setting, and no command more.

When a node fails, redis-py's own RedisCluster asks all others in turn, each until its time-out. It repeats each command
of a pipeline by itself, and forgets the URL.
"""

from collections.abc import Collection, Mapping
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError

from missions.storage.link import Link

Address = tuple[str, int]  # host and port


class Nodes:
    """The servers. `options` say how to connect, with host and port of the one that the URL names."""

    def __init__(self, kind: type[Link], options: Mapping[str, Any]) -> None:
        self.kind = kind
        self.options = options
        self._seed: Address = options["host"], options.get("port", 6379)
        self._links: dict[Address, Link] = {}
        self._owners: dict[int, Address] = {}  # by slot, where MOVED said so

    def at(self, address: Address) -> Link:
        """The connection to the server at this address."""
        if link := self._links.get(address):
            return link
        made = self.kind(**{**self.options, "host": address[0], "port": address[1]})
        return self._links.setdefault(address, made)

    def owner(self, key: str, failed: Collection[Address] = ()) -> Address:
        """Who has this key, or is to be asked where it is: the host of the URL, or another one when that has failed."""
        owner = self._owners.get(key_slot(key.encode())) if self._owners else None
        if owner or not failed:
            return owner or self._seed
        return next((each for each in (self._seed, *self._links) if each not in failed), self._seed)

    def moved(self, to: AskError, by: Address) -> Address:
        """Where this answer of a server points to, which is remembered as the owner of its slot."""
        self._owners[to.slot_id] = address = pointed(to, by)
        return address

    def forget(self, address: Address) -> None:
        """This server failed: connect again, and ask again for what it owned."""
        # A copy first, since another thread may learn of one meanwhile.
        self._owners = {slot: owner for slot, owner in [*self._owners.items()] if owner != address}
        for each in (address, self._seed):  # the name in the URL may stand for another server by now
            self._links.pop(each, None)  # it is closed with its last user


def pointed(to: AskError, by: Address) -> Address:
    """Where this answer points to. Without a host, or with an unknown one, it is that of who answered."""
    return by[0] if to.host in ("", "?") else to.host, to.port
