"""`python -m open_responses keys add TENANT`: a new API key, printed once."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes nothing anywhere: the key is for the client, the block for `open_responses.toml`."""
    args = _parser().parse_args(arguments)
    key, block = new_key(args.tenant)
    print(f"The key, shown this once. The clients of {args.tenant} send it as `Authorization: Bearer …`:\n\n{key}\n")
    print(f"For open_responses.toml, or the file that OPEN_RESPONSES_CONFIG names. Then restart the API.\n\n{block}")
    return 0


def new_key(tenant: str) -> tuple[str, str]:
    """A key of 256 random bits, and the TOML block that lets it in."""
    key = f"or-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, f'[[api_keys]]\ntenant = "{tenant}"\nsha256 = "{digest}"'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="open_responses")
    keys = (
        parser.add_subparsers(required=True, metavar="keys")
        .add_parser("keys", help="API keys")
        .add_subparsers(required=True, metavar="add")
    )
    add = keys.add_parser("add", help="make a key for a tenant, and the TOML block to paste")
    add.add_argument("tenant", type=_name, help="whose responses these are; may have several keys")
    return parser


def _name(text: str) -> str:
    if not text or len(text) > 64 or not text.isprintable() or set(text) & set('"\\'):
        raise argparse.ArgumentTypeError("a tenant's name has 1 to 64 printable characters, none of them \" or \\")
    return text


if __name__ == "__main__":
    sys.exit(main())
