"""Which slot a frame belongs to, and which slots it proves lost: one camera, one session."""

import enum


class Taken(enum.Enum):
    """What becomes of a frame."""

    DELIVER = enum.auto()
    OUTSIDE = enum.auto()  # before the first released or after the last slot of the session
    DUPLICATE = enum.auto()  # its slot has a frame already, or is behind


class SlotLedger:
    """Accounts for the slots of one camera in one session; knows no time and no camera.

    The window begins at the first slot that was released and ends at STOP's last slot.
    """

    REMEMBERED = 1024
    """Releases kept: more than any queue of requests is deep."""

    def __init__(self, last_slot: int | None = None) -> None:
        self.first_slot: int | None = None
        self.last_slot = last_slot
        self.next_slot = 0
        """The slot after the last one that was taken or given up."""
        self.captured = 0
        self.lost = 0
        self._slots = [-1] * self.REMEMBERED
        self._times = [0] * self.REMEMBERED

    def released(self, slot: int, released_ns: int) -> None:
        """Note a release."""
        if self.first_slot is None:
            self.first_slot = self.next_slot = slot
        index = slot % self.REMEMBERED
        self._slots[index] = slot
        self._times[index] = released_ns

    def release_ns(self, slot: int) -> int:
        """When the slot was released; 0 if it was not."""
        index = slot % self.REMEMBERED
        return self._times[index] if self._slots[index] == slot else 0

    def judge(self, slot: int) -> Taken:
        """What becomes of a frame that fell on this slot."""
        if self.first_slot is None or slot < self.first_slot:
            return Taken.OUTSIDE
        if self.last_slot is not None and slot > self.last_slot:
            return Taken.OUTSIDE
        return Taken.DUPLICATE if slot < self.next_slot else Taken.DELIVER

    def lost_before(self, slot: int) -> list[int]:
        """Released slots, not yet accounted for, that got no frame before this one."""
        if slot == self.next_slot:
            return []
        first = max(self.next_slot, slot - self.REMEMBERED)
        return [missing for missing in range(first, slot) if self.release_ns(missing)]

    def take(self, slot: int) -> None:
        """Note that the slot's frame is delivered."""
        self.next_slot = slot + 1
        self.captured += 1

    def give_up(self, lost: int, next_slot: int) -> None:
        """Note that slots before ``next_slot`` will never come; ``lost`` of them were released."""
        self.lost += lost
        self.next_slot = max(self.next_slot, next_slot)

    @property
    def complete(self) -> bool:
        """Every slot up to the last one is accounted for."""
        return self.last_slot is not None and self.next_slot > self.last_slot
