"""`make archive`: builds build/site/ and packs it."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from capture_protocol import publish_text
from deploy.archive.checksums import CHECKSUMS_NAME, file_digest, write_checksums
from deploy.archive.debs import fill_debs
from deploy.archive.pack import pack
from deploy.archive.sources import copy_sources, version
from deploy.archive.targets import Targets, parse_targets
from deploy.archive.wheels import Wheelhouse
from deploy.command import run_command

PROJECT = Path(__file__).parents[2]
CACHE_NAME = ".cache"
VERSION_NAME = "VERSION"
app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich")
console = Console(highlight=False, soft_wrap=True)


@app.command()
def build(
    arch: Annotated[str, typer.Option(help="x86_64, aarch64; else both.")] = "",
    python: Annotated[str, typer.Option(help="Versions like 3.11,3.13; else these.")] = "",
    suite: Annotated[str, typer.Option(help="bookworm, trixie; else both.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of site/, the archive and the cache.")] = Path(
        "build"
    ),
    archive: Annotated[bool, typer.Option(help="Pack site/ into one file.")] = True,
) -> None:
    """Collect everything a site needs without internet; what was fetched before is kept.

    Example: python -m deploy.archive --arch x86_64 --python 3.11 --suite bookworm --no-archive
    """
    site = build_site(out.resolve(), parse_targets(arch, python, suite))
    console.print(f"{site}: {_megabytes(site)} MB")
    if archive:
        packed = pack_site(site)
        console.print(f"{packed}: {packed.stat().st_size / 1e6:.0f} MB")


def build_site(out: Path, targets: Targets) -> Path:
    """Make out/site anew.

    Raises:
        TuttiError: something cannot be fetched or built; an older site/ is left as it was.
    """
    cache, site, partial = out / CACHE_NAME, out / "site", out / "site.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    console.print("playbooks, units, documentation")
    copy_sources(PROJECT, partial)
    publish_text(partial / VERSION_NAME, version(PROJECT) + "\n")
    console.print("wheels")
    Wheelhouse(PROJECT, cache).fill(partial, targets)
    console.print("Debian packages")
    fill_debs(partial, cache, targets)
    write_checksums(partial)
    shutil.rmtree(site, ignore_errors=True)
    partial.rename(site)
    return site


def pack_site(site: Path) -> Path:
    """One file of a site/, with its checksum beside it."""
    number = (site / VERSION_NAME).read_text(encoding="utf-8").strip()
    packed = site.parent / f"tutti-site-{number}.tar"
    pack(site, packed)
    publish_text(site.parent / CHECKSUMS_NAME, f"{file_digest(packed)}  {packed.name}\n")
    return packed


def main() -> None:
    """Run the command."""
    run_command(app, "archive")


def _megabytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) // 1_000_000
