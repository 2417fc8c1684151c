"""Parsers of pmc, ptp4l, phc2sys and ethtool: excerpts here, and every recorded output."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_protocol.errors import InputError
from edge_agent.linuxptp import (
    CurrentData,
    LogLine,
    Notice,
    ParentData,
    PortData,
    PortProperties,
    PortState,
    PortTransition,
    ServoSample,
    ServoSummary,
    TimeProperties,
    TimeStatus,
    find,
    parse_ethtool,
    parse_log,
    parse_log_line,
    parse_pmc,
)

RECORDED = Path(__file__).parents[3] / "shared" / "fixtures" / "linuxptp"

PMC = """\
$ pmc -u -b 0 -s ptp/pi1.sock 'GET TIME_STATUS_NP'
sending: GET TIME_STATUS_NP
\t52ad01.fffe.c78f89-0 seq 0 RESPONSE MANAGEMENT TIME_STATUS_NP
\t\tmaster_offset              -841
\t\tingress_time               1795245345471051622
\t\tcumulativeScaledRateOffset +0.000000000
\t\tgmPresent                  true
\t\tgmIdentity                 2654a2.fffe.da20e0
\t52ad01.fffe.c78f89-1 seq 1 RESPONSE MANAGEMENT PORT_DATA_SET
\t\tportIdentity            52ad01.fffe.c78f89-1
\t\tportState               SLAVE
\t\tlogAnnounceInterval     0
\t\tannounceReceiptTimeout  3
\t\tlogSyncInterval         -3
sending: GET CURRENT_DATA_SET
\t52ad01.fffe.c78f89-0 seq 2 RESPONSE MANAGEMENT CURRENT_DATA_SET
\t\tstepsRemoved     1
\t\toffsetFromMaster 1372.0
\t\tmeanPathDelay    16031.0
\t52ad01.fffe.c78f89-1 seq 3 RESPONSE MANAGEMENT PORT_PROPERTIES_NP
\t\tportIdentity            52ad01.fffe.c78f89-1
\t\tportState               SLAVE
\t\ttimestamping            SOFTWARE
\t\tinterface               eth0
\t52ad01.fffe.c78f89-0 seq 4 RESPONSE MANAGEMENT PARENT_DATA_SET
\t\tparentPortIdentity                    2654a2.fffe.da20e0-1
\t\tgm.ClockClass                         248
\t\tgrandmasterIdentity                   2654a2.fffe.da20e0
\t52ad01.fffe.c78f89-0 seq 5 RESPONSE MANAGEMENT TIME_PROPERTIES_DATA_SET
\t\tcurrentUtcOffset      37
\t\tcurrentUtcOffsetValid 0
\t\tptpTimescale          0
\t52ad01.fffe.c78f89-1 seq 6 RESPONSE MANAGEMENT CLOCK_DESCRIPTION
\t\tprotocolAddress       1 10.77.0.2
\t\tuserDescription

