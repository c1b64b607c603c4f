"""What scripts/test says at its end: where the time went, and what failed."""

from collections import Counter, defaultdict

SLOWEST = 12


def print_failures(results):
    """Every failure with the command that repeats it alone."""
    failures = [(r.name, what, repeat) for r in results for what, repeat in r.failures]
    if not failures:
        return
    print(f"\n{len(failures)} failed; each alone, from the root of the clone:")
    for stage, what, repeat in failures:
        print(f"  {stage}: {what}\n    {repeat}")


def print_cases(results):
    """How many cases each stage ran."""
    for result in results:
        if result.cases:
            verdicts = Counter(case.verdict for case in result.cases)
            print(f"{result.name}: {', '.join(f'{n} {v}' for v, n in sorted(verdicts.items()))}")


def print_times(results):
    """Where the time went: stages, slowest compilations, cases and Python files."""
    print("\n| stage | s | of these | cases |\n| --- | --: | --- | --: |")
    for result in results:
        parts = ", ".join(f"{part} {seconds:.0f}" for part, seconds in result.seconds.items())
        print(f"| {result.name} | {result.total:.0f} | {parts} | {len(result.cases)} |")
    print(f"| all | {sum(r.total for r in results):.0f} | | {sum(len(r.cases) for r in results)} |")
    _print_slowest(
        "compilations (seconds beside another)",
        [(c.seconds, f"{r.name}: {_short(c.output)}") for r in results for c in r.compilations],
    )
    _print_slowest(
        "test cases", [(c.seconds, f"{r.name}: {c.name}") for r in results for c in r.cases]
    )
    files = defaultdict(float)
    for result in results:
        for case in result.cases:
            if case.file:
                files[case.file] += case.seconds
    _print_slowest("Python files", [(seconds, file) for file, seconds in files.items()])


def _short(output):
    return output.replace(".dir/", "/").replace("CMakeFiles/", "")


def _print_slowest(what, rows):
    if not rows:
        return
    whole = sum(seconds for seconds, _ in rows)
    print(f"\n{len(rows)} {what}, {whole:.0f} s in all; the slowest:")
    for seconds, name in sorted(rows, reverse=True)[:SLOWEST]:
        print(f"  {seconds:7.1f}  {name}")
