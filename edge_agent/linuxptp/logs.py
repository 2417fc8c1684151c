"""What ptp4l and phc2sys log, line by line, whether from a file, a terminal or the journal."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.linuxptp.pmc import PortState

_NS_PER_S = 1e9
# "ptp4l[615.776]: pi1 ...", "ptp4l[657]: [1262.697] ...", "[2913.640] rms ..."
_STAMP = re.compile(r"(?:(ptp4l|phc2sys)(?:\[\d+\])?: ?)?\[(\d+\.\d+)\]:? ")
_STAMP_OF_FILE = re.compile(r"(ptp4l|phc2sys)\[(\d+\.\d+)\]: ")
_NUMBER = r"\s*([+-]?\d+)"
_SERVO = re.compile(
    rf"(?:master|(\S+) (?:phc|sys)) offset{_NUMBER} s(\d) freq{_NUMBER}"
    rf"(?: (?:path )?delay{_NUMBER})?"
)
_SUMMARY = re.compile(
    rf"(?:(\S+) )?rms{_NUMBER} max{_NUMBER} freq{_NUMBER} \+/-{_NUMBER}"
    rf"(?: delay{_NUMBER} \+/-{_NUMBER})?"
)
_PORT = re.compile(r"port (\d+)(?: \((\S+)\))?: (\w+) to (\w+) on (\w+)")


@dataclass(frozen=True)
class ServoSample:
    """One measurement of a servo and what it did with it."""

    offset_ns: int
    """This clock minus its source."""
    servo_state: int
    """0 gathering, 1 stepped the clock now, 2 locked."""
    frequency_ppb: int
    delay_ns: int | None
    sink: str
    """The disciplined clock, as phc2sys names it; empty for ptp4l."""


@dataclass(frozen=True)
class ServoSummary:
    """Statistics of a servo over its summary interval."""

    rms_ns: int
    max_ns: int
    frequency_ppb: int
    frequency_deviation_ppb: int
    delay_ns: int | None
    delay_deviation_ns: int | None
    sink: str


@dataclass(frozen=True)
class PortTransition:
    """A port changed its state."""

    port: int
    before: PortState
    after: PortState
    event: str


@dataclass(frozen=True)
class Notice:
    """Any other message, unchanged."""

    text: str


@dataclass(frozen=True)
class LogLine:
    """One line: when (CLOCK_MONOTONIC, as linuxptp prints it), by whom, and what."""

    monotonic_ns: int
    program: str
    """``ptp4l``, ``phc2sys``, or empty where the line does not say."""
    message: ServoSample | ServoSummary | PortTransition | Notice


def parse_log(lines: Iterable[str]) -> list[LogLine]:
    """Return the lines that carry linuxptp's own time stamp; all others are not linuxptp's."""
    parsed = (parse_log_line(line) for line in lines)
    return [line for line in parsed if line is not None]


def parse_log_line(line: str) -> LogLine | None:
    """Parse one line; None if it is not one of linuxptp's."""
    if line.startswith("{"):
        line = _journal_message(line)
    stamp = _STAMP_OF_FILE.search(line) or _STAMP.search(line)
    if stamp is None:
        return None
    text = line[stamp.end() :].strip()
    return LogLine(round(float(stamp[2]) * _NS_PER_S), stamp[1] or "", _message(text))


def _journal_message(line: str) -> str:
    """Return the message of a line of ``journalctl -o json``; empty where it is not one."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return ""
    return f"{entry.get('SYSLOG_IDENTIFIER', '')}: {entry.get('MESSAGE', '')}"


def _message(text: str) -> ServoSample | ServoSummary | PortTransition | Notice:
    if match := _SERVO.search(text):
        sink, offset, state, frequency, delay = match.groups()
        return ServoSample(int(offset), int(state), int(frequency), _int(delay), sink or "")
    if match := _SUMMARY.search(text):
        return _summary(match)
    match = _PORT.search(text)
    if match and match[3] in PortState.__members__ and match[4] in PortState.__members__:
        return PortTransition(int(match[1]), PortState(match[3]), PortState(match[4]), match[5])
    return Notice(text)


def _summary(match: re.Match[str]) -> ServoSummary:
    label, rms, peak, frequency, deviation, delay, delay_deviation = match.groups()
    sink = label if label and _is_clock(label) else ""
    return ServoSummary(
        int(rms),
        int(peak),
        int(frequency),
        int(deviation),
        _int(delay),
        _int(delay_deviation),
        sink,
    )


def _is_clock(label: str) -> bool:
    """Tell a clock's name from the message tag that ptp4l may print before its text."""
    return label.startswith(("CLOCK_", "/dev/ptp", "ptp"))


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
