"""The servers of the store: one, or the primaries of a cluster.

Where a slot lives is learned from what servers answer (MOVED), and forgotten when its server fails; then another server
is asked, which says where it lives now. The host of the URL is the first to be asked: it is all that stays when every
node is replaced. So a single server, a cluster and a proxy in front of one need no setting, and no command more.

When a node fails, redis-py's own RedisCluster asks all others in turn, each until its time-out (11 s with ten stalled
nodes), repeats each command of a pipeline by itself, and forgets the URL.
"""

from collections.abc import Collection

import redis
from redis.crc import key_slot
from redis.exceptions import AskError

Address = tuple[str, int]  # host and port


class Nodes:
    """The servers, each with one connection, made at its first use. To take one from a pool costs a fifth of a command.

    `pool` names the host of the URL and how to connect.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self.pool = pool
        self._seed: Address = pool.connection_kwargs["host"], pool.connection_kwargs.get("port", 6379)
        self._clients: dict[Address, redis.Redis] = {}
        self._owners: dict[int, Address] = {}  # by slot, where MOVED said so

    def at(self, address: Address) -> redis.Redis:
        """The server at this address. Raises what redis-py raises when it does not answer."""
        if client := self._clients.get(address):
            return client
        options = self.pool.connection_kwargs | {"host": address[0], "port": address[1]}
        pool = redis.ConnectionPool(connection_class=self.pool.connection_class, **options)
        return self._clients.setdefault(address, redis.Redis(connection_pool=pool, single_connection_client=True))

    def owner(self, key: str, failed: Collection[Address] = ()) -> Address:
        """Who has this key, or is to be asked where it is: the host of the URL, or another one when that has failed."""
        owner = self._owners.get(key_slot(key.encode())) if self._owners else None
        if owner:
            return owner
        return next((each for each in (self._seed, *self._clients) if each not in failed), self._seed)

    def moved(self, to: AskError, by: Address) -> Address:
        """Where this answer of a server points to, which is remembered as the owner of its slot."""
        self._owners[to.slot_id] = address = pointed(to, by)
        return address

    def forget(self, address: Address) -> None:
        """This server failed: connect anew, and ask again for what it owned."""
        self._owners = {slot: owner for slot, owner in self._owners.items() if owner != address}
        for each in (address, self._seed):  # the name in the URL may stand for another server by now
            self._clients.pop(each, None)  # and closed with its last user


def pointed(to: AskError, by: Address) -> Address:
    """Where this answer points to. Without a host it is that of who answered."""
    return to.host or by[0], to.port
