"""The report: one self-contained HTML file that a person understands at a glance."""

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from capture_protocol.grid import NS_PER_S
from control_server.audit.figures import make_figures
from control_server.audit.result import Spread
from control_server.audit.run import Audit
from control_server.audit.table import HEADLINES, MARKS, lost_at, quantity


def render_report(audit: Audit) -> str:
    """The report as HTML; needs no network and no other file."""
    environment = Environment(
        loader=PackageLoader("control_server.audit", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["us"] = _us
    result, session = audit.result, audit.session
    return environment.get_template("report.html").render(
        result=result,
        headline=HEADLINES[result.verdict],
        marks={verdict: mark for verdict, (mark, _) in MARKS.items()},
        started=datetime.fromtimestamp(result.t0_ns / NS_PER_S, UTC),
        seconds=session.slots * session.grid.period_ns / NS_PER_S,
        figures=make_figures(audit),
        lost_at=lost_at,
        quantity=quantity,
    )


def _us(spread: Spread | None, percentile: str) -> str:
    """One percentile of a spread in microseconds."""
    if spread is None:
        return "–"
    return f"{getattr(spread, f'{percentile}_ns') / 1000:.1f}"
