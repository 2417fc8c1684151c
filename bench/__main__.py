"""`make bench`: run the measurements, print their tables, write bench/results/bench.json."""

import argparse
import importlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from capture_protocol import publish_text

MEASUREMENTS = ("release", "hotpath", "streams", "audit")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="MEASUREMENT", help="default: all")
    chosen = parser.parse_args().only or MEASUREMENTS
    unknown = set(chosen) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    console = Console(width=140)
    results: dict[str, Any] = {"machine": machine(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    for name in chosen:
        console.print(f"measuring {name} …")
        module = importlib.import_module(f"bench.{name}")
        results[name] = module.run()
        console.print(module.table(results[name]))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / "bench.json"
    publish_text(target, json.dumps(results, indent=1) + "\n")
    console.print(f"written: {target}")


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
