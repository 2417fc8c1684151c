"""Every slot of a camera exactly once: delivered, or missing with the place it was lost."""

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture_protocol import EventKind, LossPlace
from capture_protocol.session import SegmentEntry
from control_server.audit.event_log import StageLog
from control_server.audit.result import Missing

Slots = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


class SlotState(enum.IntEnum):
    """What became of a slot; the losses are `LossPlace` in the order of a frame's way."""

    UNKNOWN = 0
    AGENT = LossPlace.AGENT
    SENSOR = LossPlace.SENSOR
    ENCODER = LossPlace.ENCODER
    NETWORK = LossPlace.NETWORK
    FILE = LossPlace.FILE
    DELIVERED = 6


States = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is known of a camera's slots, besides the delivered frames."""

    capture: StageLog
    stream: StageLog
    sealed: list[SegmentEntry]
    """The camera's files as they were when the session was sealed."""


def settle(slots: int, delivered: Slots, witnesses: Witnesses) -> States:
    """The state of each of ``slots`` slots.

    A lost slot got past every place that left a trace of it, and was lost at the next one. Where a
    log is missing or has a hole, no trace does not mean that nothing happened: there the agent's
    own word (LOST) is taken, and without it the place is UNKNOWN.
    """
    capture, stream = witnesses.capture, witnesses.stream
    released = _mask(slots, capture.payloads[EventKind.RELEASE]["slot"])
    framed = _mask(slots, capture.payloads[EventKind.FRAME]["slot"])
    encoded = _mask(slots, stream.payloads[EventKind.ENCODED]["slot"])
    states = np.full(slots, SlotState.AGENT if capture.whole else SlotState.UNKNOWN, np.uint8)
    states[released] = SlotState.SENSOR if capture.whole else SlotState.UNKNOWN
    states[framed] = SlotState.ENCODER if stream.whole else SlotState.UNKNOWN
    for log in (capture, stream):
        _take_word(states, log)
    states[encoded] = SlotState.NETWORK
    states[sealed_slots(slots, witnesses.sealed)] = SlotState.FILE
    states[_mask(slots, delivered)] = SlotState.DELIVERED
    return states


def _take_word(states: States, log: StageLog) -> None:
    """Where the traces are silent, what the agent itself called lost."""
    losses = log.payloads[EventKind.LOST]
    losses = losses[(losses["slot"] < len(states)) & (losses["place"] <= LossPlace.FILE)]
    silent = losses[states[losses["slot"]] == SlotState.UNKNOWN]
    states[silent["slot"]] = silent["place"]


def sealed_slots(slots: int, files: list[SegmentEntry]) -> Mask:
    """Slots that the manifest says were readable in a file when the session was sealed."""
    held = np.zeros(slots, np.bool_)
    for entry in files:
        inside = np.ones(entry.last_slot - entry.first_slot + 1, np.bool_)
        for first, last in entry.gaps:
            inside[first - entry.first_slot : last - entry.first_slot + 1] = False
        window = held[entry.first_slot : entry.last_slot + 1]
        window |= inside[: len(window)]
    return held


def contradicted_losses(states: States, witnesses: Witnesses) -> int:
    """Slots that a log calls lost although a file holds them."""
    lost = np.zeros(len(states), np.bool_)
    for log in (witnesses.capture, witnesses.stream):
        lost |= _mask(len(states), log.payloads[EventKind.LOST]["slot"])
    return int(np.count_nonzero(lost & (states == SlotState.DELIVERED)))


def count_missing(states: States) -> Missing:
    """Missing slots by place."""
    counts = np.bincount(states, minlength=len(SlotState))
    return Missing(
        agent=int(counts[SlotState.AGENT]),
        sensor=int(counts[SlotState.SENSOR]),
        encoder=int(counts[SlotState.ENCODER]),
        network=int(counts[SlotState.NETWORK]),
        file=int(counts[SlotState.FILE]),
        unknown=int(counts[SlotState.UNKNOWN]),
    )


def _mask(slots: int, present: Slots) -> Mask:
    mask = np.zeros(slots, np.bool_)
    mask[present[present < slots]] = True
    return mask
