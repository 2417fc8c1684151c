"""Hook of the documentation's build: the `::` that opens a code block in docstrings is Python's
habit, not Markdown's; the pages show one colon."""

from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Return a page's HTML with single colons before code blocks."""
    return html.replace("::</p>", ":</p>")
