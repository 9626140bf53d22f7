"""Groups of commands: with a verb for when none is given, and without loading what is not called."""

from __future__ import annotations

from collections.abc import Container, Mapping
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


_SWITCHES = ("--json", "--debug")


class DefaultGroup(click.Group):
    """A group in which options without a verb belong to the verb `default`: `jobs -x` is `jobs list -x`."""

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default verb in, unless there is a verb or the group itself is asked."""
        args = self._switches_last(args)
        if not ctx.resilient_parsing and self._lacks_verb(ctx, args):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def _switches_last(self, args: list[str]) -> list[str]:
        """`--json jobs` as `jobs --json`: switches of every command may stand before it."""
        leading = list(takewhile(_SWITCHES.__contains__, args))
        rest = args[len(leading) :]
        return [*rest, *leading] if rest and rest[0] in self._names() else args

    def _names(self) -> Container[str]:
        return self.commands

    def _lacks_verb(self, ctx: click.Context, args: list[str]) -> bool:
        if not args:
            return True
        own_options = {name for param in self.get_params(ctx) for name in param.opts}
        return args[0].startswith("-") and args[0] not in own_options


class Entry(NamedTuple):
    """Where a command is (`module:attribute`), and its line in the help of the group."""

    section: str
    place: str
    help: str


class LazyGroup(DefaultGroup):
    """A group whose help and hints need none of its commands; an entry without a section is hidden."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def _names(self) -> Container[str]:
        return self.entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names that the help shows, in the order of the table."""
        return [name for name, entry in self.entries.items() if entry.section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called; a hint compares with all names, loaded or not."""
        if args[0] not in self.entries:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names that begin so; options after a dash."""
        from click.shell_completion import CompletionItem

        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        if incomplete.startswith("-") or not names:
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=self.entries[name].help) for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The names with their lines, by section."""
        for section in dict.fromkeys(entry.section for entry in self.entries.values() if entry.section):
            with formatter.section(section):
                formatter.write_dl(
                    [(name, entry.help) for name, entry in self.entries.items() if entry.section == section]
                )
