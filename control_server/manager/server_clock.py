"""The server's own clock, where it is the rig's reference: judged by `edge-agent`, as a program.

What is known of linuxptp belongs to the agent, which the server never imports; the two are one
distribution, so the program lies beside the manager.
"""

import asyncio
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from capture_protocol import RigConfig
from capture_protocol.control import ClockFinding
from control_server.rig.inventory import ptp_domain, server_role

EDGE_AGENT = Path(sys.executable).with_name("edge-agent")
GRANDMASTER = "grandmaster"
WAIT_S = 20.0
"""It asks several programs, each of which may take seconds on a machine in trouble."""
_FINDINGS = TypeAdapter(list[ClockFinding])


async def judge_server_clock(rig: RigConfig, program: Path = EDGE_AGENT) -> list[ClockFinding]:
    """Every point of the server's clock chain; empty if the rig does not live by that clock."""
    if server_role(rig) != GRANDMASTER:
        return []
    try:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *("clock", "--role", GRANDMASTER, "--domain", str(ptp_domain(rig)), "--json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return [_unknown(f"{program} does not start: {error.strerror}", "install the agent, too")]
    return await _answer(process)


async def _answer(process: asyncio.subprocess.Process) -> list[ClockFinding]:
    try:
        async with asyncio.timeout(WAIT_S):
            output, complaint = await process.communicate()
        return _FINDINGS.validate_json(output)
    except TimeoutError:
        return [_unknown(f"edge-agent clock has not answered for {WAIT_S:.0f} s", "look at load")]
    except ValidationError:
        said = complaint.decode(errors="replace").strip() or f"exit code {process.returncode}"
        return [_unknown(said.splitlines()[0], "run: edge-agent clock --role grandmaster")]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _unknown(text: str, mend: str) -> ClockFinding:
    return ClockFinding(point="clock", verdict="warning", text=f"not judged: {text}", mend=mend)
