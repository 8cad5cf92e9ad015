"""The behaviour that all commands share: lazy sub-commands, suggestions, errors in one line, exit statuses.

Exit statuses: 0 done, 1 refused, 2 wrong usage, 130 interrupted by Ctrl-C. The last line on stderr of a
command that is refused or misused starts with ``error:``.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem, shell_complete

from unpickled.server import interrupts
from unpickled.server.errors import UnpickledError
from unpickled.server.quote import hint
from unpickled.server.system import NEEDS_POSIX, POSIX

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Later(NamedTuple):
    """A command that is imported when it is first used.

    Args:
        module: Full name of the module that defines the command.
        attribute: Name of the command in that module.
        extra: The package's extra without which the module cannot be imported.
        help: The command's line in the help of its group.
        anywhere: Whether it works on Windows as well, which has neither forks nor locks of files.
    """

    module: str
    attribute: str
    extra: str
    help: str
    anywhere: bool = False

    def load(self) -> click.Command:
        """Import the command.

        Raises:
            UnpickledError: A library of the extra is missing, or the operating system cannot run it.
        """
        if not (self.anywhere or POSIX):
            raise UnpickledError(f"this command {NEEDS_POSIX}")
        command: click.Command = getattr(needed(self.module, self.extra), self.attribute)
        return command


class Choice(click.Choice[str]):
    """One of several words; a misspelt one gets a suggestion."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word itself; BadParameter where it is none of the choices."""
        suggestion = "" if value in self.choices else hint(str(value), self.choices)
        if suggestion:
            self.fail(f"{value!r} is none of the choices: {suggestion.strip()}", param, ctx)
        return super().convert(value, param, ctx)


class Group(click.Group):
    """A group of commands, some of which are imported only when they are used."""

    def __init__(self, *args: Any, later: Mapping[str, Later] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._later = dict(later or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of their definition, which is the order of use."""
        return [*self._later, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported if need be; None where there is none."""
        if cmd_name not in self._later:
            return self.commands.get(cmd_name)
        return self._later[cmd_name].load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names, and the words behind it."""
        names = self.list_commands(ctx)
        if args[0] in names or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.NoSuchCommand(args[0], possibilities=names, ctx=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line for each command; this imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._line(name)) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options that start with ``incomplete``; this imports no command."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._line(name)) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def _line(self, name: str) -> str:
        if name in self._later:
            return self._later[name].help
        return self.commands[name].get_short_help_str(limit=100)


def examples(*lines: str, title: str = "Examples:") -> str:
    """The end of a help text: example lines, which click must not wrap."""
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])


def needed(module: str, extra: str) -> ModuleType:
    """Import a module of this package that needs the libraries of an extra.

    Raises:
        UnpickledError: A library is missing; the sentence names the extra to install.
    """
    try:
        with interrupts.ended_at_once():
            return import_module(module)
    except ModuleNotFoundError as error:
        raise UnpickledError(f"this command needs {error.name}: pip install 'unpickled[{extra}]'") from error
    except ImportError as error:
        raise UnpickledError(str(error)) from error


def run(
    command: click.Command | Later, words: Sequence[str], environ: Mapping[str, str], program: str
) -> int:
    """Run a command, print the text it returns, and return the exit status of the process.

    Args:
        command: The command or group of commands; a Later is imported here.
        words: The command line, without the program.
        environ: Environment variables; commands find them in ``context.obj``.
        program: The words that started the program, as help and errors name it.
    """
    _open_standard_streams()
    try:
        interrupts.raise_again()
        command = command.load() if isinstance(command, Later) else command
        variable = f"_{program.upper()}_COMPLETE"
        if environ.get(variable):
            return shell_complete(command, {"obj": environ}, program, variable, environ[variable])
        return _invoke(command, words, environ, program)
    except click.exceptions.Exit as end:
        return end.exit_code
    except UnpickledError as error:
        return _fail(str(error), 1)
    except click.UsageError as error:
        return _misused(error)
    except BrokenPipeError:
        _discard_output()
        return 1
    except KeyboardInterrupt:
        return 130


def _invoke(command: click.Command, words: Sequence[str], environ: Mapping[str, str], program: str) -> int:
    with command.make_context(program, list(words), obj=environ, **_SETTINGS) as context:
        result = command.invoke(context)
    if isinstance(result, int):
        return result
    return _finish(result)


def _finish(text: str | None) -> int:
    """Print the result. The command has done its work: a reader that is gone is no failure."""
    try:
        print(*([text] if text else []), end="\n" if text else "", flush=True)
    except BrokenPipeError:
        _discard_output()
    except OSError as error:
        _discard_output()
        return _fail(f"the command has succeeded, but its result cannot be printed: {error.strerror}", 1)
    return 0


def _discard_output() -> None:
    """Send further output to /dev/null: Python flushes stdout at its end, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _misused(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.message, file=sys.stderr)
        return error.exit_code
    message = error.format_message()
    if isinstance(error, click.NoSuchOption | click.NoSuchCommand) and error.possibilities:
        message = f"{error.message.rstrip('.')}: did you mean {error.possibilities[0]!r}?"
    if error.ctx is not None:
        print(error.ctx.get_usage(), file=sys.stderr)
        message += f" (help: {error.ctx.command_path} --help)"
    return _fail(message, error.exit_code)


def _fail(message: str, status: int) -> int:
    print(f"error: {' '.join(line.strip() for line in message.splitlines())}", file=sys.stderr)
    return status


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed: the next file would get its number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
