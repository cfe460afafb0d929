"""The commands about scripts. RFC 5804 2.5 to 2.12.

PUTSCRIPT, CHECKSCRIPT and SETACTIVE read the script as it would be read for mail; what is wrong with it is the text of NO, a
line for each problem. A script that an older server took and this one does not is not switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from mailbox_app.proto.managesieve.answers import answer, string
from mailbox_app.proto.managesieve.grammar import Request
from mailbox_app.proto.sieve.faults import SieveError
from mailbox_app.services.managesieve.command import Command, State
from mailbox_app.services.managesieve.replies import Refusal
from mailbox_app.services.managesieve.session import Session

_PROBLEMS_CHARACTERS = 4_000
"""Of the text that tells what is wrong."""


async def have_space(session: Session, request: Request) -> str:
    """Whether a script of this size would be taken."""
    name, size_bytes = request.text(), request.number()
    request.end()
    await session.offload(session.service.deps.scripts.have_space, session.ref, name, size_bytes)
    return "There is room"


async def put_script(session: Session, request: Request) -> str | None:
    """Check and store; an active script runs in its new form from now on."""
    name, source = request.text(), request.string()
    request.end()
    service, ref = session.service, session.ref
    scripts = service.deps.scripts

    def put() -> Sequence[str]:
        scripts.have_space(ref, name, len(source))  # before the work of reading it
        warnings = service.check(source)
        scripts.put(ref, name, source)
        return warnings

    warnings = await _checked(session, put)
    _note(session, "script stored", name)
    return _done(session, "Stored", warnings)


async def check_script(session: Session, request: Request) -> str | None:
    """Check only."""
    source = request.string()
    request.end()
    return _done(session, "Nothing is wrong with it", await _checked(session, partial(session.service.check, source)))


async def list_scripts(session: Session, request: Request) -> str:
    """Names, and which one is active."""
    request.end()
    for script in await session.offload(session.service.deps.scripts.names, session.ref):
        session.write(string(script.name), b" ACTIVE\r\n" if script.active else b"\r\n")
    return "That is all"


async def set_active(session: Session, request: Request) -> str | None:
    """Choose the script that runs; the empty name: none."""
    name = request.text()
    request.end()
    service, ref = session.service, session.ref
    scripts = service.deps.scripts

    def activate() -> Sequence[str]:
        warnings = service.check(scripts.get(ref, name)) if name else ()
        scripts.activate(ref, name)
        return warnings

    warnings = await _checked(session, activate)
    _note(session, "active script chosen", name)
    return _done(session, "Active" if name else "No script is active", warnings)


async def get_script(session: Session, request: Request) -> str:
    """A script as it was put."""
    name = request.text()
    request.end()
    source = await session.offload(session.service.deps.scripts.get, session.ref, name)
    session.write(b"{%d}\r\n" % len(source), source, b"\r\n")
    return "That is it"


async def delete_script(session: Session, request: Request) -> str:
    """Remove one that is not active."""
    name = request.text()
    request.end()
    await session.offload(session.service.deps.scripts.delete, session.ref, name)
    _note(session, "script deleted", name)
    return "Deleted"


async def rename_script(session: Session, request: Request) -> str:
    """An active script stays active."""
    old, new = request.text(), request.text()
    request.end()
    await session.offload(session.service.deps.scripts.rename, session.ref, old, new)
    _note(session, "script renamed", new)
    return "Renamed"


async def _checked(session: Session, work: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Warnings of a step, in a thread, that reads a script; its problems become the text of NO."""
    try:
        return await session.offload(work)
    except SieveError as error:
        raise Refusal(_bounded([str(problem) for problem in error.problems])) from error


def _done(session: Session, text: str, warnings: Sequence[str]) -> str | None:
    """OK; with warnings they are its text. RFC 5804 1.3, WARNINGS."""
    if not warnings:
        return text
    session.write(answer("OK", _bounded(warnings), "WARNINGS"))
    return None


def _bounded(lines: Sequence[str]) -> str:
    text = "\r\n".join(lines)
    return text if len(text) <= _PROBLEMS_CHARACTERS else text[:_PROBLEMS_CHARACTERS] + " ..."


def _note(session: Session, event: str, name: str = "") -> None:
    assert session.account is not None
    session.service.deps.log.info(
        event, session=session.session_id, account=session.account.address, script=name, remote=session.remote_ip
    )


HAVESPACE = Command("HAVESPACE", State.LOGGED_IN, "RFC 5804 2.5", have_space)
PUTSCRIPT = Command("PUTSCRIPT", State.LOGGED_IN, "RFC 5804 2.6", put_script)
LISTSCRIPTS = Command("LISTSCRIPTS", State.LOGGED_IN, "RFC 5804 2.7", list_scripts)
SETACTIVE = Command("SETACTIVE", State.LOGGED_IN, "RFC 5804 2.8", set_active)
GETSCRIPT = Command("GETSCRIPT", State.LOGGED_IN, "RFC 5804 2.9", get_script)
DELETESCRIPT = Command("DELETESCRIPT", State.LOGGED_IN, "RFC 5804 2.10", delete_script)
RENAMESCRIPT = Command("RENAMESCRIPT", State.LOGGED_IN, "RFC 5804 2.11", rename_script)
CHECKSCRIPT = Command("CHECKSCRIPT", State.LOGGED_IN, "RFC 5804 2.12", check_script)
