"""``admin``: users, tokens and one-time links of the portal, for the owner of the machine."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from command_line.console import PROGRAM, Screen, table
from command_line.options import Commands, Parser, add_command, add_group, names, whole
from core.errors import HarkError
from webui.setup import ready

if TYPE_CHECKING:
    from webui.accounts.models import User

DAYS = 30  # maximum lifetime; sessions and refresh tokens are shorter-lived
HERE = "http://127.0.0.1:8000"


def register(commands: Commands[Parser]) -> None:
    group = add_group(commands, "admin", run_users)
    create = add_command(group, "create", "[--name NAME --password-stdin]", "add a user to the portal", run_create)
    create.add_argument("--name", help="name of the user (default: ask for it)")
    create.add_argument("--email", default="", help="their e-mail address; they can also sign in with it")
    create.add_argument(
        "--password-stdin", action="store_true", help="read the password from stdin (default: ask for it)"
    )
    token = add_command(group, "token", "--name NAME [options]", "create a token for a program", run_token)
    token.add_argument("--name", required=True, help="name of the token, such as the program that uses it")
    token.add_argument("--user", metavar="NAME", help="user of the token (default: the owner)")
    token.add_argument(
        "--scopes", type=names, default=("read", "train", "audio"), metavar="A,B",
        help="one or more of read, train, audio, wakes, admin (default: read,train,audio)",
    )  # fmt: skip
    token.add_argument(
        "--days", type=whole(1, 3650), metavar="N", help="days until it expires (default: valid until revoked)"
    )
    factor = add_command(
        group, "factor-off", "[--user NAME]", "turn off the second factor of a user who lost it", run_factor_off
    )
    factor.add_argument("--user", metavar="NAME", help="the user (default: the owner)")
    rotate = add_command(
        group, "rotate-secret", "[--days N | --now]", "create a new secret key without signing anyone out", run_rotate
    )
    ends = rotate.add_mutually_exclusive_group()
    ends.add_argument(
        "--days", type=whole(1, 3650), metavar="N",
        help=f"days for which the previous key is accepted (default: {DAYS})",
    )  # fmt: skip
    ends.add_argument(
        "--now", dest="days", action="store_const", const=0, help="stop accepting earlier keys, because one has leaked"
    )
    link = add_command(
        group, "link", "[--user NAME] [--url URL]", "create a link for the setup, or for a new password", run_link
    )
    link.add_argument("--user", metavar="NAME", help="the user who chooses a new password with it (default: the owner)")
    link.add_argument("--url", type=_address, default=HERE, help=f"URL of the portal (default: {HERE})")


def run_factor_off(options: argparse.Namespace, screen: Screen) -> int:
    ready()
    from webui.accounts.second_factor import turn_off

    user = _user(options.user)
    turn_off(user=user)
    screen.result({"user": user.username})
    screen.show(f"{user.username} signs in with the password alone.")
    return 0


def run_rotate(options: argparse.Namespace, screen: Screen) -> int:
    if options.days is not None and os.environ.get("HARK_SECRET_KEY"):
        raise HarkError(
            "--days and --now have no effect here.",
            "Earlier keys are in HARK_SECRET_KEY_FALLBACKS, which this command cannot change.",
            "Run it without these options, then remove the keys from there: at once if one has leaked.",
        )
    ready()
    from webui.key_rotation import rotate_key

    until, unreadable = rotate_key(DAYS if options.days is None else options.days)
    screen.result({"accepted_until": until.isoformat(timespec="seconds") if until else None, "unreadable": unreadable})
    if until is None:
        screen.show("Secrets are now sealed with HARK_SECRET_KEY. HARK_SECRET_KEY_FALLBACKS are accepted until you")
        screen.show("remove them; URLs for devices that were made with them then stop working.")
    else:
        screen.show(f"A new secret key was created. The previous one is accepted until {until:%Y-%m-%d %H:%M} UTC;")
        screen.show("addresses for devices that were made with it then stop working. Make a new backup, as")
        screen.show("older ones have the old key.")
    if unreadable:
        screen.note("No key opens these secrets, so they remain unchanged:")
        for line in unreadable:
            screen.note(line)
    return 0


def _address(text: str) -> str:
    from core.http import web_address

    if web_address(text) is None:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a URL such as {HERE}")
    return text


def run_users(options: argparse.Namespace, screen: Screen) -> int:
    ready()
    from webui.accounts.models import User

    users = list(User.objects.order_by("-is_owner", "username"))
    screen.result({"users": [{"user": u.username, "is_owner": u.is_owner, "is_active": u.is_active} for u in users]})
    if users:
        rows = []
        for user in users:
            state = "" if user.is_active else "deactivated"
            rows.append([user.username, user.email, "owner" if user.is_owner else state])
        screen.show(table(["user", "e-mail", ""], rows))
    else:
        screen.show(f"No users yet. {PROGRAM} admin create makes the owner.")
    return 0


def run_create(options: argparse.Namespace, screen: Screen) -> int:
    name = options.name or _ask(screen, "Name", "--name NAME")
    password = _password_of_stdin() if options.password_stdin else _ask_password(screen)
    ready()
    from webui.accounts.services import create_user

    user = create_user(username=name, password=password, email=options.email)
    screen.result({"user": user.username, "is_owner": user.is_owner})
    screen.show(f"{user.username} may sign in" + (" and is the owner." if user.is_owner else "."))
    return 0


def run_token(options: argparse.Namespace, screen: Screen) -> int:
    ready()
    from webui.accounts.services import create_token

    user = _user(options.user)
    _token, text = create_token(user=user, name=options.name, scopes=options.scopes, days=options.days)
    screen.result({"token": text})
    screen.note(f"A token for {user.username}; it is shown only once:")
    screen.show_line(text)
    return 0


def run_link(options: argparse.Namespace, screen: Screen) -> int:
    ready()
    from webui.accounts.services import owner, owner_link, password_link

    if options.user is None and owner() is None:
        link = owner_link(base_url=options.url)
        says = "The first person to open this link becomes the owner:"
    else:
        user = _user(options.user)
        link = password_link(user=user, base_url=options.url)
        says = f"With this link {user.username} chooses a new password:"
    screen.result({"link": link})
    screen.note(f"{says} (it works once, for a week)")
    screen.show_line(link)
    return 0


def _user(name: str | None) -> User:
    from webui.accounts.models import User
    from webui.accounts.services import owner

    user = owner() if name is None else User.objects.filter(username__iexact=name).first()
    if user is None:
        raise HarkError(
            "That user does not exist." if name else "Hark has no owner yet.",
            f"No user is called {name!r}." if name else "The portal is not set up.",
            f"{PROGRAM} admin shows all users, {PROGRAM} admin create adds one.",
        )
    return user


def _ask(screen: Screen, what: str, option: str, hidden: bool = False) -> str:
    from rich.prompt import Prompt

    if not sys.stdin or not sys.stdin.isatty():
        raise HarkError(
            f"The {what.lower()} is missing.",
            "Hark cannot ask for it, because it is not running in a terminal.",
            f"Use {option}; --help shows more.",
        )
    answer = ""
    while not answer:
        answer = Prompt.ask(what, console=screen.err, password=hidden)
    return answer


def _ask_password(screen: Screen) -> str:
    while True:
        password = _ask(screen, "Password", "--password-stdin", hidden=True)
        if password == _ask(screen, "Password again", "--password-stdin", hidden=True):
            return password
        screen.note("They differ.")


def _password_of_stdin() -> str:
    try:
        password = sys.stdin.buffer.readline().decode().rstrip("\r\n") if sys.stdin else ""
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise HarkError(
            "The password is missing.",
            "The first line of stdin is empty or not UTF-8.",
            "printf '%s\\n' \"$PASSWORD\" | " + f"{PROGRAM} admin create --name NAME --password-stdin",
        )
    return password