real\t0m0.102s
"""

ETHTOOL = """\
Time stamping parameters for eth0:
Capabilities:
\thardware-transmit     (SOF_TIMESTAMPING_TX_HARDWARE)
\thardware-receive      (SOF_TIMESTAMPING_RX_HARDWARE)
\tsoftware-system-clock (SOF_TIMESTAMPING_SOFTWARE)
\thardware-raw-clock    (SOF_TIMESTAMPING_RAW_HARDWARE)
PTP Hardware Clock: 0
Hardware Transmit Timestamp Modes:
\toff                   (HWTSTAMP_TX_OFF)
\ton                    (HWTSTAMP_TX_ON)
Hardware Receive Filter Modes:
\tnone                  (HWTSTAMP_FILTER_NONE)
\tptpv2-event           (HWTSTAMP_FILTER_PTP_V2_EVENT)
Time stamping parameters for wlan0:
Capabilities:
\tsoftware-transmit
\tsoftware-receive
\tsoftware-system-clock
PTP Hardware Clock: none
Hardware Transmit Timestamp Modes: none
Hardware Receive Filter Modes: none
"""

deterministic = settings(derandomize=True, deadline=None)


def test_pmc_answers_become_data_sets():
    responses = parse_pmc(PMC)
    assert [response.dataset for response in responses] == [
        "TIME_STATUS_NP",
        "PORT_DATA_SET",
        "CURRENT_DATA_SET",
        "PORT_PROPERTIES_NP",
        "PARENT_DATA_SET",
        "TIME_PROPERTIES_DATA_SET",
        "CLOCK_DESCRIPTION",
    ]
    assert responses[0].clock_identity == "52ad01.fffe.c78f89"
    assert find(responses, TimeStatus) == TimeStatus(
        -841, 1795245345471051622, True, "2654a2.fffe.da20e0"
    )
    assert find(responses, PortData) == PortData("52ad01.fffe.c78f89-1", PortState.SLAVE, -3, 0, 3)
    assert find(responses, CurrentData) == CurrentData(1, 1372.0, 16031.0)
    assert find(responses, PortProperties) == PortProperties("SOFTWARE", "eth0")
    assert find(responses, ParentData) == ParentData(
        "2654a2.fffe.da20e0-1", "2654a2.fffe.da20e0", 248
    )
    assert find(responses, TimeProperties) == TimeProperties(37, False, False)
    assert responses[-1].fields == {"protocolAddress": "1 10.77.0.2", "userDescription": ""}


def test_no_answer_is_no_data_set():
    assert parse_pmc("sending: GET TIME_STATUS_NP\n") == []
    assert find([], TimeStatus) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\ta.b.c-1 seq 0 RESPONSE MANAGEMENT PORT_DATA_SET\n\t\tportState DANCING\n", "DANCING"),
        ("\ta.b.c-1 seq 0 RESPONSE MANAGEMENT PORT_DATA_SET\n", "no field portState"),
        (
            "\ta.b.c-1 seq 0 RESPONSE MANAGEMENT PORT_DATA_SET\n\t\tportState SLAVE\n"
            "\t\tportIdentity a-1\n\t\tlogSyncInterval x\n",
            "not a number",
        ),
    ],
)
def test_a_malformed_answer_says_what_is_wrong(text, problem):
    with pytest.raises(InputError, match=problem):
        find(parse_pmc(text), PortData)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "ptp4l[2583.336]: pi1 master offset  350110586 s0 freq      +0 path delay     18612",
            ("ptp4l", 2583_336_000_000, ServoSample(350110586, 0, 0, 18612, "")),
        ),
        (
            "ptp4l[2319.680]: master offset       -414 s2 freq  -35472 path delay     19324",
            ("ptp4l", 2319_680_000_000, ServoSample(-414, 2, -35472, 19324, "")),
        ),
        (
            "phc2sys[2581.394]: CLOCK_REALTIME phc offset        25 s2 freq  +24963 delay    280",
            ("phc2sys", 2581_394_000_000, ServoSample(25, 2, 24963, 280, "CLOCK_REALTIME")),
        ),
        (
            "phc2sys[2581.394]: /dev/ptp1 sys offset       -25 s1 freq     -63 delay    280",
            ("phc2sys", 2581_394_000_000, ServoSample(-25, 1, -63, 280, "/dev/ptp1")),
        ),
        (
            "ptp4l[637.072]: pi1 rms 4287 max 7360 freq   +747 +/- 2019 delay 16755 +/- 982",
            ("ptp4l", 637_072_000_000, ServoSummary(4287, 7360, 747, 2019, 16755, 982, "")),
        ),
        (
            "phc2sys[2639.680]: CLOCK_REALTIME rms   83 max  159 freq +25117 +/-  42 "
            "delay   307 +/-  43",
            (
                "phc2sys",
                2639_680_000_000,
                ServoSummary(83, 159, 25117, 42, 307, 43, "CLOCK_REALTIME"),
            ),
        ),
        (
            "[2915.641] rms 1391 max 4168 freq +36638 +/- 3863 delay 17624 +/-   0",
            ("", 2915_641_000_000, ServoSummary(1391, 4168, 36638, 3863, 17624, 0, "")),
        ),
        (
            "Nov 21 07:26:19.222693 pi1 ptp4l[657]: [1266.696] port 1: LISTENING to UNCALIBRATED "
            "on RS_SLAVE",
            (
                "ptp4l",
                1266_696_000_000,
                PortTransition(1, PortState.LISTENING, PortState.UNCALIBRATED, "RS_SLAVE"),
            ),
        ),
        (
            '{"SYSLOG_IDENTIFIER":"ptp4l","MESSAGE":"[1266.696] port 1 (eth0): UNCALIBRATED to '
            'SLAVE on MASTER_CLOCK_SELECTED"}',
            (
                "ptp4l",
                1266_696_000_000,
                PortTransition(1, PortState.UNCALIBRATED, PortState.SLAVE, "MASTER_CLOCK_SELECTED"),
            ),
        ),
        (
            "ptp4l[619.045]: gm port 1: assuming the grand master role",
            ("ptp4l", 619_045_000_000, Notice("gm port 1: assuming the grand master role")),
        ),
    ],
)
def test_log_lines(line, expected):
    program, monotonic_ns, message = expected
    assert parse_log_line(line) == LogLine(monotonic_ns, program, message)


@pytest.mark.parametrize(
    "line", ["", "ioctl PTP_SYS_OFFSET: Operation not supported", "{not json", "[Unit]", "a: b"]
)
def test_foreign_lines_are_not_linuxptps(line):
    assert parse_log_line(line) is None


@deterministic
@given(st.text())
def test_no_text_breaks_a_parser(text):
    assert all(isinstance(line, LogLine) for line in parse_log(text.splitlines()))
    assert all(response.dataset for response in parse_pmc(text))
    assert all(block.interface for block in parse_ethtool(text))


def test_ethtool():
    eth0, wlan0 = parse_ethtool(ETHTOOL)
    assert (eth0.interface, eth0.phc, eth0.hardware, eth0.software) == ("eth0", 0, True, False)
    assert eth0.transmit_modes == {"off", "on"}
    assert eth0.receive_filters == {"none", "ptpv2-event"}
    assert (wlan0.interface, wlan0.phc, wlan0.hardware, wlan0.software) == (
        "wlan0",
        None,
        False,
        True,
    )
    assert wlan0.transmit_modes == frozenset()


def recorded_files():
    return sorted(RECORDED.iterdir()) if RECORDED.is_dir() else []


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded outputs at {RECORDED}")
def test_every_recorded_output_is_understood_line_by_line():
    totals = Counter()
    for path in recorded_files():
        text = path.read_text()
        kinds = Counter(type(line.message).__name__ for line in parse_log(text.splitlines()))
        found = {
            "responses": len(parse_pmc(text)),
            "interfaces": len(parse_ethtool(text)),
            "samples": kinds["ServoSample"],
            "summaries": kinds["ServoSummary"],
            "transitions": kinds["PortTransition"],
        }
        lines = text.splitlines()
        counted = {
            "responses": text.count("RESPONSE MANAGEMENT"),
            "interfaces": text.count("Time stamping parameters"),
            "samples": sum(" offset " in line and " freq " in line for line in lines),
            "summaries": sum(" rms " in f" {line}" and " freq " in line for line in lines),
            "transitions": sum(
                " to " in line and " on " in line and "port " in line for line in lines
            ),
        }
        assert found == counted, path.name
        totals.update(found)
    assert totals["responses"] > 30
    assert totals["samples"] > 1_000
    assert totals["summaries"] > 20
    assert totals["transitions"] > 10
    assert totals["interfaces"] == 2


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded outputs at {RECORDED}")
def test_every_recorded_data_set_has_its_fields():
    kinds = (TimeStatus, CurrentData, PortData, PortProperties, ParentData, TimeProperties)
    seen = Counter()
    for path in recorded_files():
        for response in parse_pmc(path.read_text()):
            for kind in kinds:
                seen[kind] += find([response], kind) is not None
    assert all(seen[kind] >= 2 for kind in kinds)


@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded outputs at {RECORDED}")
def test_the_recorded_servos_settle_as_their_logs_show():
    text = (RECORDED / "ptp4l-slave-disciplining-vclock-linreg.log").read_text()
    samples = [
        line.message
        for line in parse_log(text.splitlines())
        if isinstance(line.message, ServoSample)
    ]
    assert samples[0].offset_ns == 350_114_449
    assert [sample.servo_state for sample in samples[:5]] == [0, 0, 0, 1, 2]
    settled = [abs(sample.offset_ns) for sample in samples[40:]]
    assert sorted(settled)[len(settled) // 2] < 4_000
