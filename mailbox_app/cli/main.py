"""The entry of the command `mailbox`: global options, lazily loaded commands, exit codes.

Whatever goes wrong is one or two lines on standard error (what, why, what to do) and an exit code; never a traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from mailbox_app.cli.commands import COMMANDS
from mailbox_app.errors import MailboxError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_WAITS = 3
EXIT_BUSY = 75
EXIT_NOT_PERMITTED = 77
EXIT_INTERRUPTED = 130
_SENDMAIL_NAMES = {"sendmail": "", "mailq": "-bp", "newaliases": "-bi"}


class _Commands(click.Group):
    """Imports a command's module when it is asked for, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                command: click.Command = importlib.import_module(f"mailbox_app.cli.commands.{module}").command
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, _, text in COMMANDS])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and all(name != args[0] for name, _, _ in COMMANDS):
            ctx.fail(f"there is no command {args[0]!r}; mailbox --help lists them")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}, name="mailbox"
)
@click.option("--config", "config_file", metavar="FILE", envvar="MAILBOX_CONFIG", help="The configuration file.")
@click.option("--read-only", is_flag=True, help="The console changes nothing.")
@click.option("--mouse", is_flag=True, help="The console follows the mouse.")
@click.pass_context
def cli(context: click.Context, config_file: str | None, read_only: bool, mouse: bool) -> int:
    """A whole mail server. Alone, on a terminal: its console."""
    context.obj = config_file
    if context.invoked_subcommand is not None:
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        click.echo(context.get_help(), err=True)
        return EXIT_USAGE
    return _console(config_file, read_only=read_only, mouse=mouse)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    called = os.path.basename(sys.argv[0]) if arguments is None and sys.argv else ""
    if called in _SENDMAIL_NAMES:  # a link of that name: programs know no other way to send mail
        arguments = ["sendmail", *sys.argv[1:]] if called == "sendmail" else ["sendmail", _SENDMAIL_NAMES[called]]
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments), prog_name="mailbox", standalone_mode=False
        )
    except MailboxError as error:
        return _told(error)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return EXIT_FAILED
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it at its end
        return EXIT_FAILED
    except OSError as error:
        return _say(f"{error.filename or 'the system'}: {error.strerror or error}", "", EXIT_FAILED)
    except Exception as error:
        if os.environ.get("MAILBOX_DEBUG"):
            raise
        return _say(
            f"this is a mistake of the program ({type(error).__name__})", "MAILBOX_DEBUG=1 shows where", EXIT_FAILED
        )
    return result if isinstance(result, int) else 0


def _console(config_file: str | None, *, read_only: bool, mouse: bool) -> int:
    from mailbox_app.cli import connection

    paths = connection.paths(config_file)
    if not paths.config_file.exists():
        return _say(
            f"nothing is set up yet: there is no {paths.config_file}",
            f'Write one with [server] hostname = "...", then run: mailbox --config {paths.config_file} serve',
            EXIT_USAGE,
        )
    console = importlib.import_module("tui.main")  # by name: the server never imports the console
    code: int = console.run(str(paths.control_socket), read_only=read_only, mouse=mouse)
    return code


def _told(error: MailboxError) -> int:
    if error.code == "control.not_permitted":
        code = EXIT_NOT_PERMITTED
    elif error.code == "control.unreachable" or error.temporary:
        code = EXIT_BUSY
    else:
        code = EXIT_FAILED
    return _say(error.public_text, str(error.fields.get("remedy", "")), code)


def _say(text: str, remedy: str, code: int) -> int:
    from mailbox_app.proto.plain_text import clean

    sentence = clean(text).rstrip(".")
    click.echo(f"mailbox: {sentence}." + (f" {clean(remedy)}" if remedy else ""), err=True)
    return code
