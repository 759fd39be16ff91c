"""`gradus bench code`: lines, functions, classes, complexity and the import graph."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has no flags of its own."""


def run(args: argparse.Namespace) -> int:
    from gradus.bench.code import bench_code
    from gradus.cli.bench_output import finish, print_table

    document = bench_code()
    results = document["results"]
    counts = ("files", "lines", "source_lines", "classes", "functions", "cpp_lines")
    rows = [[name.replace("_", " "), f"{results[name]:,}"] for name in counts if name in results]
    for name in ("lines_per_file", "complexity"):
        values = results[name]
        rows.append([name.replace("_", " "), f"median {values['median']:g}, at most {values['max']:g}"])
    print_table(("", ""), rows)
    print_table(
        ("most complex functions", ""),
        [[entry["function"], str(entry["complexity"])] for entry in results["most_complex"]],
    )
    for part, imported in results["import_graph"].items():
        print(f"{part} -> {', '.join(imported) or 'nothing'}")
    return finish(document, args)
