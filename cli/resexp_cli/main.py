"""Assembles the commands, catches errors once, maps them to exit codes.

Exit codes: 0 ok; 1 failed, or --check not met; 2 usage or configuration; 3 some cells of a batch failed;
4 a device or an extra is missing; 130 interrupted, 143 terminated.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from resexp import __version__
from resexp.core.errors import ResexpError
from resexp_cli import batch, catalogue, chapter, completion, experiments, results, scaffold, signals, status, store

VERBS = {
    c.name: c
    for c in (
        chapter.chapter_command,
        batch.run_command,
        status.status_command,
        store.export_command,
        store.clean_command,
        results.report_command,
        results.compare_command,
        catalogue.list_command,
        catalogue.show_command,
        catalogue.doctor_command,
        catalogue.schema_command,
        scaffold.init_command,
        scaffold.new_experiment_command,
        completion.completion_command,
    )
}


class ReaderLeftError(Exception):
    """Whoever read stdout has closed it (`| head`). No OSError, because click ends with 1 on those."""


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Hand over all that was printed; raise ReaderLeftError where nobody reads it any more."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderLeftError from None


class Commands(click.Group):
    """Experiments from the registry beside the fixed verbs."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the arguments, or print the help."""
        with _reader_may_leave():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _reader_may_leave():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        from resexp.runs.registry import modules

        return [*modules(), *(name for name in VERBS if name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name in VERBS:
            return VERBS[cmd_name]
        from resexp.runs.registry import load, modules

        return experiments.command(load(cmd_name)) if cmd_name in modules() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which name is near."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise experiments.unknown(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List experiments and verbs under headings of their own."""
        names = [name for name in self.list_commands(ctx) if name not in VERBS]
        for heading, group in (("Experiments", names), ("Verbs", [n for n in VERBS if n])):
            with formatter.section(heading):
                rows = []
                for name in group:
                    found = self.get_command(ctx, name)
                    rows.append((name, found.get_short_help_str(90) if found else ""))
                formatter.write_dl(rows)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 ok, 1 failed or --check not met, 2 usage or configuration, 3 some cells of a batch failed, "
    "4 a device or an extra is missing, 130 interrupted, 143 terminated.",
)
@click.version_option(__version__, prog_name="resexp")
def cli() -> None:
    """A laboratory for residual networks: each measured number beside its theory, with a verdict.

    \b
    Examples:
      resexp variance --depth 50
      resexp variance --scheme plain,residual --depth 10:50:10 --format csv
      resexp show variance
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    signals.listen()
    code = _exit_code(arguments)
    if code > signals.BY_SIGNAL:
        signals.leave(code)
    sys.exit(code)


def _exit_code(arguments: list[str] | None) -> int:
    if completion.is_asked():
        return completion.answer(cli)
    try:
        cli.main(args=arguments, prog_name="resexp", standalone_mode=False)
    except ResexpError as error:
        return _report(str(error), error.exit_code)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f" Try '{context.command_path} --help'." if context is not None else ""
        message = error.format_message()
        return _report(message + ("" if message.endswith((".", ")")) else ".") + hint, 2)
    except (KeyboardInterrupt, click.Abort) as interrupt:
        return signals.exit_code(interrupt)
    except ReaderLeftError:
        _forget_stdout()
        return 0
    except MemoryError:
        return _report("The machine ran out of memory; lower --memory, --batch or --width.", 1)
    except OSError as error:
        _forget_stdout()
        return _report(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}.", 1)
    return 0


def _forget_stdout() -> None:
    """Drop what stdout still holds; Python would try to write it once more at exit, and complain."""
    if sys.stdout is not None:
        with suppress(OSError):  # not every stdout is a file of the system
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(message: str, exit_code: int) -> int:
    from resexp_cli.console import Terminal

    Terminal().error(message)
    return exit_code
