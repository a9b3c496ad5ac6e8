"""What `missions run` has yet to send: a queue on disk, with an upper bound, in little memory."""

import os
import tempfile
import threading
import time
from collections.abc import Sequence

INFO, WARNING, GAP = b"i", b"w", b"g"  # what a line is: of stdout, of stderr, or a note that lines are missing here
READ = 128 * 1024  # bytes at once; more than the longest line that is added

Line = tuple[bytes, bytes]  # what it is, and its text


class Spool:
    """Lines in the order in which they were added. Threads add, and one thread takes; adding never waits for it.

    The lines are in a ring in one temporary file of at most `limit` bytes. The file has no name, so nothing is left of
    it after the process. When it is full, or the disk is, new lines are left out until half of it is free again, and
    a line of the kind GAP says how many.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self.waiting = 0  # lines in the file
        self.left_out = 0  # lines that will never be taken
        self.closed = False
        self._limit = limit
        self._file = -1  # its descriptor, once there is a line
        self._first = self._end = 0  # bytes taken, and bytes added; their difference is in the file
        self._gap = 0  # lines left out after the last one that was kept
        self._changed = threading.Condition()

    def add(self, kind: bytes, lines: Sequence[bytes]) -> None:
        """Keep these lines, which have no line end in them. After the end they count as left out."""
        added = b"".join([kind + line + b"\n" for line in lines])
        with self._changed:
            space = self._limit - (self._end - self._first)
            if self._gap:
                added = GAP + about_gap(self._gap) + b"\n" + added
                space -= self._limit // 2
            if self.closed or len(added) > space or not self._written(added):
                self.left_out += len(lines)
                self._gap += len(lines)
                return
            self._gap = 0
            self.waiting += len(lines)
            self._changed.notify()

    def take(self, most: int, until: float, patience: float) -> list[Line]:
        """The oldest lines, at most `most`.

        It waits for the first one until this moment (of time.monotonic()), and then `patience` seconds for others, so
        that many lines are taken at once. The answer is empty if there was none, or after the end.
        """
        with self._changed:
            if self._changed.wait_for(lambda: self.waiting or self.closed, max(0, until - time.monotonic())):
                self._changed.wait_for(lambda: self.waiting >= most or self.closed, patience)
            if self._first == self._end:
                if not self._gap:
                    return []
                note, self._gap = about_gap(self._gap), 0
                return [(GAP, note)]
            found = self._read(min(self._end - self._first, READ)).split(b"\n", most)[:-1]
            self._first += sum(map(len, found)) + len(found)
            if self._first == self._end:
                self._first = self._end = 0  # the file stays small while everything is sent at once
            lines = [(line[:1], line[1:]) for line in found]
            self.waiting -= sum(kind != GAP for kind, _ in lines)
            return lines

    def close(self) -> None:
        """No more lines come: what is here can be taken without waiting."""
        with self._changed:
            self.closed = True
            self._changed.notify()

    def discard(self) -> int:
        """Leave out everything that is here, and what comes from now on; how many lines are missing by that."""
        with self._changed:
            missing = self._gap + self.waiting
            self.closed = True
            self.left_out += self.waiting
            self.waiting = self._gap = self._first = self._end = 0
            self._changed.notify()
            return missing

    def _written(self, added: bytes) -> bool:
        """Whether the disk took it."""
        try:
            if self._file < 0:
                self._file, path = tempfile.mkstemp()
                os.unlink(path)
            at = self._end % self._limit
            before_wrap = self._limit - at
            for part, where in ((added[:before_wrap], at), (added[before_wrap:], 0)):
                if part and os.pwrite(self._file, part, where) < len(part):
                    return False
        except OSError:
            return False
        self._end += len(added)
        return True

    def _read(self, size: int) -> bytes:
        at = self._first % self._limit
        found = os.pread(self._file, min(size, self._limit - at), at)
        return found + os.pread(self._file, size - len(found), 0) if len(found) < size else found


def about_gap(lines: int) -> bytes:
    return f"Left out here: {counted(lines)} that could not be sent in time".encode()


def counted(lines: int) -> str:
    return f"{lines:,} line{'s' * (lines != 1)}"
