"""Turn a coloured terminal output (stdin) into the picture of the README (stdout): `make picture`."""

import io
import sys

from rich.console import Console
from rich.text import Text


def main() -> None:
    """Read ANSI text, write SVG."""
    lines = sys.stdin.read().rstrip("\n").split("\n")
    width = max(Text.from_ansi(line).cell_len for line in lines) + 1
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    sys.stdout.write(console.export_svg(title="resexp variance --depth 50"))


if __name__ == "__main__":
    main()
