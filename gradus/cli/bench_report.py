"""`gradus bench report`: one page from a folder of evidence, with tables, plots and links to every number."""

import argparse
import json
from pathlib import Path

from gradus.cli import exit_codes
from gradus.errors import ConfigError

_NAME = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="evidence as --output wrote it, folders in it too"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help=f"one self-contained page (default: {_NAME} in the folder)"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="the same, with its plots in a folder beside it"
    )
    parser.add_argument("--title", default="Benchmarks", metavar="TEXT", help="default: %(default)s")
    parser.add_argument(
        "--intro", type=Path, metavar="FILE.md", help="words that stand before everything else"
    )


def run(args: argparse.Namespace) -> int:
    intro = _read(args.intro)
    from gradus.bench.report.folder import read_folder
    from gradus.bench.report.html import write_html
    from gradus.bench.report.markdown import write_markdown
    from gradus.bench.report.page import make_page
    from gradus.cli.bench import BENCHES
    from gradus.cli.bench_output import print_table

    folder = read_folder(args.folder)
    page = make_page(args.title, folder, BENCHES)
    html = args.html or (None if args.markdown else args.folder / _NAME)
    found: dict[str, object] = {"documents": len(folder.documents)}
    print_table([*page.overview.header], [[cell.text for cell in row] for row in page.overview.rows])
    if html:
        write_html(page, html, intro)
        found["html"] = str(html)
    if args.markdown:
        plots = write_markdown(page, args.markdown, intro)
        found |= {"markdown": str(args.markdown), "plots": [str(plot) for plot in plots]}
    found["flagged"] = [[cell.text for cell in row] for row in page.flags.rows] if page.flags else []
    found["not_evidence"] = {str(misfit.path): misfit.reason for misfit in folder.misfits}
    line = json.dumps(found, ensure_ascii=False)
    if args.output:
        args.output.write_text(line + "\n", encoding="utf-8")
    print(line)
    return exit_codes.DONE


def _read(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the introduction {path} cannot be read: {error}") from error
