"""The audit: what a session proves about itself, from the recorded files alone.

audit = run_audit(SessionFolder(path), deep=True)
audit.result.verdict, audit.result.exit_code
publish_text(target, render_report(audit))
"""

from control_server.audit.result import AuditResult, Check, Spread, Verdict
from control_server.audit.run import Audit, run_audit

__all__ = ["Audit", "AuditResult", "Check", "Spread", "Verdict", "run_audit"]
