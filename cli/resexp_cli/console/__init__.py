"""What people see: tables, progress, verdict colours. The only package that imports rich."""

from resexp_cli.console.terminal import Terminal as Terminal
