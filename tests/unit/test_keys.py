"""Key names: they are stored, so they stay as they are; and they never meet."""

from collections import Counter

import pytest
from missions.domain.models import MissionStatus
from missions.storage import keys
from missions.storage.keys import PARTITIONS, Keys, partition_of
from redis.crc import key_slot


def test_a_namespace_stays_in_its_partition() -> None:
    """Another partition would lose what is stored."""
    assert [partition_of(name) for name in ("default", "acme", "a" * 128)] == [223, 574, 652]
    assert Keys("default").mission("deploy-42") == "missions:3:{223}:default:mission:deploy-42"


def test_all_keys_of_a_partition_are_in_one_slot() -> None:
    for namespace in ("default", "acme", "x~y.z_-"):
        names = Keys(namespace)
        partition = names.partition
        every = [names.mission("m"), names.log("m"), names.token("key:{other}"), *names.found()]
        every += [names.stats, names.durations]
        every += [keys.outbox(partition), keys.dead(partition), keys.namespaces(partition)]
        assert len({key_slot(name.encode()) for name in every}) == 1
        assert len(set(every)) == len(every)


@pytest.mark.parametrize("namespace", ["outbox", "dead", "namespaces", "due"])
def test_a_namespace_cannot_be_named_so_that_it_reaches_what_its_partition_shares(namespace: str) -> None:
    names, partition = Keys(namespace), partition_of(namespace)
    shared = {keys.outbox(partition), keys.dead(partition), keys.namespaces(partition), keys.due(partition)}
    own = {names.stats, names.durations, names.mission(""), names.log(""), names.token(""), *names.found()[:-1]}
    assert shared.isdisjoint(own)


def test_partitions_and_their_slots_are_filled_evenly() -> None:
    counts = Counter(partition_of(f"tenant-{number}") for number in range(100 * PARTITIONS))
    assert len(counts) == PARTITIONS
    assert max(counts.values()) < 160
    thirds = Counter(key_slot(keys.outbox(partition).encode()) * 3 // 16384 for partition in range(PARTITIONS))
    assert max(thirds.values()) < 1.2 * min(thirds.values())


def test_two_letters_tell_the_statuses_apart() -> None:
    assert len({keys.letters(status) for status in MissionStatus}) == len(MissionStatus)
